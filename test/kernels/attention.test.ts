import { describe, expect, test } from 'vitest';
import type { GpuTraits } from '../../src/gpu/device.ts';
import { attention } from '../../src/kernels/attention.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { checkOp, type Precision, randomArray, roundF16, testFamilies, testPrecisions, useGpu } from './harness.ts';
import { limits } from './traits.ts';

useGpu();

interface Case {
  readonly D: number;
  readonly heads: number;
  readonly groups: number;
  /** Lengths of the documents; padding tokens are documents of length 1. */
  readonly documents: readonly number[];
  readonly window?: number;
  readonly scale?: number;
  /** Size of q and k, and what is added to q and taken from k, so that all scores are far below zero. */
  readonly size?: number;
  readonly shift?: number;
  readonly tolerance?: number;
  /** Compare with central differences of the reference instead of its closed form. */
  readonly differences?: boolean;
  /** Also with operands stored in f16. */
  readonly half?: boolean;
}

type Rows = ArrayLike<number>;

/** For each pair of a query and a key that it sees: the head, both rows and the probability. */
function probabilities(q: Rows, k: Rows, { D, heads, groups, documents, window = 0, scale = 1 / Math.sqrt(D) }: Case) {
  const pairs: { i: number; j: number; queryAt: number; keyAt: number; p: number }[] = [];
  const starts = documents.flatMap((length, index) =>
    new Array<number>(length).fill(documents.slice(0, index).reduce((a, b) => a + b, 0)),
  );
  starts.forEach((start, i) => {
    for (let h = 0; h < heads; h++) {
      const queryAt = (i * heads + h) * D;
      const first = window > 0 ? Math.max(start, i - window + 1) : start;
      const row = Array.from({ length: i - first + 1 }, (_, n) => {
        const j = first + n;
        const keyAt = (j * groups + Math.floor(h / (heads / groups))) * D;
        let score = 0;
        for (let d = 0; d < D; d++) score += q[queryAt + d]! * k[keyAt + d]!;
        return { i, j, queryAt, keyAt, p: score * scale };
      });
      const top = row.reduce((largest, { p }) => Math.max(largest, p), Number.NEGATIVE_INFINITY);
      const total = row.reduce((sum, { p }) => sum + Math.exp(p - top), 0);
      pairs.push(...row.map((pair) => ({ ...pair, p: Math.exp(pair.p - top) / total })));
    }
  });
  return pairs;
}

function forward(q: Rows, k: Rows, v: Rows, shape: Case): Float64Array {
  const o = new Float64Array(q.length);
  for (const { queryAt, keyAt, p } of probabilities(q, k, shape)) {
    for (let d = 0; d < shape.D; d++) o[queryAt + d]! += p * v[keyAt + d]!;
  }
  return o;
}

/** As the kernels do, from the output as it is stored: that is where Σ dO · O comes from. */
function backward(q: Rows, k: Rows, v: Rows, dO: Rows, shape: Case, stored: (o: number) => number) {
  const { D, scale = 1 / Math.sqrt(D) } = shape;
  const [dq, dk, dv] = [new Float64Array(q.length), new Float64Array(k.length), new Float64Array(v.length)];
  const o = forward(q, k, v, shape).map(stored);
  for (const { queryAt, keyAt, p } of probabilities(q, k, shape)) {
    let dP = 0;
    for (let d = 0; d < D; d++) dP += dO[queryAt + d]! * (v[keyAt + d]! - o[queryAt + d]!);
    const dS = p * dP * scale;
    for (let d = 0; d < D; d++) {
      dq[queryAt + d]! += dS * k[keyAt + d]!;
      dk[keyAt + d]! += dS * q[queryAt + d]!;
      dv[keyAt + d]! += p * dO[queryAt + d]!;
    }
  }
  return { q: dq, k: dk, v: dv };
}

