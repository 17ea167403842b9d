/**
 * CSV and TSV (RFC 4180), streamed. The first row names the columns; every other row becomes an object of strings.
 *
 * Cells in double quotes may hold the delimiter, line ends and quotes, which are doubled; a quote inside of a cell that
 * does not begin with one is a letter. Blank lines count but carry nothing. A `.csv` whose header has no comma may use
 * semicolons or tabs, as spreadsheets write them in countries with a decimal comma.
 */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';
import { extensionOf, notUtf8 } from './bytes.ts';
import { attempt, type DataRecord, type OnProblem } from './jsonl.ts';
import { MAX_ROW_BYTES, readTextBlocks, refuseNullByte, rowTooLong } from './lines.ts';

const [LF, CR, QUOTE] = [0x0a, 0x0d, 0x22];

/** Yields the rows of a `.csv` or `.tsv` source in file order. Throws `DATA` with `file:line`. */
export async function* readCsv(source: ReadableSource, onProblem?: OnProblem): AsyncGenerator<DataRecord> {
  const parser = new Parser(source, onProblem);
  for await (const texts of readTextBlocks(source, () => parser.line)) {
    for (const text of texts) for (const record of parser.add(text)) yield record;
  }
  parser.end();
}

interface Header {
  readonly columns: readonly string[];
  /** A row of empty cells: a copy that is filled is made faster than an object that grows. */
  readonly blank: Readonly<Record<string, string>>;
}

/** A row whose end has not been seen. */
interface OpenRow {
  readonly line: number;
  readonly cells: string[];
  /** The text so far of a quoted cell that goes on in the next block. */
  quoted: string | null;
}

/** Takes the lines of a file in blocks, and gives the rows that end in them. */
class Parser {
  /** Of what comes next, from 1. */
  line = 1;
  readonly #source: ReadableSource;
  readonly #onProblem: OnProblem;
  #delimiter: string;
  #header: Header | null = null;
  #open: OpenRow | null = null;
  /** The block, where it is read, and the first delimiter from there on (its end, where there is none). */
  #text = '';
  #at = 0;
  #nextDelimiter = 0;

  constructor(source: ReadableSource, onProblem: OnProblem) {
    this.#source = source;
    this.#onProblem = onProblem;
    this.#delimiter = extensionOf(source) === 'csv' ? '' : '\t';
  }

  /** `text`: lines without the last line end; null for a line that is not UTF-8. */
  *add(text: string | null): Generator<DataRecord> {
    const parts = text?.includes('\0') ? text.split('\n') : [text];
    for (const part of parts) {
      if (part === null || part.includes('\0')) {
        this.#refuse(part);
        continue;
      }
      [this.#text, this.#at, this.#nextDelimiter] = [part, 0, -1];
      while (this.#at <= part.length) {
        if (this.#open === null && this.#passBlankLine()) continue;
        const record = this.#tell(() => this.#readRow());
        if (record) yield record;
      }
    }
  }

  end(): void {
    if (this.#open === null) return;
    const where = `${this.#source.name}:${this.#open.line}`;
    throw new SftError('DATA', `${where}: expected a quote that closes the cell, got the end of the file`, {
      hint: 'a quote inside of a quoted cell is written twice',
    });
  }

  /** A row with a line that cannot be read is passed over. */
  #refuse(text: string | null): void {
    this.#open = null;
    this.#tell(() => {
      if (text === null) throw notUtf8(`${this.#source.name}:${this.line}`);
      refuseNullByte(text, this.#source, this.line);
    });
    this.line += 1;
  }

  /** A header that is wrong is no matter of one row. */
  #tell<T>(make: () => T): T | null {
    return attempt(make, this.#header ? this.#onProblem : undefined);
  }

  #passBlankLine(): boolean {
    if (this.#text.charCodeAt(this.#at) > 0x20) return false;
    const end = this.#lineEnd();
    if (this.#text.slice(this.#at, end).trim() !== '') return false;
    this.#passLine();
    return true;
  }

  #lineEnd(): number {
    const end = this.#text.indexOf('\n', this.#at);
    return end === -1 ? this.#text.length : end;
  }

  #passLine(): void {
    this.#at = this.#lineEnd() + 1;
    this.line += 1;
  }

  /** The row that ends in this block; null for the header and for a row that goes on. */
  #readRow(): DataRecord | null {
    this.#delimiter ||= delimiterOf(this.#text.slice(this.#at, this.#lineEnd()));
    const row = this.#open ?? { line: this.line, cells: [], quoted: null };
    // Whatever is wrong with a row, the next one is not part of it.
    this.#open = null;
    if (!this.#readCells(row)) {
      this.#open = row;
      return null;
    }
    if (this.#header !== null) return toRecord(row, this.#header, this.#source);
    this.#header = checkHeader(row, this.#source);
    return null;
  }

