import { describe, expect, it } from 'vitest';
import type { DatasetOptions } from '../../src/data/dataset.ts';
import { loadDataset } from '../../src/data/dataset.ts';
import { countTrained } from '../../src/data/labels.ts';
import { jsonl, source, template, tokenizer } from './fixtures.ts';

const options: DatasetOptions = {
  tokenizer,
  template: template(),
  trainOn: 'assistant',
  maxSeqLen: 64,
  truncation: 'keep_start',
};
const short = { user: 'Hello', assistant: 'Hello there' };
const long = { user: 'the text is the answer '.repeat(40), assistant: 'fine' };
const longAnswer = { user: 'Hello', assistant: 'the text is the answer '.repeat(40) };

describe('loadDataset', () => {
  it('reads all sources in order and reports what was left out', async () => {
    const progress: number[] = [];
    const sources = [jsonl(short, long, longAnswer), source(`\n${JSON.stringify(short)}\n`, 'more.jsonl')];
    const { rows, report } = await loadDataset(sources, { ...options, onProgress: (read) => progress.push(read) });
    expect(rows.map(({ row, file, line }) => [row, file, line])).toEqual([
      [0, 'train.jsonl', 1],
      [2, 'train.jsonl', 3],
      [3, 'more.jsonl', 2],
    ]);
    expect(report).toEqual({
      read: 4,
      shapes: { chat: 4 },
      kept: 3,
      dropped: [{ where: 'train.jsonl:2', why: 'none of its first 64 tokens is trained' }],
      truncated: 1,
      tokens: rows.reduce((sum, { inputIds }) => sum + inputIds.length, 0),
      trainedTokens: rows.reduce((sum, row) => sum + countTrained(row), 0),
      longest: 64,
    });
    expect(progress).toEqual([4]);
  });

  it('passes format, columns and style on', async () => {
    const { rows } = await loadDataset([jsonl({ Q: 'Hello', A: 'fine' })], {
      ...options,
      columns: { user: 'Q', assistant: 'A' },
      style: 'Be brief.',
    });
    expect(rows[0]!.text).toContain('<|im_start|>system\nBe brief.<|im_end|>');
  });

  it('stops at the first bad row', async () => {
    await expect(loadDataset([jsonl(short, { user: 'Hello' })], options)).rejects.toThrow(/^train\.jsonl:2: /);
  });

  it('names the row on which the template raises', async () => {
    const strict = template("{{ raise_exception('no') if messages | length > 2 }}{{ messages[1].content }}");
    const row = { messages: [...Array(3)].map(() => ({ role: 'assistant', content: 'A' })) };
    await expect(loadDataset([jsonl(short, row)], { ...options, template: strict })).rejects.toMatchObject({
      code: 'TEMPLATE',
      message: expect.stringMatching(/^train\.jsonl:2: .*complaint: no$/),
    });
  });

  it('refuses data of which nothing is left', async () => {
    await expect(loadDataset([jsonl(long)], options)).rejects.toThrow(
      'got 1 that are not: train.jsonl:1: none of its first 64 tokens is trained',
    );
    await expect(loadDataset([source('')], options)).rejects.toThrow(
      'train.jsonl: expected at least one row, got none',
    );
  });

  it('takes no more rows than asked for, and can be stopped', async () => {
    expect((await loadDataset([jsonl(short, short, short)], { ...options, limit: 2 })).report.read).toBe(2);
    const many = jsonl(...[...Array(600)].map(() => short));
    const controller = new AbortController();
    const stopped = loadDataset([many], {
      ...options,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('loadDataset with documents', () => {
  const paragraphs = Array.from({ length: 30 }, (_, i) => `The answer is ${i}. Hello there, how are you today?`);
  const book = source(`${JSON.stringify({ text: paragraphs.join('\n\n'), source: 'book.pdf' })}\n`, 'book.jsonl');
  const documents = { chunkTokens: 64, overlapTokens: 0, mixRatio: null, seed: 1 };
  const chats = jsonl(short, short, short);

  it('trains every token of chunks that together are the text, and answers of chat rows', async () => {
    const { rows, report } = await loadDataset([book, chats], { ...options, documents });
    const chunks = rows.filter(({ file }) => file === 'book.jsonl');
    expect(chunks.length).toBeGreaterThan(5);
    expect(chunks.map(({ text }) => text.replace('<|im_end|>', '')).join('\n\n')).toBe(paragraphs.join('\n\n'));
    for (const { inputIds, labels, truncated, source: from } of chunks) {
      expect(labels).toEqual(inputIds);
      expect([truncated, from]).toEqual([false, 'book.pdf']);
      expect(inputIds.at(-1)).toBe(tokenizer.eosTokenId);
    }
    expect(rows.length - chunks.length).toBe(3);
    expect(rows.at(-1)!.labels).toContain(-100);
    expect(report).toMatchObject({ read: rows.length, kept: rows.length, truncated: 0 });
    expect(report.mix).toBeUndefined();
  });

  it('mixes by sampling the larger side down, in order and the same for the same seed', async () => {
    const mixed = (seed: number) =>
      loadDataset([book, chats], { ...options, documents: { ...documents, mixRatio: 0.5, seed } });
    const { rows, report } = await mixed(1);
    expect(rows.map(({ file }) => file)).toEqual([...Array(3).fill('book.jsonl'), ...Array(3).fill('train.jsonl')]);
    expect(rows.map(({ row }) => row)).toEqual(rows.map(({ row }) => row).toSorted((a, b) => a - b));
    expect(report).toMatchObject({ kept: 6, mix: { documents: 3, others: 3, leftOut: report.read - 6 } });
    expect((await mixed(1)).rows).toEqual(rows);
    expect((await mixed(2)).rows.map(({ row }) => row)).not.toEqual(rows.map(({ row }) => row));
  });

  it('mixes nothing under a limit, and says which side of a mix is missing', async () => {
    const limited = await loadDataset([book], { ...options, limit: 2, documents: { ...documents, mixRatio: 0.5 } });
    expect(limited.rows.map(({ row }) => row)).toEqual([0, 1]);
    await expect(loadDataset([book], { ...options, documents: { ...documents, mixRatio: 0.5 } })).rejects.toThrow(
      'data.documents.mix_ratio: expected other rows for a share of 0.5, got none',
    );
  });

  it('refuses a document of white space', async () => {
    await expect(loadDataset([jsonl({ text: ' \n' }, short)], { ...options, documents })).rejects.toThrow(
      'train.jsonl:1: expected a document with text, got white space only',
    );
  });
});
