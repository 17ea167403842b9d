/**
 * `.json` files: one array of rows, streamed element by element; one object that holds the rows as a list under "data",
 * "rows" or "train"; one object that is a row; or JSON Lines under another name. Everything that is wrong is said with
 * the line on which the element begins.
 */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';
import { concatenate, decodeUtf8, notUtf8, readBlocks, readWholeBytes, withoutMark } from './bytes.ts';
import { attempt, type DataRecord, invalidJson, type OnProblem, parseJson, readJsonLines } from './jsonl.ts';
import { MAX_ROW_BYTES, rowTooLong } from './lines.ts';

/** What an object may call its list of rows. */
const LISTS = ['data', 'rows', 'train'];

const [LF, QUOTE, COMMA, BACKSLASH] = [0x0a, 0x22, 0x2c, 0x5c];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Yields the rows of a `.json` source in file order. Throws `DATA` with `file:line`. */
export async function* readJson(source: ReadableSource, onProblem?: OnProblem): AsyncGenerator<DataRecord> {
  const first = await firstLine(source);
  if (first.text.startsWith('[')) yield* readArray(source, onProblem);
  else if (first.text.endsWith('}') && !first.alone) yield* readJsonLines(source, onProblem);
  else if (first.text !== '') yield* readObject(source, onProblem);
}

/** The first line that is not blank, as far as the first block holds it, and whether nothing follows it there. */
async function firstLine(source: ReadableSource): Promise<{ text: string; alone: boolean }> {
  for await (const block of readBlocks(source)) {
    const [text = '', ...rest] = new TextDecoder().decode(withoutMark(block, source)).trim().split('\n', 2);
    return { text: text.trim(), alone: rest.length === 0 };
  }
  return { text: '', alone: true };
}

interface Element {
  readonly bytes: Uint8Array;
  readonly line: number;
}

async function* readArray(source: ReadableSource, onProblem: OnProblem): AsyncGenerator<DataRecord> {
  const splitter = new Splitter(source);
  let first = true;
  for await (const block of readBlocks(source)) {
    for (const element of splitter.split(first ? withoutMark(block, source) : block)) {
      const record = attempt(() => toRecord(element, source), onProblem);
      if (record) yield record;
    }
    first = false;
  }
  splitter.end();
}

function toRecord({ bytes, line }: Element, source: ReadableSource): DataRecord {
  const text = decodeUtf8(bytes);
  if (text === null) throw notUtf8(`${source.name}:${line}`);
  return { value: parseJson(text, source, line), line };
}

async function* readObject(source: ReadableSource, onProblem: OnProblem): AsyncGenerator<DataRecord> {
  const bytes = withoutMark(await readWholeBytes(source), source);
  const members = [...splitWhole(bytes, source, 1)].map((member) => toMember(member, source));
  const begin = 1 + countLines(bytes.subarray(0, bytes.indexOf(OPEN_OBJECT)));
  const lists = members.filter(({ name, bytes: value }) => LISTS.includes(name) && value[0] === OPEN_LIST);
  const [list] = lists;
  if (list === undefined) {
    yield toRecord({ bytes, line: begin }, source);
    return;
  }
  if (lists.length > 1) {
    const names = lists.map(({ name }) => `"${name}"`).join(' and ');
    throw new SftError('DATA', `${source.name}:${begin}: expected one list of rows, got lists under ${names}`, {
      hint: 'write each list into a file of its own',
    });
  }
  for (const element of splitWhole(list.bytes, source, list.line)) {
    const record = attempt(() => toRecord(element, source), onProblem);
    if (record) yield record;
  }
}

/** A member of an object as it is written: its name, and the bytes of its value. */
function toMember({ bytes, line }: Element, source: ReadableSource): Element & { name: string } {
  let end = 1;
  while (end < bytes.length && bytes[end] !== QUOTE) end += bytes[end] === BACKSLASH ? 2 : 1;
  const name = parseJson(decodeUtf8(bytes.subarray(0, end + 1)) ?? '', source, line);
  let start = bytes.indexOf(0x3a, end) + 1;
  if (typeof name !== 'string' || start === 0) throw invalidJson(source, line, 'a member without a name');
  while (isSpace(bytes[start])) start += 1;
  return { name, bytes: bytes.subarray(start), line: line + countLines(bytes.subarray(0, start)) };
}

