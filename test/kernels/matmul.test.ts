import { describe, expect, test } from 'vitest';
import type { GpuTraits } from '../../src/gpu/device.ts';
import type { Dtype } from '../../src/kernels/define.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { execute, expectClose, random, randomArray, testFamilies, useGpu, type Values } from './harness.ts';
import { keep, packed } from './references.ts';
import { limits, traits } from './traits.ts';

useGpu();

interface Case {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a?: 'mk' | 'km';
  readonly b?: 'nk' | 'kn';
  readonly dtype?: Dtype;
  /** Elements before the first one, and between the end of a row and the next: of A, B, C. */
  readonly offsets?: readonly [number, number, number];
  readonly gaps?: readonly [number, number, number];
  readonly accumulate?: 0 | 1;
  readonly alpha?: number;
  readonly bias?: boolean;
  readonly nOffset?: number;
  readonly residual?: boolean;
  readonly low?: 'nk' | 'kn';
  readonly r?: number;
  readonly mask?: 'a' | 'b' | 'low';
}

const DROPOUT = { p: 0.4, stream: 3 };
const SEED = 99;

async function check(problem: Case, traits: GpuTraits): Promise<void> {
  const { m, n, k, dtype = 'f32', accumulate = 0, alpha = 1, nOffset = 0, low, r = 3, mask } = problem;
  const { a: aLayout = 'mk', b: bLayout = 'nk', offsets = [0, 0, 0], gaps = [0, 0, 0] } = problem;
  const aStride = (aLayout === 'mk' ? k : m) + gaps[0];
  const bStride = (bLayout === 'nk' ? k : n) + gaps[1];
  const cStride = n + gaps[2];
  const aValues = randomArray(offsets[0] + aStride * (aLayout === 'mk' ? m : k), 1);
  const bValues = packed(randomArray(offsets[1] + bStride * (bLayout === 'nk' ? n : k), 2), dtype);
  const before = randomArray(offsets[2] + cStride * m, 3);
  const lValues = randomArray(m * r, 4);
  const mValues = randomArray(low === 'kn' ? r * n : (nOffset + n) * r, 5);
  const biasValues = randomArray(nOffset + n, 6);
  const residualValues = randomArray(before.length, 7);

  const memory = new Memory(traits.limits);
  const uploads: [ReturnType<Memory['declare']>, Values][] = [];
  const tensor = (label: string, values: Values, elements = values.length, type: Dtype = 'f32') => {
    const made = memory.declare(label, [elements], { dtype: type });
    uploads.push([made, values]);
    return made;
  };
  const c = tensor('c', before);
  const trace = new Trace(traits);
  matmul(trace, {
    m,
    n,
    k,
    a: { tensor: tensor('a', aValues), layout: aLayout, offset: offsets[0], stride: aStride },
    b: {
      tensor: tensor('b', bValues.words, bValues.values.length, dtype),
      layout: bLayout,
      offset: offsets[1],
      stride: bStride,
    },
    c: { tensor: c, offset: offsets[2], stride: cStride },
    accumulate,
    ...(problem.alpha !== undefined && { alpha }),
    bias: problem.bias ? tensor('bias', biasValues) : undefined,
    nOffset,
    residual: problem.residual ? tensor('residual', residualValues) : undefined,
    low: low && { l: tensor('l', lValues), m: tensor('m', mValues), layout: low, r },
    mask: mask && { on: mask, dropout: DROPOUT, seed: tensor('seed', Uint32Array.of(SEED), 1, 'u32') },
  });
  const [result] = await execute(trace, memory, uploads, [c]);

  const factor = (on: Case['mask'], index: number) => (mask === on ? keep(index, { ...DROPOUT, seed: SEED }) : 1);
  const expected = Float64Array.from(before);
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = 0;
      for (let i = 0; i < k; i++) {
        const left = aValues[offsets[0] + (aLayout === 'mk' ? row * aStride + i : i * aStride + row)]!;
        const right = bValues.values[offsets[1] + (bLayout === 'nk' ? column * bStride + i : i * bStride + column)]!;
        sum += left * factor('a', row * k + i) * right * factor('b', i * n + column);
      }
      sum *= alpha;
      for (let i = 0; low && i < r; i++) {
        const right = mValues[low === 'kn' ? i * n + column : (nOffset + column) * r + i]!;
        sum += lValues[row * r + i]! * right * factor('low', row * n + column);
      }
      const at = offsets[2] + row * cStride + column;
      if (problem.bias) sum += biasValues[nOffset + column]!;
      if (problem.residual) sum += residualValues[at]!;
      expected[at] = sum + (accumulate ? before[at]! : 0);
    }
  }
  // All of C, so that what lies before, between and after its rows is seen to be untouched.
  expectClose('c', new Float32Array(result!), expected, 2e-5);
}

