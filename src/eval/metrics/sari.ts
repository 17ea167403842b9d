/**
 * SARI of a corpus, 0 to 100: how well predictions add, keep and delete words of their sources, by one reference each.
 *
 * As EASSE computes it by default: lower case, 13a tokens on all three sides, n-grams of 1 to 4 tokens counted over the whole corpus,
 * F1 of each operation and n (deletion too), their mean over n and then over the operations. Additions count once for each
 * n-gram, what is kept and deleted as often as it occurs. Source: Xu et al. 2016; Alva-Manchego et al. 2019, arXiv:1908.04567.
 */
import { countsOf, f1, mean } from './counts.ts';
import type { Example } from './example.ts';
import { tokenize13a } from './tokenize13a.ts';

/** n-grams have up to so many tokens. */
const ORDERS = 4;

/** n-grams that the predictions have, that the references have, and that both have. */
class Operation {
  found = 0;
  wanted = 0;
  correct = 0;

  count(found: number, wanted: number, correct: number): void {
    this.found += found;
    this.wanted += wanted;
    this.correct += correct;
  }

  get f1(): number {
    return f1(this.correct, this.found, this.wanted);
  }
}

export function sari(examples: readonly Example[]): number {
  const operations = Array.from({ length: ORDERS }, () => ({
    add: new Operation(),
    keep: new Operation(),
    delete: new Operation(),
  }));
  for (const { source, prediction, reference } of examples) {
    const tokens = [source, prediction, reference].map((text) => tokenize13a(text.toLowerCase()));
    for (const [index, { add, keep, delete: remove }] of operations.entries()) {
      const [before, found, wanted] = tokens.map((side) => countsOf(ngrams(side, index + 1)));
      for (const ngram of new Set([before, found, wanted].flatMap((counts) => [...(counts?.keys() ?? [])]))) {
        const [b = 0, f = 0, w = 0] = [before, found, wanted].map((counts) => counts?.get(ngram));
        if (b === 0) add.count(Math.min(1, f), Math.min(1, w), Math.min(1, f, w));
        keep.count(Math.min(b, f), Math.min(b, w), Math.min(b, f, w));
        remove.count(Math.max(0, b - f), Math.max(0, b - w), Math.max(0, b - Math.max(f, w)));
      }
    }
  }
  const scores = (['add', 'keep', 'delete'] as const).map((name) =>
    mean(operations.map((operation) => operation[name].f1)),
  );
  return 100 * mean(scores);
}

function* ngrams(tokens: readonly string[], n: number): Generator<string> {
  for (let start = 0; start + n <= tokens.length; start++) yield tokens.slice(start, start + n).join(' ');
}
