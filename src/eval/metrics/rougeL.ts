/** ROUGE-L: F-measure of the longest common subsequence of words, 0 to 1, as rouge-score without a stemmer. */
import { f1 } from './counts.ts';
import { lcsLength, rougeWords } from './lcs.ts';

export function rougeL(prediction: string, reference: string): number {
  const [found, wanted] = [rougeWords(prediction), rougeWords(reference)];
  return f1(lcsLength(wanted, found), found.length, wanted.length);
}
