/**
 * Where each token lies in the text: [start, end) in UTF-16 units, which the tokenizer library does not tell.
 *
 * Every token stands for bytes: those of its letters (with ▁ for a space), those that the byte table of GPT-2 gives for
 * them, or the one that it names (`<0x0A>`). Walking the tokens along the UTF-8 bytes of the text, section by section
 * between added tokens, gives their places, and proves them: a byte that does not agree is an error, never a guess.
 * A token that holds part of a character gets that whole character, and so does a space that the tokenizer puts before
 * it; white space that a tokenizer drops belongs to no token.
 */

import { SftError } from '../platform/errors.ts';
import type { Span } from './labels.ts';

/** What a tokenizer does to a text before it cuts it, as far as it matters for places. */
export interface AlignmentRules {
  /** Added tokens that are cut out of the raw text, before normalisation. */
  readonly cutTokens: readonly CutToken[];
  /** Normalisers, in order. */
  readonly normalizers: readonly ((text: string) => string)[];
  /** Whether ordinary tokens are spelt with GPT-2's byte table; else ▁ stands for a space. */
  readonly byteLevel: boolean;
  /** All added tokens, which are spelt as they are. */
  readonly addedTokens: ReadonlySet<string>;
  /** Stands for a character that the vocabulary lacks. */
  readonly unknownToken: string | undefined;
}

/** `lstrip` and `rstrip` say that the token swallows white space on that side. */
export interface CutToken {
  readonly content: string;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

interface Section {
  readonly start: number;
  readonly end: number;
  readonly token: CutToken | null;
}

/** Finds the places of tokens in texts. */
export class Aligner {
  readonly #rules: AlignmentRules;
  readonly #cut: ReadonlyMap<string, CutToken>;
  readonly #pattern: RegExp | null;
  readonly #bytes = new Map<string, Uint8Array>();

  constructor(rules: AlignmentRules) {
    this.#rules = rules;
    this.#cut = new Map(rules.cutTokens.map((token) => [token.content, token]));
    // Leftmost, then longest: as the tokenizer's own trie does.
    const longestFirst = [...this.#cut.keys()].toSorted((a, b) => b.length - a.length).map(escapeRegExp);
    this.#pattern = longestFirst.length === 0 ? null : new RegExp(longestFirst.join('|'), 'g');
  }

  /** `tokens` are all tokens of `text`, without special ones around it. Throws `MODEL` when they do not spell it. */
  align(text: string, tokens: readonly string[]): Span[] {
    const offsets: Span[] = [];
    for (const section of this.sections(text)) {
      if (section.token === null) this.#alignSection(text, section, tokens, offsets);
      else if (tokens[offsets.length] === section.token.content) offsets.push([section.start, section.end]);
      else throw misaligned(text, section.start, tokens[offsets.length]);
    }
    if (offsets.length < tokens.length) throw misaligned(text, text.length, tokens[offsets.length]);
    return offsets;
  }

  /** Cuts a text at added tokens; a token's section holds the white space that it swallows. */
  sections(text: string): Section[] {
    const sections: Section[] = [];
    let position = 0;
    const plain = (end: number): void => {
      if (end > position) sections.push({ start: position, end, token: null });
      position = Math.max(position, end);
    };
    for (const match of this.#pattern === null ? [] : text.matchAll(this.#pattern)) {
      const token = this.#cut.get(match[0])!;
      const start = token.lstrip ? position + text.slice(position, match.index).trimEnd().length : match.index;
      plain(start);
      const end = match.index + match[0].length;
      position = token.rstrip ? text.length - text.slice(end).trimStart().length : end;
      sections.push({ start, end: position, token });
    }
    plain(text.length);
    return sections;
  }

  #alignSection(text: string, { start, end }: Section, tokens: readonly string[], offsets: Span[]): void {
    const { normalizers, byteLevel } = this.#rules;
    const section = normalizers.reduce(normalizeWithPlaces, { text: text.slice(start, end), starts: null, ends: null });
    const spelling = bytesWithPlaces(byteLevel ? section.text : section.text.replaceAll('▁', ' '));
    const place = (unit: number, places: Uint32Array | null, shift: number): number =>
      start + (places === null ? unit + shift : places[unit]!);
    const spanOf = (from: number, to: number): Span => {
      // A space of the tokenizer's own counts to the character that it stands before.
      const last = Math.max(from, to - 1);
      return [place(spelling.starts[from]!, section.starts, 0), place(spelling.ends[last]! - 1, section.ends, 1)];
    };

    let cursor = 0;
    const end8 = spelling.bytes.length;
    while (cursor < end8) {
      const token = tokens[offsets.length];
      const after = token === undefined ? null : this.#consume(token, tokens[offsets.length + 1], spelling, cursor);
      if (after !== null) {
        offsets.push(spanOf(cursor, after));
        cursor = after;
      } else if (isSpace(section.text, spelling.starts[cursor]!)) {
        cursor += 1;
        while (cursor < end8 && spelling.starts[cursor] === spelling.starts[cursor - 1]) cursor += 1;
      } else {
        throw misaligned(text, spanOf(cursor, cursor)[0], token);
      }
    }
  }