  /** Reads to the end of the row, or of the block: then false. */
  #readCells(row: OpenRow): boolean {
    const text = this.#text;
    for (;;) {
      if (row.quoted === null && text.charCodeAt(this.#at) === QUOTE) {
        row.quoted = '';
        this.#at += 1;
      }
      if (row.quoted === null) this.#readCell(row);
      else if (!this.#readQuoted(row)) return false;
      const ended = this.#at >= text.length || text.charCodeAt(this.#at) === LF;
      this.#at += 1;
      if (!ended) continue;
      this.line += 1;
      return true;
    }
  }

  #readCell({ cells }: OpenRow): void {
    const [text, start] = [this.#text, this.#at];
    if (this.#nextDelimiter < start) {
      const found = text.indexOf(this.#delimiter, start);
      this.#nextDelimiter = found === -1 ? text.length : found;
    }
    const end = this.#lineEnd();
    this.#at = Math.min(this.#nextDelimiter, end);
    const hasReturn = this.#at === end && end > start && text.charCodeAt(end - 1) === CR;
    cells.push(text.slice(start, hasReturn ? end - 1 : this.#at));
  }

  /** Reads what is left of a quoted cell; false where it goes on in the next block. */
  #readQuoted(row: OpenRow): boolean {
    const [text, start] = [this.#text, this.#at];
    const close = closingQuote(text, start);
    const part = text.slice(start, close === -1 ? text.length : close);
    this.line += lineEnds(part);
    if (close === -1) {
      row.quoted += `${part}\n`;
      this.#at = text.length + 1;
      this.line += 1;
      if (row.quoted!.length > MAX_ROW_BYTES) throw rowTooLong(this.#source, row.line);
      return false;
    }
    const whole = row.quoted + part;
    row.cells.push(whole.includes('"') ? whole.replaceAll('""', '"') : whole);
    row.quoted = null;
    this.#at = close + 1;
    if (text.charCodeAt(this.#at) === CR && this.#at + 1 === this.#lineEnd()) this.#at += 1;
    if (this.#at < text.length && text[this.#at] !== this.#delimiter && text.charCodeAt(this.#at) !== LF) {
      throw this.#afterQuote();
    }
    return true;
  }

  #afterQuote(): SftError {
    const expected = this.#delimiter === '\t' ? 'a tab' : `"${this.#delimiter}"`;
    const got = JSON.stringify(this.#text.slice(this.#at, Math.min(this.#at + 20, this.#lineEnd())));
    const where = `${this.#source.name}:${this.line}`;
    this.#passLine();
    return new SftError('DATA', `${where}: expected ${expected} after the quote that closes a cell, got ${got}`, {
      hint: 'a quote inside of a quoted cell is written twice',
    });
  }
}

function delimiterOf(header: string): string {
  return [',', ';', '\t'].find((mark) => header.includes(mark)) ?? ',';
}

function lineEnds(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) count += 1;
  return count;
}

/** Where a quote stands that is not doubled, or -1. */
function closingQuote(text: string, from: number): number {
  let at = text.indexOf('"', from);
  while (at !== -1 && text[at + 1] === '"') at = text.indexOf('"', at + 2);
  return at;
}

function checkHeader({ cells, line }: OpenRow, source: ReadableSource): Header {
  const names = cells.map((name) => name.trim());
  const wrong = names.findIndex((name, i) => name === '' || names.indexOf(name) !== i);
  if (wrong === -1) return { columns: names, blank: Object.fromEntries(names.map((column) => [column, ''])) };
  const got = names[wrong] === '' ? `no name for column ${wrong + 1}` : `"${names[wrong]}" twice`;
  throw new SftError('DATA', `${source.name}:${line}: expected the names of the columns, got ${got}`, {
    hint: 'the first row names the columns, each once',
  });
}

function toRecord({ cells, line }: OpenRow, { columns, blank }: Header, { name }: ReadableSource): DataRecord {
  if (cells.length === columns.length) {
    const value = { ...blank };
    for (let i = 0; i < columns.length; i++) value[columns[i]!] = cells[i]!;
    return { value, line };
  }
  throw new SftError('DATA', `${name}:${line}: expected ${columns.length} cells, got ${cells.length}`, {
    hint: 'put a cell that holds the delimiter, a quote or a line end into double quotes',
  });
}
