/** From the spelling of a vocabulary to text: byte-level vocabularies write bytes as letters, others write spaces as `▁`. */

/** The letters of GPT-2's byte-level vocabulary: printable bytes are themselves, the others are counted from U+0100. */
function byteLetters(): Map<string, number> {
  const letters = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    letters.set(String.fromCodePoint(printable ? byte : next), byte);
    if (!printable) next += 1;
  }
  return letters;
}

const BYTES = byteLetters();
const decoder = new TextDecoder();
/** Special tokens such as `<|user|>` or `</s>` are written as they are. */
const SPECIAL = /^<[^<>\s]+>$/;

/** The text of each token of a row; where a token holds a part of a character only, that is the replacement character. */
export function spellTokens(tokens: readonly string[]): string[] {
  // A space is the most common character of all: one of the two spellings of it is there.
  const isByteLevel = tokens.some((token) => !SPECIAL.test(token) && /[ĠĊ]/.test(token));
  return tokens.map((token) => {
    if (SPECIAL.test(token)) return token;
    if (isByteLevel && [...token].every((letter) => BYTES.has(letter))) {
      return decoder.decode(Uint8Array.from([...token], (letter) => BYTES.get(letter) ?? 0));
    }
    return token.replaceAll('▁', ' ');
  });
}