function* splitWhole(bytes: Uint8Array, source: ReadableSource, line: number): Generator<Element> {
  const splitter = new Splitter(source, line);
  yield* splitter.split(bytes);
  splitter.end();
}

function countLines(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(LF); at !== -1; at = bytes.indexOf(LF, at + 1)) count += 1;
  return count;
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === LF || byte === 0x0d || byte === 0x09;
}

/**
 * Cuts the text of a list or an object, which may come in pieces, into its elements or members as they are written. It
 * looks only at brackets, quotes and commas; whether an element is JSON is for the parser to say.
 */
class Splitter {
  readonly #source: ReadableSource;
  #line: number;
  #depth = 0;
  #inString = false;
  /** The last byte was a backslash in a string. */
  #escaped = false;
  #state: 'before' | 'inside' | 'closed' = 'before';
  /** The bracket that ends the whole. */
  #closer = 0;
  /** A comma was the last thing seen at the top. */
  #afterComma = false;
  /** The line on which the element began, or 0 between elements. */
  #begin = 0;
  /** The parts of the element that earlier pieces hold. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;

  constructor(source: ReadableSource, line = 1) {
    this.#source = source;
    this.#line = line;
  }

  *split(piece: Uint8Array): Generator<Element> {
    let start = 0;
    for (let i = 0; i < piece.length; i++) {
      const byte = piece[i]!;
      if (this.#inString) {
        i = this.#stringEnd(piece, i);
        continue;
      }
      if (byte === LF) this.#line += 1;
      if (isSpace(byte)) continue;
      if (this.#state === 'closed') throw invalidJson(this.#source, this.#line, 'text after the end');
      const closes = byte === CLOSE_LIST || byte === CLOSE_OBJECT;
      if (this.#depth === 1 && (byte === COMMA || closes)) {
        if (this.#begin !== 0) yield this.#take(piece.subarray(start, i));
        else if (byte === COMMA || this.#afterComma) {
          throw invalidJson(this.#source, this.#line, 'a comma with nothing on one side of it');
        }
        this.#afterComma = byte === COMMA;
        if (closes && byte !== this.#closer) throw invalidJson(this.#source, this.#line, 'the wrong closing bracket');
        if (closes) this.#state = 'closed';
      } else if (this.#depth === 1 && this.#begin === 0) {
        this.#begin = this.#line;
        start = i;
      }
      if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
        // The two brackets of a pair are two apart.
        if (this.#depth === 0) this.#closer = byte + 2;
        this.#depth += 1;
        this.#state = 'inside';
      } else if (closes) this.#depth -= 1;
      if (this.#state === 'before') throw invalidJson(this.#source, this.#line, 'neither a list nor an object');
    }
    if (this.#begin === 0) return;
    this.#held.push(piece.subarray(start));
    this.#heldBytes += piece.length - start;
    if (this.#heldBytes > MAX_ROW_BYTES) throw rowTooLong(this.#source, this.#begin);
  }

  /** Goes on in a string at `i`: where the quote stands that closes it, or the end of the piece. */
  #stringEnd(piece: Uint8Array, i: number): number {
    let at = this.#escaped ? i + 1 : i;
    this.#escaped = false;
    while (at < piece.length && piece[at] !== QUOTE) at += piece[at] === BACKSLASH ? 2 : 1;
    this.#escaped = at > piece.length;
    this.#inString = at >= piece.length;
    return at;
  }

  /** Throws where the list or object is not closed. */
  end(): void {
    if (this.#state === 'closed') return;
    const reason =
      this.#begin === 0 ? 'it does not end' : `it does not end; its last element begins on line ${this.#begin}`;
    throw invalidJson(this.#source, this.#line, reason);
  }

  #take(last: Uint8Array): Element {
    const bytes = this.#held.length === 0 ? last : concatenate([...this.#held, last], this.#heldBytes + last.length);
    const line = this.#begin;
    this.#held = [];
    this.#heldBytes = 0;
    this.#begin = 0;
    return { bytes, line };
  }
}
