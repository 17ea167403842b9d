/**
 * JSON Lines, streamed: one JSON value a line. Blank lines count but carry nothing. Everything that is wrong is said as
 * `file:line`.
 */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';
import { readLineBlocks, refuseNullByte, textOf } from './lines.ts';

/** One value of a data file and where it begins. */
export interface DataRecord {
  readonly value: unknown;
  /** From 1; in a Parquet file, which has no lines, the number of the row. */
  readonly line: number;
}

/** Told of what is wrong in one record, which is then passed over; without it that is thrown. */
export type OnProblem = ((problem: SftError) => void) | undefined;

/** Yields the values of a `.jsonl` source in file order. Throws `DATA` with `file:line`. */
export async function* readJsonLines(source: ReadableSource, onProblem?: OnProblem): AsyncGenerator<DataRecord> {
  for await (const lines of readLineBlocks(source)) {
    for (const line of lines) {
      const record = attempt(() => toRecord(textOf(line, source), source, line.line), onProblem);
      if (record) yield record;
    }
  }
}

/** The value of a line, or null for an empty one. */
function toRecord(text: string, source: ReadableSource, line: number): DataRecord | null {
  return text.trim() === '' ? null : { value: parseJson(text, source, line), line };
}

/** What `make` returns. Where `onProblem` is given, it is told what `make` throws, and the result is null. */
export function attempt<T>(make: () => T, onProblem?: OnProblem): T | null {
  try {
    return make();
  } catch (error) {
    if (!onProblem || !(error instanceof SftError)) throw error;
    onProblem(error);
    return null;
  }
}

/** Parses a value that begins on `line`. Throws `DATA`. */
export function parseJson(text: string, source: ReadableSource, line: number): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    refuseNullByte(text, source, line);
    throw invalidJson(source, line, (cause as Error).message.replace(/\s+/g, ' '), cause);
  }
}

export function invalidJson({ name }: ReadableSource, line: number, reason: string, cause?: unknown): SftError {
  return new SftError('DATA', `${name}:${line}: expected a JSON object, got invalid JSON: ${reason}`, {
    hint: 'write one whole JSON object per line, with no comma after it; a JSON array goes into a .json file',
    cause,
  });
}
