import { describe, expect } from 'vitest';
import type { GpuTraits } from '../../src/gpu/device.ts';
import { gradientNorm } from '../../src/kernels/gradientNorm.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { execute, expectClose, randomArray, testFamilies, useGpu } from './harness.ts';

useGpu();

/** (norm, clip) of chunks of these values, and the same in float64. */
async function check(traits: GpuTraits, chunks: readonly Float32Array<ArrayBuffer>[], maxNorm: number): Promise<void> {
  const memory = new Memory(traits.limits);
  const tensors = chunks.map((values, index) => memory.declare(`chunk ${index}`, [values.length]));
  const result = memory.declare('result', [2]);
  const trace = new Trace(traits);
  gradientNorm(trace, tensors, result, maxNorm);
  const [got] = await execute(
    trace,
    memory,
    tensors.map((tensor, index) => [tensor, chunks[index]!] as const),
    [result],
  );
  const norm = Math.sqrt(
    chunks.reduce((sum, values) => sum + values.reduce((part, value) => part + value * value, 0), 0),
  );
  const clip = maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1;
  // Relative, whatever the size of the norm.
  const [gotNorm = Number.NaN, gotClip = Number.NaN] = new Float32Array(got!);
  expectClose(`norm and clip, maxNorm ${maxNorm}`, [gotNorm / (norm || 1), gotClip], [norm ? 1 : 0, clip], 2e-6);
}

describe('gradientNorm', () => {
  // 16 384 elements are one workgroup's.
  for (const sizes of [[1], [7, 1, 130], [16384], [16385, 16383, 3 * 16384 + 5]]) {
    testFamilies(`chunks of ${sizes}`, async (traits) => {
      const chunks = sizes.map((size, index) => randomArray(size, index + 1, 3));
      await check(traits, chunks, 1);
      await check(traits, chunks, 1e4);
      await check(traits, chunks, 0);
    });
  }

  testFamilies('all zeros, tiny and huge numbers', async (traits) => {
    await check(traits, [new Float32Array(65)], 1);
    await check(traits, [randomArray(65, 1, 1e-12)], 1);
    await check(traits, [randomArray(65, 1, 1e15)], 1);
  });

  testFamilies('the same bytes every time', async (traits) => {
    const values = randomArray(40000, 1);
    const run = async () => {
      const memory = new Memory(traits.limits);
      const g = memory.declare('g', [values.length]);
      const result = memory.declare('result', [2]);
      const trace = new Trace(traits);
      gradientNorm(trace, [g], result, 1);
      const [got] = await execute(trace, memory, [[g, values]], [result]);
      return new Uint32Array(got!);
    };
    expect(await run()).toEqual(await run());
  });
});
