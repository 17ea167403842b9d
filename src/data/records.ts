/** Data files of every format, told apart by the end of their names; each may also be compressed (`.gz`). */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';
import { extensionOf } from './bytes.ts';
import { readCsv } from './csv.ts';
import { docxPages, oneRow, type PagesReader, pdfPages, textPages } from './documentReaders.ts';
import { readJson } from './jsonArray.ts';
import { type DataRecord, type OnProblem, readJsonLines } from './jsonl.ts';
import { readParquet } from './parquet.ts';
import { repairPages } from './repair.ts';

type Reader = (source: ReadableSource, onProblem?: OnProblem) => AsyncGenerator<DataRecord>;

/** Files of rows, by extension. */
const ROWS: Readonly<Record<string, Reader>> = {
  jsonl: readJsonLines,
  ndjson: readJsonLines,
  json: readJson,
  csv: readCsv,
  tsv: readCsv,
  parquet: readParquet,
};

/** Files that are one text each. */
const DOCUMENTS = {
  txt: textPages,
  md: textPages,
  docx: docxPages,
  pdf: async (source) => [repairPages(await pdfPages(source))],
} satisfies Record<string, PagesReader>;

const READERS: Readonly<Record<string, Reader>> = {
  ...ROWS,
  ...Object.fromEntries(Object.entries(DOCUMENTS).map(([extension, pagesOf]) => [extension, oneRow(pagesOf)])),
};

/** Yields the values of a data file in their order. Throws `DATA` with `file:line`, and for a format that is not read. */
export function readRecords(source: ReadableSource, onProblem?: OnProblem): AsyncGenerator<DataRecord> {
  return readerOf(source.name)(source, onProblem);
}

/** Whether the name is that of a format that is read. */
export function isReadable(name: string): boolean {
  return Object.hasOwn(READERS, extensionOf({ name }));
}

function readerOf(name: string): Reader {
  const extension = extensionOf({ name });
  if (Object.hasOwn(READERS, extension)) return READERS[extension]!;
  const got = extension === '' ? 'no extension' : `.${extension}`;
  throw new SftError('DATA', `${name}: expected a format that can be read, got ${got}`, {
    hint: `files may be ${listed()}`,
  });
}

function listed(): string {
  const names = Object.keys(READERS).map((extension) => `.${extension}`);
  return `${names.slice(0, -1).join(', ')} or ${names.at(-1)}, each also as .gz`;
}

/**
 * Which files of a folder hold data, in the order of their names; hidden ones are left out, and beside files of rows those
 * that describe them: README, LICENSE. Throws `DATA` for a file that cannot be read, and where there are none.
 */
export function dataFilesOf(folder: string, paths: readonly string[]): readonly string[] {
  const visible = paths.filter((path) => !path.split('/').some((part) => part.startsWith('.')));
  const hasRows = visible.some((path) => Object.hasOwn(ROWS, extensionOf({ name: path })));
  const files = visible.filter((path) => !hasRows || !/(^|\/)(README|LICEN[CS]E)(\.(md|txt))?$/i.test(path));
  if (files.length === 0) {
    throw new SftError('DATA', `${folder}: expected files of rows, the folder has none`, {
      hint: `files may be ${listed()}`,
    });
  }
  for (const path of files) readerOf(`${folder}/${path}`);
  return files;
}
