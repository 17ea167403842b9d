/** Metrics against the programs that define them (`golden/make.py`), and what must hold for any text. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { exactMatch } from '../../src/eval/metrics/exactMatch.ts';
import { lcsLength, lcsPositions } from '../../src/eval/metrics/lcs.ts';
import { ANSWER_METRICS } from '../../src/eval/metrics/metrics.ts';
import { splitSpaces, strip } from '../../src/eval/metrics/pythonText.ts';
import { rougeL } from '../../src/eval/metrics/rougeL.ts';
import { rougeLsum } from '../../src/eval/metrics/rougeLsum.ts';
import { sari } from '../../src/eval/metrics/sari.ts';
import { tokenF1 } from '../../src/eval/metrics/tokenF1.ts';
import { tokenize13a } from '../../src/eval/metrics/tokenize13a.ts';
import { randomStream } from '../../src/platform/random.ts';

type Golden = [
  prediction: string,
  reference: string,
  source: string,
  ...scores: [number, number, number, number, number],
];

const lines = readFileSync(new URL('golden/metrics.jsonl', import.meta.url), 'utf8')
  .trimEnd()
  .split('\n');
const golden = lines.slice(0, -1).map((line) => JSON.parse(line) as Golden);
const examples = golden.map(([prediction, reference, source]) => ({ prediction, reference, source }));

const SCORES: Readonly<Record<string, (prediction: string, reference: string, source: string) => number>> = {
  'ROUGE-L as rouge-score': rougeL,
  'ROUGE-Lsum as rouge-score': rougeLsum,
  'SARI as EASSE': (prediction, reference, source) => sari([{ prediction, reference, source }]),
  'exact match after strip': exactMatch,
  'F1 as SQuAD': tokenF1,
};

describe('equal to 1e-9 on 500 answers', () => {
  it.each(Object.keys(SCORES).map((name, index) => [name, index] as const))('%s', (name, index) => {
    const score = SCORES[name]!;
    expect(golden).toHaveLength(500);
    // They differ enough to tell something.
    const wanted = golden.map((row) => row[3 + index] as number);
    expect(new Set(wanted.map((value) => value.toFixed(2))).size).toBeGreaterThan(name.startsWith('exact') ? 1 : 30);
    for (const [prediction, reference, source, ...scores] of golden) {
      const difference = Math.abs(score(prediction, reference, source) - scores[index]!);
      expect(difference, JSON.stringify([prediction, reference, source])).toBeLessThanOrEqual(1e-9);
    }
  });

  it('SARI of the corpus as EASSE', () => {
    expect(Math.abs(sari(examples) - (JSON.parse(lines.at(-1) ?? '') as number))).toBeLessThanOrEqual(1e-9);
  });

  it('the others are means over rows', () => {
    const none = { regex: null, json: null };
    const names = ['rouge_l', 'rouge_lsum', null, 'exact_match', 'token_f1'] as const;
    for (const [index, name] of names.entries()) {
      if (name === null) continue;
      const total = golden.reduce((sum, row) => sum + (row[3 + index] as number), 0);
      expect(ANSWER_METRICS[name](examples, none)).toBeCloseTo(total / 500, 12);
    }
  });
});

/** Texts of few words, so that much agrees, and of many lines. */
function randomTexts(seed: number): [string, string] {
  const next = randomStream(seed, 0);
  const text = () =>
    Array.from({ length: 1 + (next() % 30) }, () => 'abcd'[next() % 4] + (next() % 5 === 0 ? '\n' : ' ')).join('');
  return [text(), text()];
}
const pairs = Array.from({ length: 200 }, (_, seed) => randomTexts(seed));

describe('for any text', () => {
  it('lies between 0 and 1, is 1 for the reference itself, and 0 for other words', () => {
    for (const score of [rougeL, rougeLsum, tokenF1, exactMatch]) {
      for (const [a, b] of pairs) {
        expect(score(a, b)).toBeGreaterThanOrEqual(0);
        expect(score(a, b)).toBeLessThanOrEqual(1);
        expect(score(`x ${a}`, `x ${a}`)).toBe(1);
        expect(score('x y', `${a}z`)).toBe(0);
      }
    }
  });

  it('is the same with both sides changed, and ROUGE-Lsum is no less than ROUGE-L of one line', () => {
    for (const [a, b] of pairs) {
      expect(rougeL(a, b)).toBe(rougeL(b, a));
      expect(tokenF1(a, b)).toBe(tokenF1(b, a));
      const flat = (text: string) => text.replaceAll('\n', ' ');
      expect(rougeLsum(flat(a), flat(b))).toBe(rougeL(a, b));
    }
  });

  it('a longest common subsequence is one, and no other is longer', () => {
    for (const [first, second] of pairs) {
      const [a, b] = [splitSpaces(first), splitSpaces(second)];
      const positions = lcsPositions(a, b).toReversed();
      expect(positions.length).toBe(lcsLength(a, b));
      expect(positions.length).toBe(lcsLength(b, a));
      expect(positions.toSorted((x, y) => x - y)).toEqual(positions);
      let at = 0;
      for (const position of positions) at = b.indexOf(a[position]!, at) + 1;
      expect(at > 0 || positions.length === 0).toBe(true);
    }
  });

  it('SARI is 100 for a reference that adds, keeps and deletes runs of four, and does not depend on how often it is asked', () => {
    const example = { source: 'k1 k2 k3 k4 d1 d2 d3 d4', prediction: 'k1 k2 k3 k4 a1 a2 a3 a4', reference: '' };
    const right = { ...example, reference: example.prediction };
    expect(sari([right])).toBe(100);
    expect(sari([right, right, right])).toBe(100);
    expect(sari([example])).toBeLessThan(50);
  });

  it('long texts need little memory', () => {
    const long = Array.from({ length: 4000 }, (_, i) => `w${i % 97}`).join(' ');
    const other = Array.from({ length: 4000 }, (_, i) => `w${(i * 3) % 89}`).join(' ');
    const before = process.memoryUsage().arrayBuffers;
    expect(rougeL(long, other)).toBeGreaterThan(0);
    expect(rougeLsum(long, other)).toBe(rougeL(long, other));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8e6);
  });
});

describe('as Python', () => {
  it('strips and splits at its own white space', () => {
    expect(strip('\u001c\u0085 \ufeffa\u00a0\u3000')).toBe('\ufeffa');
    expect(splitSpaces(' a\u001fb\u2028c\ufeffd ')).toEqual(['a', 'b', 'c\ufeffd']);
    expect(splitSpaces(' \n')).toEqual([]);
  });

  it('tokenizes as mteval-v13a', () => {
    expect(tokenize13a('Pay $3,000.50 (now).').join(' ')).toBe('Pay $ 3,000.50 ( now ) .');
  });
});
