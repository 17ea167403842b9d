import { describe, expect, it } from 'vitest';
import type { Chunk } from '../../src/data/chunks.ts';
import { chunkText, documentRows } from '../../src/data/chunks.ts';
import type { Row, TextRow } from '../../src/data/rows.ts';
import { randomStream } from '../../src/platform/random.ts';
import { chat, tokenizer } from './fixtures.ts';

/** Words and marks of punctuation, so that sizes can be counted by eye. */
const words = (text: string): number => text.match(/\p{L}+|[^\s\p{L}]/gu)?.length ?? 0;
const tokens = (text: string): number => tokenizer.encode(text).ids.length;

function chunks(text: string, most: number, overlap = 0, count = words): Chunk[] {
  return chunkText(text, { most, overlap, count, where: 'book.txt:1' });
}

function texts(...parameters: Parameters<typeof chunks>): string[] {
  return chunks(...parameters).map(({ text }) => text);
}

describe('chunkText', () => {
  it('puts as many whole paragraphs into a chunk as fit', () => {
    const text = 'One two.\n\nThree four five.\n \n\nSix.\r\n\r\nSeven eight nine ten.\n';
    expect(texts(text, 7)).toEqual(['One two.\n\nThree four five.', 'Six.\r\n\r\nSeven eight nine ten.']);
    expect(texts(text, 5)).toEqual(['One two.', 'Three four five.', 'Six.', 'Seven eight nine ten.']);
    expect(texts(text, 100)).toEqual([text.trim()]);
  });

  it('keeps a paragraph whole where it fits, and cuts a long one at lines, sentences, words, characters', () => {
    expect(texts('a b c d\n\ne f g h\n\ni', 5)).toEqual(['a b c d', 'e f g h\n\ni']);
    expect(texts('a b c\nd e f\ng', 4)).toEqual(['a b c', 'd e f\ng']);
    expect(texts('A b. “C d?” E f!', 6)).toEqual(['A b.', '“C d?”', 'E f!']);
    expect(texts('a b c d e', 2)).toEqual(['a b', 'c d', 'e']);
    const letters = (text: string) => [...text].length;
    expect(texts('一二三。四五六。七', 4, 0, letters)).toEqual(['一二三。', '四五六。', '七']);
    expect(texts('😀😀😀', 1, 0, letters)).toEqual(['😀', '😀', '😀']);
  });

  it('keeps indentation, drops white space at the ends, makes nothing of white space', () => {
    expect(texts('\n \n    def f():\n        pass\n\n\n', 9)).toEqual(['    def f():\n        pass']);
    expect(texts(' \n\n \t\n', 9)).toEqual([]);
    expect(texts('', 9)).toEqual([]);
  });

  it('repeats whole sentences of the chunk before, else whole words', () => {
    expect(texts('A b. C d. E f. G h.', 6, 3)).toEqual(['A b. C d.', 'C d. E f.', 'E f. G h.']);
    expect(texts('A b. C d.\n\nE f.\n\nG h.', 6, 3)).toEqual(['A b. C d.', 'C d.\n\nE f.', 'E f.\n\nG h.']);
    expect(texts('a b c d e f g', 4, 2)).toEqual(['a b c d', 'c d e f', 'e f g']);
  });

  it('repeats less where the next paragraph would not fit whole', () => {
    expect(texts('a b c d\n\ne f g\n\nh i j k', 4, 2)).toEqual(['a b c d', 'd\n\ne f g', 'h i j k']);
  });

  it('names the document in which a character is too long', () => {
    expect(() => texts('ab', 0)).toThrow('book.txt:1: expected characters of at most 0 tokens, got one of 1');
  });
});

/** A text of words, sentences, lines, paragraphs, indents, emoji and long words. */
function randomText(seed: number): string {
  const next = randomStream(seed, 1);
  const pick = <T>(from: readonly T[]): T => from[next() % from.length]!;
  const pieces = ['the', 'answer', 'Grüße', 'naïve', '😀', '漢字。', 'text.', 'Why?', 'def add(a, b):', 'x'.repeat(30)];
  const gaps = [' ', ' ', ' ', ' ', '\n', '\n\n', '\r\n\r\n', '\n    ', '  ', '\n \n\n'];
  return Array.from({ length: next() % 120 }, () => pick(pieces) + pick(gaps)).join('');
}

