import { describe, expect, test } from 'vitest';
import type { GpuTraits } from '../../src/gpu/device.ts';
import type { Dtype, Tensor } from '../../src/kernels/define.ts';
import { chunkRows, linearCrossEntropy } from '../../src/kernels/linearCrossEntropy.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { Tape } from '../../src/tensor/tape.ts';
import {
  execute,
  expectClose,
  F16_ROUNDING,
  identity,
  type Precision,
  random,
  randomArray,
  roundF16,
  testFamilies,
  testPrecisions,
  useGpu,
  type Values,
} from './harness.ts';
import { packed } from './references.ts';

useGpu();

/** A row without a target: padding. */
const NONE = 0xffffffff;

interface Case {
  readonly R: number;
  readonly C: number;
  readonly V: number;
  /** Rows without a target. */
  readonly ignored?: readonly number[];
  readonly dtype?: Dtype;
  /** Whether W is trained; x always is. */
  readonly trained?: boolean;
  readonly training?: boolean;
  /** Integers up to this size instead of numbers below 1, so that large logits are exact in f32. */
  readonly integers?: number;
  /** The largest binding: smaller ones split W by rows and the rows of x into chunks. */
  readonly bindingBytes?: number;
}

async function check(shape: Case, traits: GpuTraits, precision: Precision = 'f32'): Promise<void> {
  const half = precision !== 'f32';
  const { R, C, V, ignored = [], dtype = 'f32', trained = false, training = true, integers } = shape;
  const values = (count: number, seed: number) => {
    const numbers = randomArray(count, seed);
    return integers ? numbers.map((value) => Math.round(value * integers)) : numbers;
  };
  const xs = values(R * C, 1).map((value) => (half ? roundF16(value) : value));
  const ws = packed(values(V * C, 2), dtype);
  const next = random(3);
  const targets = Uint32Array.from({ length: R }, (_, i) => {
    // The first and the last token of the vocabulary among them.
    const target = i === 0 ? 0 : i === 1 ? V - 1 : Math.floor(((next() + 1) / 2) * V);
    return ignored.includes(i) ? NONE : target;
  });
  const factor = 1 / 7;

  const limits = { ...traits.limits, ...(shape.bindingBytes && { bindingBytes: shape.bindingBytes }) };
  const memory = new Memory(limits);
  const uploads: [Tensor, Values][] = [];
  const declare = (label: string, sizes: number[], data: Values, options: Parameters<Memory['declare']>[2] = {}) => {
    const tensor = memory.declare(label, sizes, options);
    uploads.push([tensor, data]);
    return tensor;
  };
  const x = declare('x', [R, C], xs, { requiresGrad: true });
  const w = declare('w', [V, C], ws.words, { dtype, requiresGrad: trained });
  const dx = declare('dx', [R, C], new Float32Array(R * C).fill(0.5));
  const dw = declare('dw', [V, C], new Float32Array(V * C).fill(0.5));
  const total = declare('total', [1], Float32Array.of(2.5));
  const losses = declare('losses', [R], new Float32Array(R).fill(Number.NaN));
  const gradients = new Map([[x.id, dx], ...(trained ? [[w.id, dw] as const] : [])]);
  const tape = new Tape({ ...traits, limits }, gradients, half ? 'f16' : 'f32');
  const inputs = {
    x: tape.apply(identity, { x }, {}),
    w,
    targets: declare('targets', [R], targets, { dtype: 'u32' }),
    scale: declare('scale', [1], Float32Array.of(factor)),
    total,
  };
  const out = tape.apply(linearCrossEntropy, inputs, { losses, training });
  if (training) tape.backward(out);
  const results = await execute(tape, memory, uploads, [losses, total, dx, dw]);
  const [gotLosses, gotTotal, gotX, gotW] = results.map((result) => new Float32Array(result));

  const expected = { losses: new Float64Array(R), x: new Float64Array(R * C), w: new Float64Array(V * C) };
  for (let i = 0; i < R; i++) {
    const target = targets[i]!;
    if (target === NONE) continue;
    const logits = Float64Array.from({ length: V }, (_, v) => {
      let sum = 0;
      for (let c = 0; c < C; c++) sum += xs[i * C + c]! * ws.values[v * C + c]!;
      return sum;
    });
    const top = logits.reduce((a, b) => Math.max(a, b));
    const sum = logits.reduce((part, logit) => part + Math.exp(logit - top), 0);
    expected.losses[i] = Math.log(sum) + top - logits[target]!;
    logits.forEach((logit, v) => {
      const g = factor * (Math.exp(logit - top) / sum - (v === target ? 1 : 0));
      for (let c = 0; c < C; c++) {
        expected.x[i * C + c]! += g * ws.values[v * C + c]!;
        expected.w[v * C + c]! += g * xs[i * C + c]!;
      }
    });
  }
  expectClose('losses', gotLosses!, expected.losses, 1e-5);
  expectClose('total, added to', gotTotal!, [2.5 + expected.losses.reduce((a, b) => a + b, 0)], 1e-5);
  const untouched = (gradient: Float64Array) => gradient.map(() => 0.5);
  const plus = (gradient: Float64Array) => gradient.map((value) => value + 0.5);
  expectClose('dx', gotX!, training ? plus(expected.x) : untouched(expected.x), 2e-5 + (half ? F16_ROUNDING : 0));
  expectClose('dw', gotW!, training && trained ? plus(expected.w) : untouched(expected.w), 2e-5);
}

