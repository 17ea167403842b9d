/**
 * Parses JSON like `JSON.parse`, but refuses what it lets pass and other parsers read differently: a key twice in one
 * object, and half of a surrogate pair in a string. With `integers`, every number must be written as a plain integer
 * from 0 to 2^53 - 1: `JSON.parse` takes 1.0 for 1 and rounds larger numbers. Throws `SyntaxError`.
 */
export function parseStrictJson(text: string, options: { integers?: boolean } = {}): unknown {
  const value: unknown = JSON.parse(text);
  // From here on the text is known to be JSON, so it can be walked token by token.
  const open: (Set<string> | null)[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at]!;
    if (char === '{') open.push(new Set());
    else if (char === '[') open.push(null);
    else if (char === '}' || char === ']') open.pop();
    else if (char === '"') {
      const end = endOfString(text, at);
      const string = JSON.parse(text.slice(at, end)) as string;
      if (/\p{Surrogate}/u.test(string)) throw new SyntaxError('a string holds half of a surrogate pair');
      if (isKey(text, end)) {
        const keys = open.at(-1)!;
        if (keys.has(string)) throw new SyntaxError(`the key "${string}" occurs twice`);
        keys.add(string);
      }
      at = end - 1;
    } else if (options.integers && (char === '-' || (char >= '0' && char <= '9'))) {
      const number = /[-+.\deE]*/y;
      number.lastIndex = at;
      const digits = number.exec(text)![0];
      if (!/^\d+$/.test(digits) || !Number.isSafeInteger(Number(digits))) {
        throw new SyntaxError(`expected an integer from 0 to 2^53 - 1, got ${digits}`);
      }
      at += digits.length - 1;
    }
  }
  return value;
}

/** The index after the closing quote of the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  let end = start + 1;
  while (text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
  return end + 1;
}

function isKey(text: string, from: number): boolean {
  let at = from;
  while (' \t\n\r'.includes(text[at] ?? '.')) at += 1;
  return text[at] === ':';
}
