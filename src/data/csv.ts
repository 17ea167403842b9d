/**
 * CSV and TSV (RFC 4180), streamed. The first row names the columns; every other row becomes an object of strings.
 *
 * Cells in double quotes may hold the delimiter, line ends and quotes, which are doubled; a quote inside of a cell that
 * does not begin with one is a letter. Blank lines count but carry nothing. A `.csv` whose header has no comma may use
 * semicolons or tabs, as spreadsheets write them in countries with a decimal comma.
 */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';
import { extensionOf } from './bytes.ts';
import { attempt, type DataRecord, type OnProblem } from './jsonl.ts';
import { MAX_ROW_BYTES, readLineBlocks, refuseNullByte, rowTooLong, textOf } from './lines.ts';

/** Yields the rows of a `.csv` or `.tsv` source in file order. Throws `DATA` with `file:line`. */
export async function* readCsv(source: ReadableSource, onProblem?: OnProblem): AsyncGenerator<DataRecord> {
  let delimiter = extensionOf(source) === 'csv' ? '' : '\t';
  let columns: readonly string[] | null = null;
  let open: OpenRow | null = null;
  for await (const lines of readLineBlocks(source)) {
    for (const line of lines) {
      // A header that is wrong is no matter of one row.
      const tell = columns ? onProblem : undefined;
      const text = attempt(() => refuseNullByte(textOf(line, source), source, line.line), tell);
      if (text === null) open = null;
      if (text === null || (open === null && text.trim() === '')) continue;
      delimiter ||= [',', ';', '\t'].find((mark) => text.includes(mark)) ?? ',';
      open ??= { line: line.line, cells: [], quoted: null, length: 0 };
      const row: OpenRow = open;
      const closed = attempt(() => addLine(row, text, delimiter, source, line.line), tell);
      if (closed === false) continue;
      open = null;
      if (closed === null) continue;
      if (columns === null) {
        columns = checkHeader(row, source);
        continue;
      }
      const names: readonly string[] = columns;
      const record = attempt(() => toRecord(row, names, source), tell);
      if (record) yield record;
    }
  }
  if (open !== null) throw notClosed(source, open.line);
}

function notClosed({ name }: ReadableSource, line: number): SftError {
  return new SftError('DATA', `${name}:${line}: expected a quote that closes the cell, got the end of the file`, {
    hint: 'a quote inside of a quoted cell is written twice',
  });
}

/** A row whose end has not been seen. */
interface OpenRow {
  readonly line: number;
  readonly cells: string[];
  /** The text so far of a quoted cell that goes on in the next line. */
  quoted: string | null;
  /** Characters. */
  length: number;
}

/** Adds a line to a row; true when the row ends there. */
function addLine(row: OpenRow, text: string, delimiter: string, source: ReadableSource, line: number): boolean {
  row.length += text.length;
  if (row.length > MAX_ROW_BYTES) throw rowTooLong(source, row.line);
  const end = text.endsWith('\r') ? text.length - 1 : text.length;
  let at = 0;
  for (;;) {
    if (row.quoted === null && text[at] === '"') {
      row.quoted = '';
      at += 1;
    }
    if (row.quoted !== null) {
      const close = closingQuote(text, at);
      if (close === -1) {
        row.quoted += `${text.slice(at)}\n`;
        return false;
      }
      row.cells.push((row.quoted + text.slice(at, close)).replaceAll('""', '"'));
      row.quoted = null;
      at = close + 1;
      if (at < end && text[at] !== delimiter) {
        const name = delimiter === '\t' ? 'a tab' : `"${delimiter}"`;
        const got = JSON.stringify(text.slice(at, at + 20));
        throw new SftError(
          'DATA',
          `${source.name}:${line}: expected ${name} after the quote that closes a cell, got ${got}`,
          {
            hint: 'a quote inside of a quoted cell is written twice',
          },
        );
      }
    } else {
      const found = text.indexOf(delimiter, at);
      const stop = found === -1 ? end : found;
      row.cells.push(text.slice(at, stop));
      at = stop;
    }
    if (at >= end) return true;
    at += 1;
  }
}

/** Where a quote stands that is not doubled, or -1. */
function closingQuote(text: string, from: number): number {
  let at = text.indexOf('"', from);
  while (at !== -1 && text[at + 1] === '"') at = text.indexOf('"', at + 2);
  return at;
}

function checkHeader({ cells, line }: OpenRow, source: ReadableSource): readonly string[] {
  const names = cells.map((name) => name.trim());
  const wrong = names.findIndex((name, i) => name === '' || names.indexOf(name) !== i);
  if (wrong === -1) return names;
  const got = names[wrong] === '' ? `no name for column ${wrong + 1}` : `"${names[wrong]}" twice`;
  throw new SftError('DATA', `${source.name}:${line}: expected the names of the columns, got ${got}`, {
    hint: 'the first row names the columns, each once',
  });
}

function toRecord({ cells, line }: OpenRow, columns: readonly string[], { name }: ReadableSource): DataRecord {
  if (cells.length === columns.length) {
    return { value: Object.fromEntries(columns.map((column, i) => [column, cells[i]])), line };
  }
  throw new SftError('DATA', `${name}:${line}: expected ${columns.length} cells, got ${cells.length}`, {
    hint: 'put a cell that holds the delimiter, a quote or a line end into double quotes',
  });
}