/** Few distinct texts of the kernel, each with several sizes: software drivers take long to compile them. */
const cases: readonly Case[] = [
  { m: 67, n: 70, k: 68, alpha: -0.5 },
  { m: 1, n: 200, k: 12, accumulate: 1 },
  // Rows inside wider rows, as the parts of a split vocabulary lie in the logits.
  { m: 65, n: 67, k: 12, offsets: [8, 4, 7], gaps: [4, 8, 9] },
  { m: 65, n: 66, k: 67 },
  { m: 1, n: 1, k: 1 },
  { m: 9, n: 20, k: 12, offsets: [5, 3, 7], gaps: [3, 1, 9], accumulate: 1 },
  // One operand read as vectors, the other not.
  { m: 33, n: 35, k: 20, gaps: [4, 1, 0] },
  { m: 33, n: 35, k: 20, offsets: [1, 4, 0] },
  { m: 35, n: 33, k: 17, bias: true, nOffset: 5, residual: true, low: 'nk', r: 19, accumulate: 1 },
  { m: 34, n: 20, k: 24, bias: true, nOffset: 12, residual: true, low: 'nk', r: 1 },
  { m: 70, n: 8, k: 36, mask: 'a', alpha: 2 },
  { m: 21, n: 9, k: 35, mask: 'a' },
  { m: 21, n: 40, k: 16, b: 'kn', low: 'kn', r: 5, mask: 'low' },
  { m: 21, n: 37, k: 13, b: 'kn', low: 'kn', r: 16, mask: 'low', accumulate: 1 },
  { m: 68, n: 36, k: 33, a: 'km', b: 'kn', mask: 'b' },
  { m: 20, n: 24, k: 10, a: 'km', b: 'kn', mask: 'b', offsets: [4, 8, 4], gaps: [4, 4, 4] },
  { m: 66, n: 37, k: 33, a: 'km', b: 'kn', mask: 'b', accumulate: 1 },
  { m: 20, n: 24, k: 10, a: 'km', b: 'kn', mask: 'b', offsets: [2, 6, 1], gaps: [5, 2, 3] },
  { m: 18, n: 70, k: 64, dtype: 'bf16' },
  { m: 19, n: 17, k: 7, dtype: 'f16' },
  { m: 20, n: 10, k: 13, dtype: 'f16', offsets: [1, 1, 0], gaps: [0, 3, 0] },
  { m: 19, n: 36, k: 9, b: 'kn', dtype: 'f16' },
  { m: 17, n: 4, k: 65, b: 'kn', dtype: 'f16', accumulate: 1 },
  { m: 19, n: 37, k: 29, b: 'kn', dtype: 'bf16' },
  { m: 20, n: 10, k: 13, b: 'kn', dtype: 'bf16', offsets: [0, 3, 0], gaps: [2, 5, 1] },
];

/** Sizes nobody thought of, the same ones every time. */
function randomCases(count: number): Case[] {
  const next = random(2024);
  const pick = <T>(...from: T[]) => from[Math.floor(((next() + 1) / 2) * from.length)]!;
  return Array.from({ length: count }, () => ({
    m: pick(16, 31, 32, 47, 64, 80),
    n: pick(17, 24, 65, 72, 129),
    k: pick(1, 2, 3, 5, 15, 16, 17, 31, 33, 63, 64, 65, 100),
    accumulate: pick(0, 1),
  }));
}

describe('matmul', () => {
  for (const problem of cases) testFamilies(JSON.stringify(problem), (traits) => check(problem, traits));

  testFamilies('random problems', async (traits) => {
    for (const problem of randomCases(30)) {
      await check(problem, traits).catch((error: Error) => {
        throw new Error(`${JSON.stringify(problem)}: ${error.message}`, { cause: error });
      });
    }
  });

  test('alpha has no part in a product with a low-rank pair', () => {
    const memory = new Memory(limits);
    const [a, b, c, l] = ['a', 'b', 'c', 'l'].map((label) => memory.declare(label, [4, 4]));
    const trace = new Trace(traits);
    const problem = {
      m: 4,
      n: 4,
      k: 4,
      a: { tensor: a! },
      b: { tensor: b! },
      c: { tensor: c! },
      low: { l: l!, m: l!, layout: 'nk', r: 4 },
    } as const;
    expect(() => matmul(trace, { ...problem, alpha: 2 })).toThrow('alpha');
  });
});