  /** The byte after `token` when it is spelt at `cursor`, else null. */
  #consume(token: string, next: string | undefined, { bytes, starts }: Spelling, cursor: number): number | null {
    if (token === this.#rules.unknownToken) return this.#consumeUnknown(next, bytes, starts, cursor);
    const spelt = this.#bytesOf(token);
    if (matches(bytes, cursor, spelt, 0)) return cursor + spelt.length;
    // A space that the tokenizer puts before a section.
    if (spelt[0] === 0x20 && matches(bytes, cursor, spelt, 1)) return cursor + spelt.length - 1;
    return null;
  }

  /** An unknown token stands for at least one character, and for more until the next token is spelt. */
  #consumeUnknown(next: string | undefined, bytes: Uint8Array, starts: Uint32Array, cursor: number): number {
    const spelt = next === undefined || next === this.#rules.unknownToken ? new Uint8Array(0) : this.#bytesOf(next);
    let after = cursor + 1;
    while (after < bytes.length && (starts[after] === starts[after - 1] || !matches(bytes, after, spelt, 0)))
      after += 1;
    return after;
  }

  #bytesOf(token: string): Uint8Array {
    let bytes = this.#bytes.get(token);
    if (bytes === undefined) {
      bytes = this.#spell(token);
      this.#bytes.set(token, bytes);
    }
    return bytes;
  }

  #spell(token: string): Uint8Array {
    const { byteLevel, addedTokens } = this.#rules;
    if (byteLevel) return addedTokens.has(token) ? encoder.encode(token) : byteLevelBytes(token);
    const named = /^<0x([0-9A-F]{2})>$/.exec(token);
    return named === null ? encoder.encode(token.replaceAll('▁', ' ')) : Uint8Array.of(Number.parseInt(named[1]!, 16));
  }
}

const encoder = new TextEncoder();

function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}

function matches(bytes: Uint8Array, cursor: number, spelt: Uint8Array, from: number): boolean {
  if (cursor + spelt.length - from > bytes.length) return false;
  for (let i = from; i < spelt.length; i++) if (bytes[cursor + i - from] !== spelt[i]) return false;
  return true;
}

function isSpace(text: string, unit: number): boolean {
  return /[\s▁]/.test(text[unit] ?? '');
}

function misaligned(text: string, position: number, token: string | undefined): SftError {
  const near = JSON.stringify(text.slice(Math.max(0, position - 10), position + 20));
  const got = token === undefined ? 'no more tokens' : `the token ${JSON.stringify(token)}`;
  return new SftError(
    'MODEL',
    `tokenizer: expected tokens that spell the text at character ${position} (${near}), got ${got}`,
    {
      hint: 'this tokenizer changes texts in a way that cannot be followed; data.train_on: all works with it',
    },
  );
}

/** A text whose UTF-16 unit i came from [starts[i], ends[i]) of another; null stands for "the same place". */
interface Placed {
  readonly text: string;
  readonly starts: Uint32Array | null;
  readonly ends: Uint32Array | null;
}

