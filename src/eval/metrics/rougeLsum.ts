/**
 * ROUGE-Lsum: F-measure of ROUGE-L of a summary, 0 to 1, as rouge-score without a stemmer. Sentences are lines. The words of a line of
 * the reference that count are those of a longest common subsequence with any line of the prediction; no word counts more
 * often than it occurs on each side.
 */
import { countsOf, f1 } from './counts.ts';
import { lcsPositions, rougeWords } from './lcs.ts';

export function rougeLsum(prediction: string, reference: string): number {
  const [found, wanted] = [linesOf(prediction), linesOf(reference)];
  const left = [countsOf(found.flat()), countsOf(wanted.flat())];
  let hits = 0;
  for (const line of wanted) {
    const union = new Set(found.flatMap((other) => lcsPositions(line, other)));
    for (const position of union) {
      const word = line[position] as string;
      if (left.some((counts) => (counts.get(word) ?? 0) === 0)) continue;
      hits += 1;
      for (const counts of left) counts.set(word, (counts.get(word) as number) - 1);
    }
  }
  return f1(hits, found.flat().length, wanted.flat().length);
}

function linesOf(text: string): string[][] {
  return text.split('\n').map(rougeWords);
}
