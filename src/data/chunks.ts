/**
 * Documents for domain-adaptive pretraining: text cut into chunks of whole paragraphs, each a row that is learnt whole.
 *
 * Chunks follow the text: each ends later than the one before and begins where that one ends, or with an overlap a little
 * earlier. So nothing is lost or reordered; only white space at the two ends of a chunk is left out. A paragraph that is
 * too long for a chunk is cut between lines, else between sentences, words or, where there are none, characters.
 */

import { SftError } from '../platform/errors.ts';
import { fileNameOf } from './bytes.ts';
import type { Row } from './rows.ts';
import { whereOf } from './rows.ts';
import type { Tokenizer } from './tokenizer.ts';

/** A part of a text, in UTF-16 offsets. `text` is that part without white space at its ends. */
export interface Chunk {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface ChunkOptions {
  /** Most tokens of a chunk. */
  readonly most: number;
  /** Most tokens of a chunk that are in the chunk before as well; less than `most`. */
  readonly overlap: number;
  /** How many tokens a text has. */
  readonly count: (text: string) => number;
  /** For messages. */
  readonly where: string;
}

/** `data.documents.chunk_tokens` and `overlap_tokens`; a row has what begins and ends a text as well. */
export interface DocumentSizes {
  readonly chunkTokens: number;
  readonly overlapTokens: number;
}

/**
 * The chunks of a text row, a document, as rows of at most `chunkTokens` tokens in text order; each says as its `source` the
 * name of the file. A chunk gives itself. Rows that are no texts are returned as they are. Throws `DATA` as `chunkText`
 * does, and for a document without text.
 */
export function documentRows(row: Row, { chunkTokens, overlapTokens }: DocumentSizes, tokenizer: Tokenizer): Row[] {
  if (row.kind !== 'text') return [row];
  if (row.text.trim() === '') {
    throw new SftError('DATA', `${whereOf(row)}: expected a document with text, got white space only`, {
      hint: 'leave the document out',
    });
  }
  const count = (text: string): number => tokenizer.encode(text).ids.length;
  const last = tokenizer.namedTokens.eos_token ?? '';
  const frame = tokenizer.encode(`a${last}`, { addSpecialTokens: true }).ids.length - count('a');
  const options = { most: chunkTokens - frame, overlap: overlapTokens, count, where: whereOf(row) };
  const source = row.source ?? fileNameOf(row.file);
  return chunkText(row.text, options).map(({ text }) => ({ ...row, source, text }));
}

/**
 * Cuts a text into chunks of at most `most` tokens, each as long as whole units allow. Whole sentences are repeated where
 * one fits into `overlap`, else whole words; nothing where the next paragraph would not fit whole besides. Throws `DATA`
 * for a character that has more than `most` tokens.
 */
export function chunkText(text: string, options: ChunkOptions): Chunk[] {
  const { most, count } = options;
  const units = unitsOf(text, options);
  const fits = (start: number, end: number): boolean => count(trimmed(text.slice(start, end))) <= most;
  // A chunk that is read again stays whole, whatever its units add up to.
  const total = units.reduce((sum, { tokens }) => sum + tokens, 0);
  if (units.length > 1 && total <= 2 * most && fits(0, text.length)) {
    return [{ start: 0, end: text.length, text: trimmed(text) }];
  }
  const chunks: Chunk[] = [];
  for (let next = 0; next < units.length; ) {
    const first = units[next]!;
    const before = chunks.at(-1);
    const start = before ? overlapStart(text, before, first.end, options, fits) : first.start;
    // Joined units have not quite as many tokens as each alone, so the sum says where to look and not what is right.
    let last = next;
    let tokens = count(text.slice(start, first.end));
    while (last + 1 < units.length && tokens + units[last + 1]!.tokens <= most) tokens += units[++last]!.tokens;
    // A joint saves a token or so, so a unit that is much too long is not tried.
    while (last + 1 < units.length && tokens + units[last + 1]!.tokens - most < last - next + 4) {
      if (!fits(start, units[last + 1]!.end)) break;
      tokens += units[++last]!.tokens;
    }
    while (last > next && !fits(start, units[last]!.end)) last -= 1;
    const { end } = units[last]!;
    chunks.push({ start, end, text: trimmed(text.slice(start, end)) });
    next = last + 1;
  }
  return chunks;
}

interface Unit {
  readonly start: number;
  readonly end: number;
  /** With the white space at its end. */
  readonly tokens: number;
}

/** What ends a part of a text. */
const PARAGRAPH = /\n(?:[^\S\n]*\n)+/g;
const LINE = /\n/g;
const SENTENCE = /[.!?…]["'”’»)\]]*\s+|[。！？]["'”’»」』）)\]]*\s*/g;
const WORD = /\s+/g;
const SENTENCE_OR_LINE = new RegExp(`${SENTENCE.source}|${LINE.source}`, 'g');

/** Where a text may be cut, the best first. */
const LEVELS = [PARAGRAPH, LINE, SENTENCE, WORD];

/** Paragraphs side by side, and parts of those that are too long; no part has to be cut. */
function unitsOf(text: string, { most, overlap, count, where }: ChunkOptions): Unit[] {
  // Parts of a paragraph leave room for the overlap; a whole one is worth more than the overlap before it.
  const room = Math.min(most, Math.max(1, most - overlap));
  const unit = (start: number, end: number): Unit => ({ start, end, tokens: count(text.slice(start, end)) });
  const isAtMost = ({ start, end, tokens }: Unit, limit: number): boolean =>
    tokens <= limit || count(trimmed(text.slice(start, end))) <= limit;
  const cut = (start: number, end: number, level: number): Unit[] => {
    const pattern = LEVELS[level];
    if (!pattern) return halve(unit(start, end));
    return parts(text, start, end, pattern).flatMap(([from, to]) => {
      const whole = unit(from, to);
      return isAtMost(whole, level === 0 ? most : room) ? [whole] : cut(from, to, level + 1);
    });
  };
  const halve = (whole: Unit): Unit[] => {
    const { start, end, tokens } = whole;
    if (isAtMost(whole, room)) return [whole];
    const half = (start + end) >>> 1;
    const middle = isInsideCharacter(text, half) ? half + 1 : half;
    if (middle > start && middle < end) return [...halve(unit(start, middle)), ...halve(unit(middle, end))];
    if (isAtMost(whole, most)) return [whole];
    throw new SftError('DATA', `${where}: expected characters of at most ${most} tokens, got one of ${tokens}`, {
      hint: 'raise data.documents.chunk_tokens',
    });
  };
  return text.trim() === '' ? [] : cut(0, text.length, 0);
}

/** Where the next chunk begins: as early in the chunk before as `overlap` allows, and the unit that comes next. */
function overlapStart(
  text: string,
  before: Chunk,
  unitEnd: number,
  { overlap, count }: ChunkOptions,
  fits: (start: number, end: number) => boolean,
): number {
  if (overlap === 0) return before.end;
  const allowed = (start: number): boolean =>
    count(trimmed(text.slice(start, before.end))) <= overlap && fits(start, unitEnd);
  for (const pattern of [SENTENCE_OR_LINE, WORD]) {
    const starts = parts(text, before.start, before.end, pattern).map(([start]) => start);
    const start = starts.slice(1)[firstTrue(starts.length - 1, (index) => allowed(starts[index + 1]!))];
    if (start !== undefined && text.slice(start, before.end).trim() !== '') return start;
  }
  return before.end;
}

/** The smallest index below `length` for which a test holds that holds for all larger ones; else `length`. */
function firstTrue(length: number, test: (index: number) => boolean): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (test(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The stretch from `start` to `end`, cut after each match of `pattern`. */
function parts(text: string, start: number, end: number, pattern: RegExp): [number, number][] {
  const ends = Array.from(text.slice(start, end).matchAll(pattern), (match) => start + match.index + match[0].length);
  if (ends.at(-1) !== end) ends.push(end);
  return ends.map((to, index) => [ends[index - 1] ?? start, to]);
}

/** Without blank lines before and white space after; the indent of the first line stays. */
function trimmed(text: string): string {
  return text.slice(/^(?:[^\S\n]*\n)*/.exec(text)![0].length).trimEnd();
}

/** Whether a place is between the two halves of one character. */
function isInsideCharacter(text: string, at: number): boolean {
  return (text.codePointAt(at - 1) ?? 0) > 0xffff;
}