function check(shape: Case, traits: GpuTraits, precision: Precision = 'f32'): Promise<void> {
  const {
    D,
    heads,
    groups,
    documents,
    window = 0,
    scale = 1 / Math.sqrt(D),
    size = 1,
    shift = 0,
    tolerance = 1e-5,
  } = shape;
  const T = documents.reduce((a, b) => a + b, 0);
  const ends = documents.flatMap((length, index) =>
    new Array<number>(length).fill(documents.slice(0, index + 1).reduce((a, b) => a + b, 0)),
  );
  const starts = documents.flatMap((length, index) =>
    new Array<number>(length).fill(documents.slice(0, index).reduce((a, b) => a + b, 0)),
  );
  return checkOp({
    op: attention,
    inputs: {
      q: {
        shape: [T, heads * D],
        values: randomArray(T * heads * D, 1, size).map((x) => x + shift),
        requiresGrad: true,
      },
      k: {
        shape: [T, groups * D],
        values: randomArray(T * groups * D, 2, size).map((x) => x - shift),
        requiresGrad: true,
      },
      v: { shape: [T, groups * D], values: randomArray(T * groups * D, 3), requiresGrad: true },
      starts: { shape: [T], values: Uint32Array.from(starts), dtype: 'u32' },
      ends: { shape: [T], values: Uint32Array.from(ends), dtype: 'u32' },
    },
    attributes: { heads, groups, scale, window },
    reference: ({ q = [], k = [], v = [] }) => forward(q, k, v, shape),
    ...(!shape.differences && {
      gradients: ({ q = [], k = [], v = [] }, dO) => {
        const stored = precision === 'f32' ? (o: number) => o : roundF16;
        return backward(q as Rows, k as Rows, v as Rows, dO, shape, stored);
      },
    }),
    tolerance,
    traits,
    precision,
  });
}

describe('attention', () => {
  for (const shape of [
    { D: 20, heads: 2, groups: 1, documents: [3, 2, 1], differences: true },
    { D: 20, heads: 2, groups: 2, documents: [4, 5], window: 2, differences: true },
    // Three query heads to a group, odd documents, padding at the end.
    { D: 32, heads: 6, groups: 2, documents: [7, 1, 33, 5, 1, 1, 1], half: true },
    { D: 20, heads: 2, groups: 1, documents: [9, 2], half: true },
    { D: 32, heads: 3, groups: 1, documents: [65, 1, 1] },
    { D: 32, heads: 1, groups: 1, documents: [1] },
    // A window inside a document that spans several tiles, one wider than any document, one of the token alone.
    { D: 32, heads: 2, groups: 1, documents: [70, 9], window: 37 },
    { D: 32, heads: 2, groups: 2, documents: [35, 6, 1, 1], window: 100 },
    { D: 32, heads: 2, groups: 2, documents: [34, 3], window: 1 },
    // exp of these scores overflows, or underflows to 0 in a whole row, unless the maximum is subtracted.
    { D: 32, heads: 2, groups: 1, documents: [39, 2], scale: 1, size: 8, tolerance: 1e-4 },
    { D: 32, heads: 2, groups: 1, documents: [39, 2], scale: 1, shift: 6, tolerance: 1e-4 },
    { D: 64, heads: 3, groups: 1, documents: [37, 6, 1, 1] },
    { D: 80, heads: 2, groups: 2, documents: [33, 2] },
    { D: 128, heads: 2, groups: 1, documents: [5, 30], window: 9 },
    { D: 256, heads: 2, groups: 1, documents: [34, 3, 1] },
  ] satisfies Case[]) {
    const run = shape.half ? testPrecisions : testFamilies;
    run(JSON.stringify(shape), (traits, precision?: Precision) => check(shape, traits, precision));
  }

  test('refuses heads that do not fit', () => {
    const memory = new Memory(limits);
    const [x, rows] = [memory.declare('x', [4, 24]), memory.declare('rows', [4], { dtype: 'u32' })];
    const inputs = { q: x, k: x, v: x, starts: rows, ends: rows };
    const attributes = { groups: 1, scale: 1, window: 0 };
    for (const heads of [4, 5])
      expect(() => attention.check(inputs, { ...attributes, heads })).toThrow('divisible by 4');
    expect(() => attention.check(inputs, { ...attributes, heads: 3, groups: 2 })).toThrow('2 groups');
    expect(() => attention.check(inputs, { ...attributes, heads: 2 })).toThrow('k must be [4, 12]');
    expect(() => attention.check(inputs, { ...attributes, heads: 1 })).not.toThrow();
  });
});
