import { describe, expect, it } from 'vitest';
import { inspectRow } from '../../src/data/inspect.ts';
import { IGNORE_INDEX, labelsFromSpans, mergeSpans } from '../../src/data/labels.ts';
import type { Row } from '../../src/data/rows.ts';
import type { TokenizedRow, TokenizeOptions } from '../../src/data/tokenize.ts';
import { tokenizeRow } from '../../src/data/tokenize.ts';
import { Tokenizer } from '../../src/data/tokenizer.ts';
import { chat, template, tokenizer, tokenizerConfig, tokenizerJson } from './fixtures.ts';

const options: TokenizeOptions = {
  tokenizer,
  template: template(),
  trainOn: 'assistant',
  maxSeqLen: 1000,
  truncation: 'keep_start',
};

function tokenized(row: Row, changes: Partial<TokenizeOptions> = {}): TokenizedRow {
  const result = tokenizeRow(row, 3, { ...options, ...changes });
  if ('dropped' in result) throw new Error(result.dropped);
  return result;
}

const trainedText = ({ labels }: TokenizedRow) =>
  tokenizer.decode([...labels].filter((label) => label !== IGNORE_INDEX));

describe('labels', () => {
  it('trains tokens that share a character with a span', () => {
    const offsets = [
      [0, 2],
      [2, 3],
      [3, 3],
      [3, 5],
      [3, 5],
      [6, 8],
    ] as const;
    const trained = (...spans: [number, number][]) =>
      [...labelsFromSpans([1, 2, 3, 4, 5, 6], offsets, spans)].map((label) => label !== -100);
    expect(trained([1, 2])).toEqual([true, false, false, false, false, false]);
    expect(trained([2, 4])).toEqual([false, true, false, true, true, false]);
    expect(trained([0, 1], [7, 9])).toEqual([true, false, false, false, false, true]);
    expect(trained([5, 6])).toEqual([false, false, false, false, false, false]);
    expect(trained()).toEqual([false, false, false, false, false, false]);
  });

  it('joins spans', () => {
    expect(
      mergeSpans([
        [5, 7],
        [1, 2],
        [2, 3],
        [9, 9],
        [6, 8],
      ]),
    ).toEqual([
      [1, 3],
      [5, 8],
    ]);
  });
});

describe('rows', () => {
  it('become ids and unshifted labels', () => {
    const row = tokenized({ ...chat('Q', 'Hello there'), source: 'book' });
    expect(tokenizer.decode(row.inputIds)).toBe(row.text);
    expect(trainedText(row)).toBe('Hello there<|im_end|>');
    expect([...row.labels].every((label, t) => label === IGNORE_INDEX || label === row.inputIds[t])).toBe(true);
    expect(row).toMatchObject({ row: 3, file: 'train.jsonl', line: 7, source: 'book', truncated: false });
  });

  it('as `inspect` prints them', () => {
    const row = tokenized(chat('Q', 'A'));
    const shown = inspectRow(row);
    expect(Object.keys(shown)).toEqual(['row', 'text', 'input_ids', 'labels', 'tokens', 'spans', 'truncated']);
    expect(JSON.parse(JSON.stringify(shown))).toEqual({
      row: 3,
      text: '<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n',
      input_ids: [...row.inputIds],
      labels: [...row.labels],
      tokens: [...row.inputIds].map((id) => tokenizer.idToToken(id)),
      spans: [[51, 62]],
      truncated: false,
    });
  });

  it('of raw text begin with what the tokenizer puts there', () => {
    const place = { file: 'train.jsonl', line: 1 };
    const text = tokenized({ ...place, kind: 'text', text: 'Hello' });
    expect(text.tokens[0]).toBe('<|begin|>');
    expect(text.labels).toEqual(text.inputIds);
    expect(text.text).toBe('Hello<|im_end|>');
    const pair = tokenized({ ...place, kind: 'prompt_completion', prompt: 'Hello', completion: ' there' });
    expect(pair.tokens[0]).toBe('<|begin|>');
    expect(trainedText(pair)).toBe(' there<|im_end|>');
  });

  it('end once when the tokenizer adds the end itself', () => {
    const single = [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '<|im_end|>', type_id: 0 } }];
    const json = {
      ...tokenizerJson(),
      post_processor: { type: 'TemplateProcessing', single, pair: [], special_tokens: {} },
    };
    const ending = new Tokenizer(json, tokenizerConfig);
    const row = tokenized(
      { file: 'f', line: 1, kind: 'prompt_completion', prompt: 'Hello', completion: ' there' },
      { tokenizer: ending },
    );
    expect(row.tokens.filter((token) => token === '<|im_end|>')).toHaveLength(1);
    expect(ending.encode('Hello', { addSpecialTokens: true }).ids.at(-1)).toBe(2);
  });
});

describe('truncation', () => {
  const row = chat('Hello there, how are you?', 'I am fine, thanks.');
  const whole = tokenized(row);
  const length = whole.inputIds.length;

  it('keeps the start or the end, and the text whole', () => {
    const start = tokenized(row, { maxSeqLen: length - 4 });
    expect(start.inputIds).toEqual(whole.inputIds.slice(0, length - 4));
    expect(start.labels).toEqual(whole.labels.slice(0, length - 4));
    expect(start).toMatchObject({ truncated: true, text: whole.text, spans: whole.spans });
    expect(start.tokens).toHaveLength(length - 4);
    const end = tokenized(row, { maxSeqLen: 5, truncation: 'keep_end' });
    expect(end.inputIds).toEqual(whole.inputIds.slice(-5));
    expect(tokenized(row, { maxSeqLen: length, truncation: 'error' }).truncated).toBe(false);
  });

  it('drops or complains when told to', () => {
    expect(tokenizeRow(row, 0, { ...options, maxSeqLen: 9, truncation: 'drop' })).toMatchObject({
      dropped: `${length} tokens are more than 9`,
    });
    expect(() => tokenizeRow(row, 0, { ...options, maxSeqLen: 9, truncation: 'error' })).toThrow(
      `train.jsonl:7: expected at most 9 tokens, got ${length}`,
    );
  });

  it('drops a row whose trained tokens are cut off', () => {
    expect(tokenizeRow(row, 0, { ...options, maxSeqLen: 5 })).toMatchObject({
      dropped: 'none of its first 5 tokens is trained',
    });
    expect(tokenizeRow(row, 0, { ...options, maxSeqLen: 1, truncation: 'keep_end' })).toMatchObject({
      dropped: 'none of its last 1 tokens is trained',
    });
  });

  it('drops a row in which nothing is trained', () => {
    const silent = template('{% generation %}{% endgeneration %}Q');
    expect(tokenizeRow(chat('Q', 'A'), 0, { ...options, template: silent })).toMatchObject({
      dropped: 'none of its tokens is trained',
    });
  });
});
