import { describe, expect, it } from 'vitest';
import { countTrained } from '../../src/data/labels.ts';
import type { Row } from '../../src/data/rows.ts';
import { tokenizeRow } from '../../src/data/tokenize.ts';
import { Endings } from '../../src/eval/endTokens.ts';
import { RowInspector, RowSizes } from '../../src/train/checkData.ts';
import { chat, template, tokenizer } from '../data/fixtures.ts';

const options = {
  tokenizer,
  template: template(),
  trainOn: 'assistant',
  maxSeqLen: 64,
  truncation: 'keep_start',
} as const;
const at = (row: Row, line: number): Row => ({ ...row, line });

describe('RowInspector', () => {
  const inspector = new RowInspector(tokenizer, null);
  const look = (split: 'train' | 'val', rows: readonly Row[]) => {
    const { see, findings } = inspector.inspect(split);
    const results = rows.map((row, number) => tokenizeRow(row, number, options));
    for (const [index, row] of rows.entries()) see(row, results[index]!);
    return { findings: findings(), results };
  };
  const long = chat('Hi', 'the text is the answer '.repeat(20));
  const lost = chat('the text is the answer '.repeat(40), 'fine');

  it('finds the longest rows, what was truncated, what comes again and what is suspicious', () => {
    const rows = [chat('Hi', 'Ho'), long, { ...chat('Hi', 'Ho'), source: 'x' }, lost, chat('Hi', '')];
    const { findings, results } = look(
      'train',
      rows.map((row, i) => at(row, i + 1)),
    );
    const lengths = results.map(({ wholeLength }) => wholeLength);
    expect(findings).toEqual({
      longest: [3, 1, 0, 2, 4].map((i) => ({ where: `train.jsonl:${i + 1}`, tokens: lengths[i] })),
      truncated: { count: 1, first: ['train.jsonl:2'] },
      repeated: { count: 1, first: ['train.jsonl:3 as train.jsonl:1'] },
      inEarlierSplit: { count: 0, first: [] },
      suspicious: { empty_answer: { count: 1, first: ['train.jsonl:5'] } },
    });
  });

  it('finds rows of an earlier split, and names no more than five of a kind', () => {
    const { findings } = look(
      'val',
      Array.from({ length: 7 }, (_, i) => at(i === 3 ? long : chat('Hi', 'Ho'), i + 1)),
    );
    expect(findings.inEarlierSplit.count).toBe(7);
    expect(findings.inEarlierSplit.first).toHaveLength(5);
    expect(findings.inEarlierSplit.first[3]).toBe('train.jsonl:4 as train.jsonl:2');
    expect(findings.repeated.count).toBe(0);
    expect(findings.longest).toHaveLength(5);
  });
});

it('finds rows that do not end where the model stops', () => {
  const endings = new Endings(options, [0]);
  const { see, findings } = new RowInspector(tokenizer, endings).inspect('train');
  for (const content of ['Ho', 'the text is the answer '.repeat(40)]) {
    const row = chat('Hi', content);
    see(row, tokenizeRow(row, 0, options));
  }
  expect(findings().suspicious).toEqual({ no_end_of_turn: { count: 1, first: ['train.jsonl:7'] } });
  expect(endings.warning()).toContain('1 of 1 rows end with');
});

describe('RowSizes', () => {
  it('are one row for all that agree in what the memory plan needs', () => {
    const sizes = new RowSizes(64);
    for (const row of [chat('Hi', 'Ho'), chat('Hello', 'the answer', 'And?', 'fine')]) {
      const tokenized = tokenizeRow(row, 0, options);
      if ('dropped' in tokenized) throw new Error(tokenized.dropped);
      const size = sizes.of(tokenized);
      expect([size.inputIds.length, size.labels.length]).toEqual([tokenized.inputIds.length, tokenized.labels.length]);
      expect(countTrained(size)).toBe(countTrained(tokenized));
      expect(sizes.of({ ...tokenized })).toBe(size);
    }
  });
});
