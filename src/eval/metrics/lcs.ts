/** Longest common subsequences of words, as rouge-score (`rouge_scorer.py`) finds them. */

/** Words of rouge-score without a stemmer: runs of a-z and 0-9, in lower case. */
export function rougeWords(text: string): string[] {
  return text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
}

/** The words of both texts by numbers, which compare faster. */
function numbered(a: readonly string[], b: readonly string[]): [Uint32Array, Uint32Array] {
  const numbers = new Map<string, number>();
  const numberOf = (word: string) => {
    const number = numbers.get(word) ?? numbers.size;
    if (number === numbers.size) numbers.set(word, number);
    return number;
  };
  return [Uint32Array.from(a, numberOf), Uint32Array.from(b, numberOf)];
}

/** The length of a longest common subsequence. Time a·b, memory a + b. */
export function lcsLength(first: readonly string[], second: readonly string[]): number {
  const [a, b] = numbered(first, second);
  const row = new Uint32Array(b.length + 1);
  for (const word of a) {
    // What stood above the entry to the left.
    let diagonal = 0;
    for (let j = 1; j <= b.length; j++) {
      const above = row[j]!;
      row[j] = word === b[j - 1] ? diagonal + 1 : Math.max(above, row[j - 1]!);
      diagonal = above;
    }
  }
  return row[b.length]!;
}

/**
 * Positions in the first text of one longest common subsequence, descending: the one that is found from the ends, leaving out words of
 * the second text only where that alone keeps the length. Time a·b, memory a bit for each pair.
 */
export function lcsPositions(first: readonly string[], second: readonly string[]): number[] {
  const [a, b] = numbered(first, second);
  const width = b.length;
  const left = new Uint8Array(Math.ceil((a.length * width) / 8));
  const row = new Uint32Array(width + 1);
  for (let i = 0; i < a.length; i++) {
    let diagonal = 0;
    for (let j = 1; j <= width; j++) {
      const above = row[j]!;
      const before = row[j - 1]!;
      if (a[i] === b[j - 1]) row[j] = diagonal + 1;
      else if (before > above) {
        row[j] = before;
        const bit = i * width + j - 1;
        left[bit >>> 3]! |= 1 << (bit & 7);
      }
      diagonal = above;
    }
  }
  const positions: number[] = [];
  for (let i = a.length, j = width; i > 0 && j > 0; ) {
    const bit = (i - 1) * width + j - 1;
    if (a[i - 1] === b[j - 1]) {
      positions.push(i - 1);
      i -= 1;
      j -= 1;
    } else if ((left[bit >>> 3]! >> (bit & 7)) & 1) j -= 1;
    else i -= 1;
  }
  return positions;
}
