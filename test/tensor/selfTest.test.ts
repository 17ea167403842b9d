import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Gpu } from '../../src/gpu/device.ts';
import * as ops from '../../src/tensor/ops.ts';
import { SELF_TEST_TOLERANCE, type SelfTestResult, selfTest } from '../../src/tensor/selfTest.ts';
import { SELF_TEST_CASES } from '../../src/tensor/selfTestCases.ts';
import { differentiate, Lab, largestError } from '../../src/tensor/selfTestLab.ts';

test('every op has a case', () => {
  const tested = new Set(SELF_TEST_CASES.map(({ op }) => op));
  expect([...Object.keys(ops), 'matmul', 'gradientNorm', 'adamW'].filter((op) => !tested.has(op))).toEqual([]);
});

test('what is missing or not a number is an infinite error', () => {
  expect(largestError([1, 2], [1, 2])).toBe(0);
  expect(largestError([1, 3], [1, 2])).toBeCloseTo(1 / 3);
  expect(largestError([1], [1, 2])).toBe(Number.POSITIVE_INFINITY);
  expect(largestError([Number.NaN], [1])).toBe(Number.POSITIVE_INFINITY);
});

test('differences of a cubic are exact', () => {
  const given = { x: { shape: [2], values: Float32Array.of(2, -1), trained: true } };
  const { out, gradients } = differentiate(
    given,
    ({ x = [] }) => Float64Array.from(x, (value) => value ** 3),
    () => 2,
  );
  expect(out).toEqual(Float64Array.of(8, -1));
  expect(gradients[0]?.[0]).toBeCloseTo(24, 9);
  expect(gradients[0]?.[1]).toBeCloseTo(6, 9);
});

describe('on this adapter', () => {
  let gpu: Gpu;
  beforeAll(async () => {
    gpu = await Gpu.open();
  });
  afterAll(async () => {
    await gpu.close();
    expect(gpu.ledger.count, 'buffers alive after closing').toBe(0);
  });

  test('nothing is wrong', async () => {
    const results: SelfTestResult[] = [];
    for await (const result of selfTest(gpu)) results.push(result);
    expect(results.filter(({ ok }) => !ok)).toEqual([]);
    expect(results[0]?.family).toBe(gpu.family);
    // Far below the tolerance, so that what is above it is no rounding.
    expect(Math.max(...results.map(({ error }) => error ?? 1))).toBeLessThan(SELF_TEST_TOLERANCE / 10);
  });

  test('a kernel that adds wrongly is found', async () => {
    const x = { shape: [3], values: Float32Array.of(1, 2, 3) };
    const error = await new Lab(gpu, gpu).op(ops.add, { a: x, b: x }, {}, { out: [2, 4, 6.001], gradients: [] });
    expect(error).toBeGreaterThan(SELF_TEST_TOLERANCE);
  });
});
