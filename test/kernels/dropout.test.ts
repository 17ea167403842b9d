import { describe, expect, test } from 'vitest';
import type { GpuTraits } from '../../src/gpu/device.ts';
import { dropoutUniforms } from '../../src/kernels/dropout.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { execute, testFamilies, useGpu } from './harness.ts';
import { keep } from './references.ts';

useGpu();

const [ROWS, COLUMNS] = [250, 64];

interface Mask {
  readonly p: number;
  readonly stream: number;
  readonly seed: number;
}

/** Masks as the kernels apply them: row sums, column by column, of ones times the mask. */
async function masksOnGpu(traits: GpuTraits, masks: readonly Mask[]): Promise<Float32Array[]> {
  const memory = new Memory(traits.limits);
  const ones = memory.declare('ones', [ROWS, COLUMNS]);
  const unit = memory.declare('unit', [COLUMNS, COLUMNS]);
  const trace = new Trace(traits);
  const made = masks.map(({ p, stream, seed }) => {
    const result = memory.declare('mask', [ROWS, COLUMNS]);
    const seedTensor = memory.declare('seed', [1], { dtype: 'u32' });
    const mask = { on: 'a', dropout: { p, stream }, seed: seedTensor } as const;
    matmul(trace, {
      m: ROWS,
      n: COLUMNS,
      k: COLUMNS,
      a: { tensor: ones },
      b: { tensor: unit },
      c: { tensor: result },
      mask,
    });
    return { result, upload: [seedTensor, Uint32Array.of(seed)] as const };
  });
  const identity = Float32Array.from({ length: COLUMNS * COLUMNS }, (_, i) => (i % (COLUMNS + 1) === 0 ? 1 : 0));
  const uploads = [
    [ones, new Float32Array(ROWS * COLUMNS).fill(1)] as const,
    [unit, identity] as const,
    ...made.map(({ upload }) => upload),
  ];
  const results = await execute(
    trace,
    memory,
    uploads,
    made.map(({ result }) => result),
  );
  return results.map((result) => new Float32Array(result));
}

const mask = ({ p, stream, seed }: Mask, count = 100_000) =>
  Float64Array.from({ length: count }, (_, i) => keep(i, { p, stream, seed }));
const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length;

function correlation(a: Float64Array, b: Float64Array): number {
  const [ma, mb] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  a.forEach((x, i) => {
    const y = b[i]!;
    ab += (x - ma) * (y - mb);
    aa += (x - ma) ** 2;
    bb += (y - mb) ** 2;
  });
  return ab / Math.sqrt(aa * bb);
}

describe('dropout', () => {
  const masks = [
    { p: 0.05, stream: 0, seed: 42 },
    { p: 0.5, stream: 1, seed: 42 },
    { p: 0.5, stream: 1, seed: 0xffffffff },
    { p: 0.5, stream: 1, seed: 42 },
  ];
  testFamilies('kernels apply exactly the mask of the reference', async (traits) => {
    const got = await masksOnGpu(traits, masks);
    masks.forEach((one, index) => {
      const expected = Float32Array.from(mask(one, ROWS * COLUMNS));
      expect(
        got[index]!.findIndex((value, i) => value !== expected[i]),
        `mask ${index}: first wrong element`,
      ).toBe(-1);
    });
    expect(got[3], 'the same seed and stream').toEqual(got[1]);
  });

  // Five standard errors of 100 000 draws: no sound generator fails, and these draws are the same every time.
  const draws = 100_000;
  for (const p of [0.01, 0.05, 0.3, 0.5, 0.9]) {
    test(`p ${p} drops that share and keeps the mean`, () => {
      const values = mask({ p, stream: 5, seed: 77 });
      const dropped = values.filter((value) => value === 0).length / draws;
      const error = Math.sqrt((p * (1 - p)) / draws);
      expect(Math.abs(dropped - p)).toBeLessThan(5 * error);
      expect(Math.abs(mean(values) - 1)).toBeLessThan((5 * error) / (1 - p));
    });
  }

  test('masks of neighbouring seeds, streams and positions are uncorrelated', () => {
    const p = 0.5;
    const base = mask({ p, stream: 3, seed: 1000 });
    const others: Record<string, Float64Array> = {
      'the next seed': mask({ p, stream: 3, seed: 1001 }),
      'a seed of one more high bit': mask({ p, stream: 3, seed: 1000 + 2 ** 31 }),
      'the next stream': mask({ p, stream: 4, seed: 1000 }),
      'the next position': mask({ p, stream: 3, seed: 1000 }, draws + 1).subarray(1),
      'one row further': mask({ p, stream: 3, seed: 1000 }, draws + 576).subarray(576),
    };
    for (const [name, other] of Object.entries(others))
      expect(Math.abs(correlation(base, other)), name).toBeLessThan(5 / Math.sqrt(draws));
  });

  test('uniforms', () => {
    expect(dropoutUniforms(null)).toEqual({ stream: 0, threshold: 0, keepScale: 1 });
    expect(dropoutUniforms({ p: 0.25, stream: 9 })).toEqual({ stream: 9, threshold: 2 ** 30, keepScale: 1 / 0.75 });
  });
});
