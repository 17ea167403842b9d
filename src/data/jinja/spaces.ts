/** Python's white space: JavaScript's `\s` has U+FEFF too, and lacks U+0085 and four control characters. */

/** For a class of a regular expression. */
export const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
/** What ends a line, for a class too. */
export const LINE_END = '\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029';

const ONE = new RegExp(`^[${SPACE}]$`);
const SPACES = new RegExp(`[${SPACE}]+`, 'g');

/** Python's `strip`, `lstrip`, `rstrip`: takes white space, or any of `characters`. */
export function strip(text: string, sides: 'both' | 'start' | 'end', characters: string | null = null): string {
  const taken = characters === null ? null : new Set(characters);
  const isTaken = (character: string): boolean => taken?.has(character) ?? ONE.test(character);
  let start = 0;
  while (sides !== 'end' && start < text.length) {
    const character = String.fromCodePoint(text.codePointAt(start)!);
    if (!isTaken(character)) break;
    start += character.length;
  }
  let end = text.length;
  while (sides !== 'start' && end > start) {
    const pair = text.codePointAt(end - 2)!;
    const character = end - 2 >= start && pair > 0xffff ? String.fromCodePoint(pair) : text[end - 1]!;
    if (!isTaken(character)) break;
    end -= character.length;
  }
  return text.slice(start, end);
}

/** The words between white space. */
export function words(text: string): string[] {
  return text.split(SPACES).filter((word) => word !== '');
}
