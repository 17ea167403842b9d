/**
 * The lines of a UTF-8 text file, streamed: with or without a byte order mark, ended by LF or CRLF, at most 64 MiB long.
 */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';
import { concatenate, decodeUtf8, notUtf8, readBlocks, withoutMark } from './bytes.ts';

export interface Line {
  /** Without the LF that ends it; a CR before that is kept. Null where the bytes are not UTF-8. */
  readonly text: string | null;
  /** From 1. */
  readonly line: number;
}

/** A row longer than this is a file without line ends, not a row. */
export const MAX_ROW_BYTES = 64 << 20;

/**
 * Of the texts that blocks are cut into, about. Each decoding costs, but a letter outside of Latin-1 makes the whole text
 * take twice the memory, and engines make large strings at half the speed.
 */
const TEXT_BYTES = 1 << 14;

const LF = 0x0a;

/** Yields every line. Throws `DATA` for one that is too long, and for UTF-16. */
export async function* readLines(source: ReadableSource): AsyncGenerator<Line> {
  for await (const lines of readLineBlocks(source)) yield* lines;
}

/** The lines of `readLines`, as many at a time as a block holds: a turn of the event loop for each line would cost more than its reading. */
export async function* readLineBlocks(source: ReadableSource): AsyncGenerator<Line[]> {
  let line = 1;
  for await (const texts of readTextBlocks(source, () => line)) {
    yield texts.flatMap((text) => text?.split('\n') ?? [null]).map((text) => ({ text, line: line++ }));
  }
}

/**
 * The same, not cut: each text is one or more whole lines, without the last line end, or null for a line that is not UTF-8.
 * `line`: how many lines have been taken, plus one.
 */
export async function* readTextBlocks(
  source: ReadableSource,
  line: () => number,
): AsyncGenerator<readonly (string | null)[]> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  let first = true;
  for await (let block of readBlocks(source)) {
    if (first) block = withoutMark(block, source);
    first = false;
    const end = block.lastIndexOf(LF);
    if (end !== -1) {
      const whole = block.subarray(0, end);
      yield textsOf(concatenateIfMany(held, whole, heldBytes));
      held = [];
      heldBytes = 0;
    }
    const rest = block.subarray(end + 1);
    held.push(rest);
    heldBytes += rest.length;
    if (heldBytes > MAX_ROW_BYTES) throw rowTooLong(source, line());
  }
  if (heldBytes > 0) yield textsOf(concatenate(held, heldBytes));
}

/** Yields the lines that are not blank, without their ends. Throws `DATA` with `file:line`. */
export async function* readLineTexts(source: ReadableSource): AsyncGenerator<string> {
  for await (const line of readLines(source)) {
    const text = textOf(line, source).replace(/\r$/, '');
    if (text.trim() !== '') yield text;
  }
}

/** The text of a line. Throws `DATA` where it is not UTF-8. */
export function textOf({ text, line }: Line, { name }: ReadableSource): string {
  if (text === null) throw notUtf8(`${name}:${line}`);
  return text;
}

/** Returns `text`, which begins on `line`. Throws `DATA` where it holds a null byte. */
export function refuseNullByte(text: string, { name }: ReadableSource, line: number): string {
  const at = text.indexOf('\0');
  if (at === -1) return text;
  const place = line + text.slice(0, at).split('\n').length - 1;
  throw new SftError('DATA', `${name}:${place}: expected text, got a null byte`, {
    hint: 'the file is not text, or was saved in another encoding: save it as UTF-8',
  });
}

export function rowTooLong({ name }: ReadableSource, line: number): SftError {
  return new SftError(
    'DATA',
    `${name}:${line}: expected a row of at most ${MAX_ROW_BYTES >> 20} MiB, got a longer one`,
    {
      hint: 'write one row per line; look for a quote or a bracket that is not closed',
    },
  );
}

function concatenateIfMany(held: readonly Uint8Array[], last: Uint8Array, heldBytes: number): Uint8Array {
  return heldBytes === 0 ? last : concatenate([...held, last], heldBytes + last.length);
}

/** Decodes many lines at once; one by one only where a byte is wrong. */
function textsOf(bytes: Uint8Array): (string | null)[] {
  const texts: (string | null)[] = [];
  for (let start = 0; start <= bytes.length; ) {
    const found = bytes.indexOf(LF, start + TEXT_BYTES);
    const end = found === -1 ? bytes.length : found;
    const lines = bytes.subarray(start, end);
    const text = decodeUtf8(lines);
    texts.push(...(text === null ? decodeEach(lines) : [text]));
    start = end + 1;
  }
  return texts;
}

function decodeEach(bytes: Uint8Array): (string | null)[] {
  const texts: (string | null)[] = [];
  let start = 0;
  for (let end = bytes.indexOf(LF); end !== -1; end = bytes.indexOf(LF, start)) {
    texts.push(decodeUtf8(bytes.subarray(start, end)));
    start = end + 1;
  }
  return [...texts, decodeUtf8(bytes.subarray(start))];
}
