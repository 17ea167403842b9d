/**
 * Streaming JSON Lines: one JSON value a line, read in chunks of one MiB so that a file may be larger than memory.
 *
 * UTF-8 with or without a byte order mark; lines end with LF or CRLF; blank lines count but carry nothing. Everything
 * that is wrong is said as `file:line`. A file not named `.jsonl` that begins with `[` is read as one JSON array
 * instead, whole, with the line on which each element begins.
 */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';

/** One JSON value of a data file and where it begins (`line` counts from 1). */
export interface JsonRecord {
  readonly value: unknown;
  readonly line: number;
}

const CHUNK_BYTES = 1 << 20;
/** A row longer than this is a file without line ends, not a row. */
const MAX_LINE_BYTES = 64 << 20;
/** An array is held whole; larger files must be JSON Lines. */
const MAX_ARRAY_BYTES = 256 << 20;

const LF = 0x0a;
const CR = 0x0d;

/**
 * Yields the JSON values of a `.jsonl` or `.json` source in file order. Throws `DATA` with `file:line`; with `onProblem`
 * a line that is no JSON is told and passed over.
 */
export async function* readJsonRecords(
  source: ReadableSource,
  onProblem?: (problem: SftError) => void,
): AsyncGenerator<JsonRecord> {
  if (!/\.(jsonl|ndjson)$/i.test(source.name) && (await beginsWithBracket(source))) {
    yield* readArray(source);
    return;
  }
  for await (const { bytes, line } of readLines(source)) {
    const record = attempt(() => toRecord(bytes, source, line), onProblem);
    if (record) yield record;
  }
}

/** Yields the lines of a UTF-8 text file that are not blank, without their ends. Throws `DATA` with `file:line`. */
export async function* readLineTexts(source: ReadableSource): AsyncGenerator<string> {
  for await (const { bytes, line } of readLines(source)) {
    const text = decode(bytes, source, line);
    if (text.trim() !== '') yield text;
  }
}

/** The value of a line, or null for an empty one. */
function toRecord(bytes: Uint8Array, source: ReadableSource, line: number): JsonRecord | null {
  const text = decode(bytes, source, line).trim();
  return text === '' ? null : { value: parse(text, source, line), line };
}

/** What `make` returns. Where `onProblem` is given, it is told what `make` throws, and the result is null. */
export function attempt<T>(make: () => T, onProblem?: (problem: SftError) => void): T | null {
  try {
    return make();
  } catch (error) {
    if (!onProblem || !(error instanceof SftError)) throw error;
    onProblem(error);
    return null;
  }
}

interface Line {
  readonly bytes: Uint8Array;
  readonly line: number;
}

/** Splits at LF. The bytes of a line are joined only when it spans chunks. */
async function* readLines(source: ReadableSource): AsyncGenerator<Line> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  let line = 1;
  const take = (last: Uint8Array): Uint8Array => {
    const bytes = held.length === 0 ? last : concatenate([...held, last], heldBytes + last.length);
    held = [];
    heldBytes = 0;
    return bytes.at(-1) === CR ? bytes.subarray(0, -1) : bytes;
  };

  for (let offset = 0; offset < source.size; offset += CHUNK_BYTES) {
    let chunk: Uint8Array = await source.read(offset, Math.min(CHUNK_BYTES, source.size - offset));
    if (offset === 0) chunk = withoutMark(chunk, source);
    let start = 0;
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      yield { bytes: take(chunk.subarray(start, end)), line };
      line += 1;
      start = end + 1;
    }
    held.push(chunk.subarray(start));
    heldBytes += chunk.length - start;
    if (heldBytes > MAX_LINE_BYTES) {
      throw new SftError(
        'DATA',
        `${source.name}:${line}: expected a line of at most ${MAX_LINE_BYTES >> 20} MiB, got a longer one`,
        {
          hint: 'write one JSON object per line',
        },
      );
    }
  }
  if (heldBytes > 0) yield { bytes: take(new Uint8Array(0)), line };
}

function concatenate(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

function withoutMark(bytes: Uint8Array, source: ReadableSource): Uint8Array {
  const [a, b, c] = bytes;
  if (a === 0xef && b === 0xbb && c === 0xbf) return bytes.subarray(3);
  if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff)) {
    throw new SftError('DATA', `${source.name}:1: expected UTF-8 text, got UTF-16`, { hint: 'save the file as UTF-8' });
  }
  return bytes;
}

async function beginsWithBracket(source: ReadableSource): Promise<boolean> {
  const head = withoutMark(await source.read(0, Math.min(4096, source.size)), source);
  const first = head.find((byte) => byte !== 0x20 && byte !== 0x09 && byte !== LF && byte !== CR);
  return first === 0x5b;
}

function decode(bytes: Uint8Array, source: ReadableSource, line: number): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SftError('DATA', `${source.name}:${line}: expected UTF-8 text, got bytes that are not`, {
      hint: 'save the file as UTF-8',
      cause,
    });
  }
}

function parse(text: string, source: ReadableSource, line: number): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalid(source, line, (cause as Error).message.replace(/\s+/g, ' '), cause);
  }
}

function invalid(source: ReadableSource, line: number, reason: string, cause?: unknown): SftError {
  return new SftError('DATA', `${source.name}:${line}: expected a JSON object, got invalid JSON: ${reason}`, {
    hint: 'write one whole JSON object per line, with no comma after it; a JSON array goes into a .json file',
    cause,
  });
}

async function* readArray(source: ReadableSource): AsyncGenerator<JsonRecord> {
  if (source.size > MAX_ARRAY_BYTES) {
    const [most, size] = [MAX_ARRAY_BYTES, source.size].map((bytes) => Math.ceil(bytes / 2 ** 20));
    throw new SftError('DATA', `${source.name}:1: expected a JSON array of at most ${most} MiB, got ${size} MiB`, {
      hint: 'write JSON Lines instead: one object per line, no brackets around them',
    });
  }
  const text = decode(withoutMark(await source.read(0, source.size), source), source, 1);
  for (const { element, line } of splitArray(text, source)) yield { value: parse(element, source, line), line };
}

/** The elements of a top-level JSON array as they are written, each with the line on which it begins. */
function* splitArray(text: string, source: ReadableSource): Generator<{ element: string; line: number }> {
  let line = 1;
  let depth = 0;
  let inString = false;
  let closed = false;
  let start: { at: number; line: number } | null = null;
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === '\n') line += 1;
    if (inString) {
      if (c === '\\') i += 1;
      else if (c === '"') inString = false;
      continue;
    }
    const ends = depth === 1 && (c === ',' || c === ']');
    if (ends && start !== null) yield { element: text.slice(start.at, i), line: start.line };
    else if (ends && c === ',') throw invalid(source, line, 'a comma with nothing before it');
    if (ends) start = null;
    else if (depth === 1 && start === null && c.trim() !== '') start = { at: i, line };
    if (closed && c.trim() !== '') throw invalid(source, line, 'text after the array');
    if (c === '"') inString = true;
    else if (c === '[' || c === '{') depth += 1;
    else if (c === ']' || c === '}') depth -= 1;
    closed ||= ends && c === ']';
  }
  if (!closed) throw invalid(source, line, 'the array does not end');
}
