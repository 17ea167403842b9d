import { expect, test } from 'vitest';
import { readPrompts } from '../../src/data/prompts.ts';
import { collect, source } from './fixtures.ts';

const prompts = (content: string, name: string) => collect(readPrompts(source(content, name)));
const user = (content: string) => ({ messages: [{ role: 'user', content }], text: content });
const jsonl = (...rows: unknown[]) => prompts(rows.map((row) => `${JSON.stringify(row)}\n`).join(''), 'p.jsonl');

test('a line is a prompt, as it is written', async () => {
  expect(await prompts('one\r\n\n two {"x"}\n', 'p.txt')).toEqual([user('one'), user(' two {"x"}')]);
});

test('rows of every shape', async () => {
  expect(
    await jsonl({ prompt: 'a' }, { question: 'b', answer: 'x' }, { instruction: 'c', input: 'd', output: '' }),
  ).toEqual([user('a'), user('b'), user('c\n\nd')]);
  expect(await jsonl({ system: 'be brief', user: 'a', assistant: 'x' })).toEqual([
    {
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: 'a' },
      ],
      text: 'a',
    },
  ]);
});

test('a conversation without its last answer', async () => {
  const turns = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
    { role: 'user', content: 'c' },
  ];
  const expected = [{ messages: turns, text: 'c' }];
  expect(await jsonl({ messages: turns })).toEqual(expected);
  expect(await jsonl({ messages: [...turns, { role: 'assistant', content: 'd' }] })).toEqual(expected);
  const from = turns.map(({ role, content }) => ({ from: role === 'user' ? 'human' : 'gpt', value: content }));
  expect(await jsonl({ conversations: from })).toEqual(expected);
});

test('what is no prompt', async () => {
  await expect(jsonl({ prompt: 'a' }, { text: 'b' })).rejects.toThrow(
    'p.jsonl:2: expected a prompt, got the keys text',
  );
  await expect(jsonl(['a'])).rejects.toThrow('p.jsonl:1: expected a prompt, got a list');
  await expect(jsonl({ messages: [{ role: 'assistant', content: 'a' }] })).rejects.toThrow(
    'p.jsonl:1: expected a prompt',
  );
  await expect(prompts('{', 'p.jsonl')).rejects.toThrow('p.jsonl:1: expected a JSON object');
  await expect(prompts('\n', 'p.txt')).rejects.toThrow('p.txt: expected at least one prompt');
});
