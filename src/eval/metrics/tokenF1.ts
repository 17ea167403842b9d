/**
 * F1 of the words of an answer, 0 to 1, as the evaluation script of SQuAD 2.0: lower case, without the punctuation of ASCII and without
 * articles; words count as often as they occur. Where either side has no words, 1 if neither has, else 0.
 */
import { countsOf, f1 } from './counts.ts';
import { splitSpaces, wholeWords } from './pythonText.ts';

const PUNCTUATION = /[!-/:-@[-`{-~]/g;
const ARTICLES = wholeWords('a|an|the');

export function tokenF1(prediction: string, reference: string): number {
  const [found, wanted] = [wordsOf(prediction), wordsOf(reference)];
  if (found.length === 0 || wanted.length === 0) return found.length === wanted.length ? 1 : 0;
  const counts = countsOf(wanted);
  let common = 0;
  for (const [word, count] of countsOf(found)) common += Math.min(count, counts.get(word) ?? 0);
  return f1(common, found.length, wanted.length);
}

function wordsOf(text: string): string[] {
  return splitSpaces(text.toLowerCase().replace(PUNCTUATION, '').replace(ARTICLES, ' '));
}