describe('for 150 random texts, sizes and overlaps', () => {
  const cases = Array.from({ length: 150 }, (_, seed) => {
    const next = randomStream(seed, 2);
    const most = 8 + (next() % 60);
    const overlap = next() % 3 === 0 ? 0 : next() % most;
    const text = randomText(seed);
    return { text, most, overlap, found: chunks(text, most, overlap, tokens) };
  });

  it('nothing is lost or reordered, and chunks without overlap share nothing', () => {
    for (const { text, overlap, found } of cases) {
      let end = 0;
      let rebuilt = '';
      for (const chunk of found) {
        expect(chunk.start).toBeLessThanOrEqual(end);
        if (overlap === 0) expect(chunk.start).toBe(end);
        expect(chunk.end).toBeGreaterThan(end);
        expect(text.slice(chunk.start, chunk.end)).toContain(chunk.text);
        expect(text.slice(chunk.start, chunk.end).trim()).toBe(chunk.text.trim());
        rebuilt += text.slice(end, chunk.end);
        end = chunk.end;
      }
      expect(rebuilt).toBe(text.trim() === '' ? '' : text);
    }
  });

  it('no chunk is empty or too long, and no repeated part is longer than the overlap', () => {
    let repeated = 0;
    for (const { text, most, overlap, found } of cases) {
      for (const [index, { start, text: content }] of found.entries()) {
        expect(content.trim()).not.toBe('');
        expect(tokens(content)).toBeLessThanOrEqual(most);
        const again = text.slice(start, found[index - 1]?.end ?? start);
        const shared = again.replace(/^(?:[^\S\n]*\n)+/, '').trimEnd();
        expect(tokens(shared)).toBeLessThanOrEqual(overlap);
        repeated += shared === '' ? 0 : 1;
      }
    }
    expect(repeated).toBeGreaterThan(100);
  });

  it('a paragraph that fits is in one chunk', () => {
    for (const { text, most, found } of cases) {
      for (const paragraph of text.split(/\n(?:[^\S\n]*\n)+/)) {
        if (paragraph.trim() === '' || tokens(paragraph.trimEnd()) > most) continue;
        expect(found.some(({ text: content }) => content.includes(paragraph.trim()))).toBe(true);
      }
    }
  });
});

describe('documentRows', () => {
  const row: TextRow = { kind: 'text', file: 'books/one.pdf', line: 1, text: 'The answer is.\n\n'.repeat(20) };
  const sizes = { chunkTokens: 40, overlapTokens: 0 };
  const rowsOf = (one: Row, more = sizes) => documentRows(one, more, tokenizer) as TextRow[];

  it('gives rows with their source, whose ids with begin and end are no more than was asked for', () => {
    const rows = rowsOf(row);
    expect(rows.length).toBeGreaterThan(2);
    for (const { text, source, ...place } of rows) {
      expect(tokenizer.encode(`${text}<|im_end|>`, { addSpecialTokens: true }).ids.length).toBeLessThanOrEqual(40);
      expect(source).toBe('one.pdf');
      expect(place).toEqual({ kind: 'text', file: 'books/one.pdf', line: 1 });
    }
    expect(rows.map(({ text }) => text).join('\n\n')).toBe(row.text.trim());
  });

  it('gives a chunk as it is when it is read again, with an overlap too', () => {
    const text = Array.from({ length: 60 }, (_, i) => `Line ${i}. How are you?${i % 7 ? '\n' : '\n\n\n'}`).join(' ');
    for (const overlapTokens of [0, 12]) {
      const rows = rowsOf({ ...row, text }, { chunkTokens: 64, overlapTokens });
      expect(rows.length).toBeGreaterThan(5);
      for (const chunk of rows) expect(rowsOf(chunk, { chunkTokens: 64, overlapTokens })).toEqual([chunk]);
    }
  });

  it('keeps a source that the data names, and rows that are no texts', () => {
    expect(rowsOf({ ...row, source: 'One' })[0]?.source).toBe('One');
    expect(rowsOf(chat('Hi', 'Ho'))).toEqual([chat('Hi', 'Ho')]);
  });

  it('refuses white space', () => {
    expect(() => rowsOf({ ...row, text: ' \n' })).toThrow(
      'books/one.pdf:1: expected a document with text, got white space only',
    );
  });
});
