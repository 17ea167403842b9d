/**
 * Edits that turn `a` into `b`: insert, delete, replace, or swap two neighbours (Damerau-Levenshtein in its
 * optimal-string-alignment form: no part of the text is edited twice).
 */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let best = Math.min(previous[column]! + 1, current[column - 1]! + 1, previous[column - 1]! + (same ? 0 : 1));
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) best = Math.min(best, beforePrevious[column - 2]! + 1);
      current.push(best);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[b.length]!;
}

/**
 * The known name that was probably meant by `word`, or undefined when none is near.
 *
 * Near is: at most one edit for every three characters of the word; else a known name that is a whole `_`- or
 * `-`-separated part of it (`lora_alpha` → `alpha`), the longest first.
 */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const names = [...known];
  const lower = word.toLowerCase();
  const limit = Math.floor(word.length / 3);
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const name of names) {
    const distance = editDistance(lower, name.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [name, distance];
  }
  if (best !== undefined) return best;
  const separated = (text: string): string => `_${text.replaceAll('-', '_')}_`;
  return names.filter((name) => separated(lower).includes(separated(name))).sort((a, b) => b.length - a.length)[0];
}
