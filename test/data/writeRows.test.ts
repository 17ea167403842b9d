import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/data/files.ts';
import { type Row, readRows } from '../../src/data/rows.ts';
import { isEmptyRow, LineWriter, rowContent, rowObject } from '../../src/data/writeRows.ts';
import { memoryStore } from '../../src/platform/stores.ts';
import { collect, jsonl } from './fixtures.ts';

const read = async (...rows: unknown[]) => collect(readRows(jsonl(...rows)));
const without = ({ line: _line, ...row }: Row) => row;

const user = { role: 'user', content: 'Hi' };
const assistant = { role: 'assistant', content: 'Hello 😀' };
const system = { role: 'system', content: 'Be brief.' };

describe('rowObject', () => {
  it.each<[string, JsonObject, JsonObject]>([
    [
      'question and answer',
      { question: 'Hi', answer: 'Ho', source: 's.pdf' },
      { system: '', user: 'Hi', assistant: 'Ho', source: 's.pdf' },
    ],
    ['one turn', { messages: [system, user, assistant] }, { system: 'Be brief.', user: 'Hi', assistant: 'Hello 😀' }],
    ['two turns', { messages: [user, assistant, user, assistant] }, { messages: [user, assistant, user, assistant] }],
    [
      'a system message that is empty',
      { messages: [{ ...system, content: '' }, user, assistant] },
      { messages: [{ ...system, content: '' }, user, assistant] },
    ],
    [
      'tools',
      { messages: [user, assistant], tools: [{ name: 'f' }] },
      { messages: [user, assistant], tools: [{ name: 'f' }] },
    ],
    [
      'reasoning',
      { messages: [user, { ...assistant, reasoning: 'Hm.' }] },
      { messages: [user, { ...assistant, reasoning: 'Hm.' }] },
    ],
    ['an answer first', { messages: [assistant, user] }, { messages: [assistant, user] }],
    ['a completion', { prompt: ' a', completion: 'b ' }, { prompt: ' a', completion: 'b ' }],
    ['text', { text: 'a\nb', source: 'x' }, { text: 'a\nb', source: 'x' }],
  ])('of %s', async (_name, raw, written) => {
    const [row] = await read(raw);
    expect(rowObject(row!)).toEqual(written);
    const [again] = await read(rowObject(row!));
    expect(without(again!)).toEqual(without(row!));
  });

  it('leaves the source out of the content', async () => {
    const [a, b] = await read({ text: 'a', source: 'x' }, { text: 'a', source: 'y' });
    expect(rowContent(a!)).toEqual(rowContent(b!));
  });
});

describe('isEmptyRow', () => {
  it.each<[boolean, JsonObject]>([
    [false, { user: 'a', assistant: 'b' }],
    [false, { user: 'a', assistant: 'b', system: ' ' }],
    [true, { user: ' \n', assistant: 'b' }],
    [true, { user: 'a', assistant: '' }],
    [true, { text: '\t' }],
    [true, { prompt: 'a', completion: ' ' }],
    [false, { prompt: '', completion: 'b' }],
    [false, { messages: [user, { role: 'assistant', content: null, tool_calls: [{ name: 'f' }] }] }],
  ])('is %s for %j', async (empty, raw) => {
    const [row] = await read(raw);
    expect(isEmptyRow(row!)).toBe(empty);
  });
});

describe('LineWriter', () => {
  it('writes one value a line, in pieces', async () => {
    const staged = await memoryStore().stageFiles(['rows.jsonl']);
    const file = await staged.create('rows.jsonl');
    const pieces: number[] = [];
    let text = '';
    const writer = new LineWriter({
      write: async (bytes) => {
        pieces.push(bytes.length);
        text += new TextDecoder().decode(bytes);
      },
      close: file.close,
    });
    const values = Array.from({ length: 3000 }, (_, i) => ({ i, text: 'ü\n'.repeat(500) }));
    for (const value of values) await writer.write(value);
    await writer.close();
    expect(pieces.length).toBeGreaterThan(2);
    expect(
      text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(values);
  });
});