/**
 * Applies one normaliser and follows each unit. A normaliser adds text in front (Prepend), works piece by piece (on
 * runs of white space and on characters with their marks, else on whole words), or cuts the ends (Strip).
 */
function normalizeWithPlaces(placed: Placed, normalize: (text: string) => string): Placed {
  const before = placed.text;
  const after = normalize(before);
  if (after === before) return placed;
  if (after === before.replaceAll(' ', '▁')) return { ...placed, text: after };
  const pieces = piecesOf(before, after, normalize);
  const starts = new Uint32Array(after.length);
  const ends = new Uint32Array(after.length);
  const placeOf = (unit: number, places: Uint32Array | null, shift: number): number =>
    places === null ? unit + shift : (places[unit] ?? 0);
  let unit = 0;
  for (const [from, to, length] of pieces) {
    for (let i = 0; i < length; i++, unit++) {
      const single = length === to - from;
      starts[unit] = placeOf(single ? from + i : from, placed.starts, 0);
      ends[unit] = placeOf(single ? from + i : Math.max(from, to - 1), placed.ends, 1);
    }
  }
  return { text: after, starts, ends };
}

/** A character with its marks, or a Hangul syllable in parts: what normal forms compose. */
const CHARACTER = /\S[\p{M}\u1160-\u11ff\ud7b0-\ud7ff]*/gu;

/** [from, to) of the text before, and how many units it became. */
type Piece = readonly [from: number, to: number, length: number];

function piecesOf(before: string, after: string, normalize: (text: string) => string): Piece[] {
  const first = String.fromCodePoint(before.codePointAt(0) ?? 0x20).length;
  if (after.endsWith(before))
    return [
      [0, first, after.length - before.length],
      [0, before.length, before.length],
    ];
  const pieces = cutAt(/\s+|\S+/gu, before, 0, normalize).flatMap((word) => {
    const characters = cutAt(CHARACTER, word.text, word.at, normalize);
    return characters.map(({ became }) => became).join('') === word.became ? characters : [word];
  });
  if (pieces.map(({ became }) => became).join('') === after) {
    return pieces.map(({ text, at, became }) => [at, at + text.length, became.length]);
  }
  const cut = before.indexOf(after);
  if (cut === -1) throw misaligned(before, 0, after.slice(0, 30));
  return [[cut, cut + after.length, after.length]];
}

function cutAt(pattern: RegExp, text: string, shift: number, normalize: (text: string) => string) {
  return [...text.matchAll(pattern)].map(({ 0: piece, index }) => ({
    text: piece,
    at: shift + index,
    became: normalize(piece),
  }));
}

/** UTF-8 bytes, each with the [start, end) UTF-16 units of the character that it belongs to. */
interface Spelling {
  readonly bytes: Uint8Array;
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
}

function bytesWithPlaces(text: string): Spelling {
  const bytes = encoder.encode(text);
  const starts = new Uint32Array(bytes.length);
  const ends = new Uint32Array(bytes.length);
  let unit = 0;
  let byte = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    const length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    starts.fill(unit, byte, byte + length);
    ends.fill(unit + character.length, byte, byte + length);
    unit += character.length;
    byte += length;
  }
  return { bytes, starts, ends };
}

/**
 * GPT-2's table from byte to letter: printable Latin-1 bytes are themselves, the others take the code points from 256
 * on, in order. Source: Radford et al. 2019, `bytes_to_unicode` of the released encoder.
 */
const BYTE_OF_LETTER: ReadonlyMap<string, number> = (() => {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  const table = new Map<string, number>();
  let other = 256;
  for (let byte = 0; byte < 256; byte++) table.set(String.fromCharCode(printable(byte) ? byte : other++), byte);
  return table;
})();

/** The letter that stands for each byte in byte-level vocabularies. */
export const LETTER_OF_BYTE: readonly string[] = [...BYTE_OF_LETTER.entries()]
  .toSorted((a, b) => a[1] - b[1])
  .map(([letter]) => letter);

function byteLevelBytes(token: string): Uint8Array {
  const bytes = Array.from(token, (letter) => BYTE_OF_LETTER.get(letter));
  return bytes.includes(undefined) ? encoder.encode(token) : Uint8Array.from(bytes as number[]);
}
