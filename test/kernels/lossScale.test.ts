import { describe, expect } from 'vitest';
import type { GpuTraits } from '../../src/gpu/device.ts';
import { gradientNorm } from '../../src/kernels/gradientNorm.ts';
import { scaleLoss } from '../../src/kernels/lossScale.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { execute, expectClose, testFamilies, useGpu } from './harness.ts';

useGpu();

/** (norm, clip) and the scaler after a step with these gradients. */
async function step(traits: GpuTraits, gradients: readonly number[], scaler: readonly [number, number], maxNorm = 1) {
  const memory = new Memory(traits.limits);
  const g = memory.declare('g', [gradients.length]);
  const state = memory.declare('scaler', [2]);
  const result = memory.declare('result', [2]);
  const trace = new Trace(traits);
  gradientNorm(trace, [g], result, maxNorm, state);
  const uploads = [
    [g, Float32Array.from(gradients)],
    [state, Float32Array.from(scaler)],
  ] as const;
  const got = await execute(trace, memory, uploads, [result, state]);
  const [[norm = Number.NaN, clip = Number.NaN], after] = got.map((bytes) => [...new Float32Array(bytes)]) as [
    number[],
    number[],
  ];
  return { norm, clip, scaler: after };
}

describe('lossScale', () => {
  testFamilies('the loss is scaled', async (traits) => {
    const memory = new Memory(traits.limits);
    const [factor, scaler] = [memory.declare('factor', [1]), memory.declare('scaler', [2])];
    const kept = memory.declare('kept', [1]);
    const trace = new Trace(traits);
    gradientNorm(trace, [scaleLoss(trace, factor, scaler)], kept, 0);
    const uploads = [
      [factor, Float32Array.of(0.25)],
      [scaler, Float32Array.of(1024, 7)],
    ] as const;
    const [norm] = await execute(trace, memory, uploads, [kept]);
    expect(new Float32Array(norm!)[0]).toBe(256);
  });

  testFamilies('gradients are unscaled before they are clipped', async (traits) => {
    const scaled = [3, 4].map((value) => value * 65536);
    const clipped = await step(traits, scaled, [65536, 5]);
    expectClose('norm', [clipped.norm], [5], 1e-6);
    expectClose('clip', [clipped.clip * 65536], [0.2], 1e-6);
    expect(clipped.scaler).toEqual([65536, 6]);
    const whole = await step(traits, scaled, [65536, 5], 0);
    expect(whole.clip).toBe(1 / 65536);
  });

  testFamilies('what is not finite is skipped and halves the scale', async (traits) => {
    for (const wrong of [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 3e38]) {
      const { norm, clip, scaler } = await step(traits, [1, wrong, 2], [1024, 1999]);
      expect(Number.isFinite(norm), `norm of ${wrong}`).toBe(false);
      expect([clip, ...scaler], `clip and scaler of ${wrong}`).toEqual([0, 512, 0]);
    }
  });

  testFamilies('2000 good steps double the scale', async (traits) => {
    expect((await step(traits, [1], [1024, 1998])).scaler).toEqual([1024, 1999]);
    expect((await step(traits, [1], [1024, 1999])).scaler).toEqual([2048, 0]);
  });
});
