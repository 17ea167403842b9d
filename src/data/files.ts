/** Small reads from a `ReadableFolder`: whole text files and JSON files, with errors that name the file. */

import type { ErrorCode } from '../platform/errors.ts';
import { SftError } from '../platform/errors.ts';
import { readBytes } from '../platform/sources.ts';
import type { ReadableFolder } from '../platform/types.ts';

/** A JSON object whose fields are not yet checked. */
export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a JSON value is, for "expected …, got …" messages. */
export function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  const shown = JSON.stringify(value);
  return `the ${typeof value} ${shown.length > 40 ? `${shown.slice(0, 37)}…` : shown}`;
}

/** Reads a UTF-8 file whole, or returns null when the folder has none of that name. */
export async function readText(folder: ReadableFolder, path: string, code: ErrorCode): Promise<string | null> {
  if (!(await folder.has(path))) return null;
  const bytes = await readBytes(folder, path);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new SftError(code, `${folder.name}/${path}: expected UTF-8 text, got bytes that are not`, { cause });
  }
}

/** Reads a file that holds one JSON object, or returns null when the folder has none of that name. */
export async function readJsonObject(
  folder: ReadableFolder,
  path: string,
  code: ErrorCode,
): Promise<JsonObject | null> {
  const text = await readText(folder, path, code);
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SftError(code, `${folder.name}/${path}: expected JSON, got: ${(cause as Error).message}`, { cause });
  }
  if (!isObject(value))
    throw new SftError(code, `${folder.name}/${path}: expected a JSON object, got ${describe(value)}`);
  return value;
}
