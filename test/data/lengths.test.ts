import { describe, expect, it, vi } from 'vitest';
import { LengthMeter } from '../../src/data/lengths.ts';
import type { Row } from '../../src/data/rows.ts';
import { tokenizeRow } from '../../src/data/tokenize.ts';
import { randomStream } from '../../src/platform/random.ts';
import { chat, template, tokenizer } from './fixtures.ts';

const text = { tokenizer, template: template() };
const place = { file: 'train.jsonl', line: 1 };

function lengthOf(row: Row): number {
  const all = { ...text, trainOn: 'all', truncation: 'keep_start', maxSeqLen: 1e6 } as const;
  const tokenized = tokenizeRow(row, 0, all);
  if ('dropped' in tokenized) throw new Error(tokenized.dropped);
  return tokenized.inputIds.length;
}

/** Rows of all kinds and lengths, of words, numbers and letters that no merge knows. */
function rows(): Row[] {
  const random = randomStream(7, 0);
  const below = (count: number) => random() % count;
  const words = [
    'the',
    ' text',
    ' is',
    ' 12',
    '\n\n',
    ' naïve',
    '漢字仮名',
    ' 😀',
    'antidisestablishmentarianism',
    '  x',
  ];
  const some = () => Array.from({ length: 1 + below(30) }, () => words[below(words.length)]).join('');
  return Array.from({ length: 60 }, (_, i): Row => {
    if (i % 4 === 0) return { ...place, kind: 'text', text: some() };
    if (i % 4 === 1) return { ...place, kind: 'prompt_completion', prompt: some(), completion: some() };
    const row = chat(...Array.from({ length: 2 + 2 * below(3) }, some));
    return i % 4 === 2 ? row : { ...row, messages: [{ role: 'system', content: some() }, ...row.messages] };
  });
}

describe('LengthMeter', () => {
  it('tells rows that are too long as tokenising them does', () => {
    for (const most of [40, 80, 160]) {
      const meter = new LengthMeter(text, most);
      for (const row of rows()) expect([most, row, meter.isTooLong(row)]).toEqual([most, row, lengthOf(row) > most]);
    }
  });

  it('is right to the token where it is in doubt', () => {
    const row = chat('the text is the answer', 'the answer is in the text');
    expect(new LengthMeter(text, lengthOf(row)).isTooLong(row)).toBe(false);
    expect(new LengthMeter(text, lengthOf(row) - 1).isTooLong(row)).toBe(true);
    const tools = { ...row, tools: [{ type: 'function', function: { name: 'f' } }] };
    expect(new LengthMeter(text, lengthOf(tools) - 1).isTooLong(tools)).toBe(true);
  });

  it('does not tokenise again what is short, long, or made of words that it knows', () => {
    const encode = vi.spyOn(tokenizer, 'encode');
    const meter = new LengthMeter(text, 200);
    const row = chat('the text '.repeat(30), 'fine');
    meter.isTooLong(row);
    const calls = encode.mock.calls.length;
    for (const one of [row, chat('Hi', 'Ho'), chat('the text '.repeat(9000), 'fine')]) meter.isTooLong(one);
    expect(encode.mock.calls.length).toBe(calls);
    encode.mockRestore();
  });
});
