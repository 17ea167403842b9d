import { describe } from 'vitest';
import type { GpuTraits } from '../../src/gpu/device.ts';
import type { Dtype } from '../../src/kernels/define.ts';
import { linear } from '../../src/kernels/linear.ts';
import {
  checkOp,
  type Precision,
  randomArray,
  type TestInput,
  testFamilies,
  testPrecisions,
  useGpu,
} from './harness.ts';
import { quantizedMatrix } from './quantizedWeights.ts';
import { keep, packed } from './references.ts';

useGpu();

interface Shape {
  readonly T: number;
  readonly K: number;
  readonly N: number;
  readonly r?: number;
  readonly dtype?: Dtype;
  readonly bias?: boolean;
  readonly residual?: boolean;
  readonly trained?: boolean;
  readonly p?: number;
  /** Also with activations stored in f16. */
  readonly half?: boolean;
}

const shapes: readonly Shape[] = [
  { T: 1, K: 8, N: 4 },
  { T: 5, K: 37, N: 29, bias: true, trained: true },
  { T: 17, K: 36, N: 52, residual: true, bias: true, trained: true },
  { T: 33, K: 64, N: 68 },
  { T: 6, K: 20, N: 24, dtype: 'f16', bias: true },
  { T: 18, K: 24, N: 40, dtype: 'bf16' },
  { T: 3, K: 9, N: 7, dtype: 'bf16' },
  { T: 7, K: 12, N: 20, r: 3 },
  { T: 19, K: 28, N: 20, r: 8, residual: true, trained: true },
  { T: 9, K: 20, N: 12, r: 8, p: 0.3 },
  { T: 17, K: 64, N: 38, r: 4, dtype: 'nf4', bias: true, residual: true, p: 0.2, half: true },
  { T: 18, K: 26, N: 70, residual: true, trained: true, half: true },
];

const STREAM = 7;
const SEED = 1234567;

function check(
  { T, K, N, r, dtype = 'f32', bias, residual, trained, p }: Shape,
  traits: GpuTraits,
  precision: Precision = 'f32',
) {
  const scale = 1.5;
  const quantized =
    dtype === 'nf4' || dtype === 'i8'
      ? quantizedMatrix([N, K], { dtype, nested: traits.limits.bindingBytes > 2048 }, 2)
      : null;
  const weights = quantized ?? packed(randomArray(N * K, 2), dtype);
  const inputs: Record<string, TestInput | undefined> = {
    x: { shape: [T, K], values: randomArray(T * K, 1), requiresGrad: true },
    w: {
      shape: [N, K],
      values: weights.words,
      dtype,
      requiresGrad: trained ?? false,
      parameter: precision !== 'f32',
      ...(quantized && { quantization: quantized }),
    },
    bias: bias ? { shape: [N], values: randomArray(N, 3), requiresGrad: trained ?? false, parameter: true } : undefined,
    residual: residual ? { shape: [T, N], values: randomArray(T * N, 4), requiresGrad: true, passed: true } : undefined,
    loraA: r ? { shape: [r, K], values: randomArray(r * K, 5), requiresGrad: true, parameter: true } : undefined,
    loraB: r ? { shape: [N, r], values: randomArray(N * r, 6), requiresGrad: true, parameter: true } : undefined,
    seed: p ? { shape: [1], values: new Uint32Array([SEED]), dtype: 'u32' } : undefined,
  };
  return checkOp({
    op: linear,
    inputs,
    attributes: { scale, dropout: p ? { p, stream: STREAM } : null },
    traits,
    precision,
    reference(values) {
      const { x = [], bias: b, residual: res, loraA, loraB } = values;
      const w = dtype === 'f32' ? (values.w ?? []) : weights.values;
      const y = new Float64Array(T * N);
      for (let t = 0; t < T; t++) {
        const low = Array.from({ length: r ?? 0 }, (_, i) => {
          let sum = 0;
          for (let k = 0; k < K; k++) {
            const mask = p ? keep(t * K + k, { p, stream: STREAM, seed: SEED }) : 1;
            sum += (x[t * K + k] ?? 0) * mask * (loraA?.[i * K + k] ?? 0);
          }
          return sum * scale;
        });
        for (let n = 0; n < N; n++) {
          let sum = (b?.[n] ?? 0) + (res?.[t * N + n] ?? 0);
          for (let k = 0; k < K; k++) sum += (x[t * K + k] ?? 0) * (w[n * K + k] ?? 0);
          low.forEach((value, i) => {
            sum += value * (loraB?.[n * (r ?? 0) + i] ?? 0);
          });
          y[t * N + n] = sum;
        }
      }
      return y;
    },
  });
}

describe('linear', () => {
  for (const shape of shapes) {
    const run = shape.half ? testPrecisions : testFamilies;
    run(JSON.stringify(shape), (traits, precision?: Precision) => check(shape, traits, precision));
  }

  // A binding of 1 KiB splits these weights into several shards of rows.
  for (const shape of [
    { T: 3, K: 16, N: 70, bias: true, trained: true, residual: true },
    { T: 3, K: 16, N: 70, r: 3 },
    { T: 1, K: 32, N: 140, r: 1, dtype: 'nf4' },
    { T: 3, K: 32, N: 70, dtype: 'i8', bias: true },
  ] as const) {
    testFamilies(`split by rows ${JSON.stringify(shape)}`, (traits) =>
      check(shape, { ...traits, limits: { ...traits.limits, bindingBytes: 1024, bufferBytes: 8192 } }),
    );
  }
});