describe('linearCrossEntropy', () => {
  for (const shape of [
    { R: 1, C: 1, V: 1, trained: true },
    { R: 5, C: 7, V: 3, ignored: [2], trained: true },
    { R: 9, C: 20, V: 131, ignored: [0, 7, 8], trained: true },
    { R: 9, C: 20, V: 131, ignored: [4], training: false },
    { R: 3, C: 8, V: 40, ignored: [0, 1, 2], trained: true },
    { R: 6, C: 12, V: 5003, ignored: [5], trained: true },
    { R: 6, C: 12, V: 5003, dtype: 'bf16' },
    { R: 4, C: 10, V: 77, dtype: 'f16' },
    // Logits of up to ±4000, of which exp overflows.
    { R: 7, C: 16, V: 45, integers: 16, trained: true },
  ] satisfies Case[]) {
    testFamilies(JSON.stringify(shape), (traits) => check(shape, traits));
  }

  // 4 rows of logits fit into a chunk; then W is split as well.
  for (const shape of [
    { R: 11, C: 4, V: 53, ignored: [1, 4, 5, 6, 7, 10], trained: true, bindingBytes: 1024 },
    { R: 10, C: 8, V: 53, ignored: [9], trained: true, bindingBytes: 1024 },
    { R: 10, C: 16, V: 70, ignored: [3], dtype: 'bf16', bindingBytes: 1024 },
    { R: 10, C: 16, V: 70, ignored: [3], training: false, bindingBytes: 1024 },
  ] satisfies Case[]) {
    testFamilies(`in parts ${JSON.stringify(shape)}`, (traits) => check(shape, traits));
  }

  for (const shape of [
    { R: 9, C: 22, V: 131, ignored: [4], trained: true },
    { R: 10, C: 22, V: 43, ignored: [3], trained: true, bindingBytes: 1024 },
  ] satisfies Case[]) {
    testPrecisions(`activations of each type ${JSON.stringify(shape)}`, (traits, precision) =>
      check(shape, traits, precision),
    );
  }

  test('rows of a chunk: 64 MiB of logits, at least 32 rows, never more than a binding', () => {
    const MiB = 2 ** 20;
    expect(chunkRows(1000, 1024, 1024 * MiB)).toBe(1000);
    expect(chunkRows(100_000, 1024, 1024 * MiB)).toBe(16384);
    expect(chunkRows(1000, 151_936, 1024 * MiB)).toBe(64);
    expect(chunkRows(1000, 1_000_000, 1024 * MiB)).toBe(32);
    expect(chunkRows(1000, 1_000_000, 10 * MiB)).toBe(2);
    expect(chunkRows(3, 100, MiB)).toBe(3);
  });
});
