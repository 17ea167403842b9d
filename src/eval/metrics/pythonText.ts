/**
 * What Python calls white space, and what its `\b` calls a word. JavaScript differs: its `\s` knows the byte order mark and not
 * the separators of ASCII, its `\b` knows only the letters of ASCII.
 */

const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const SPACES = new RegExp(`[${SPACE}]+`, 'u');
const AROUND = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, 'gu');

/** As `str.strip()`. */
export function strip(text: string): string {
  return text.replace(AROUND, '');
}

/** As `str.split()`. */
export function splitSpaces(text: string): string[] {
  return text.split(SPACES).filter((part) => part !== '');
}

/** A pattern for `words`, such as `a|an|the`, between two of Python's `\b`. */
export function wholeWords(words: string): RegExp {
  const word = '[\\p{L}\\p{N}_]';
  return new RegExp(`(?<!${word})(?:${words})(?!${word})`, 'gu');
}
