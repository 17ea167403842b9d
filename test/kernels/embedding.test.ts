import { describe, expect } from 'vitest';
import type { GpuTraits } from '../../src/gpu/device.ts';
import type { Dtype } from '../../src/kernels/define.ts';
import { embedding } from '../../src/kernels/embedding.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { Tape } from '../../src/tensor/tape.ts';
import {
  checkOp,
  execute,
  type Precision,
  randomArray,
  type TestInput,
  testFamilies,
  testPrecisions,
  useGpu,
} from './harness.ts';
import { groupTokens, packed } from './references.ts';

useGpu();

interface Case {
  readonly V: number;
  readonly C: number;
  readonly ids: readonly number[];
  /** Tokens that are no padding, from the left. */
  readonly tokens?: number;
  readonly dtype?: Dtype;
  readonly trained?: boolean;
}

function check(
  { V, C, ids, tokens = ids.length, dtype = 'f32', trained = false }: Case,
  traits: GpuTraits,
  precision?: Precision,
) {
  const T = ids.length;
  const weights = packed(randomArray(V * C, 1), dtype);
  const groups = groupTokens(ids, tokens);
  const whole = (values: Uint32Array<ArrayBuffer>): TestInput => ({ shape: [values.length], values, dtype: 'u32' });
  return checkOp({
    op: embedding,
    inputs: {
      ids: { shape: [T], values: Uint32Array.from(ids), dtype: 'u32' },
      w: { shape: [V, C], values: weights.words, dtype, requiresGrad: trained, parameter: true },
      order: whole(groups.order),
      starts: whole(groups.starts),
      groupIds: whole(groups.ids),
      count: whole(groups.count),
    },
    attributes: ({ order, starts, groupIds, count }) => ({
      groups: trained ? { order: order!, starts: starts!, ids: groupIds!, count: count! } : null,
    }),
    reference: () =>
      Float64Array.from({ length: T * C }, (_, i) => weights.values[ids[Math.floor(i / C)]! * C + (i % C)] ?? 0),
    gradients(_, dOut) {
      const w = new Float64Array(V * C);
      ids.slice(0, tokens).forEach((id, t) => {
        for (let c = 0; c < C && id < V; c++) w[id * C + c]! += dOut[t * C + c]!;
      });
      return { w };
    },
    tolerance: 1e-6,
    traits,
    precision,
  });
}

describe('embedding', () => {
  for (const shape of [
    { V: 1, C: 1, ids: [0, 0, 0], trained: true },
    // Repeated ids, the first and the last id, and padding that must not count.
    { V: 29, C: 37, ids: [28, 3, 3, 0, 28, 3, 11, 0, 0, 0], tokens: 7, trained: true },
    { V: 5, C: 132, ids: [4, 4, 1], trained: true },
    // Ids outside the vocabulary read as zero.
    { V: 7, C: 6, ids: [6, 7, 0xffffffff, 0] },
    { V: 11, C: 7, ids: [10, 0, 5, 5], dtype: 'f16' },
    { V: 11, C: 7, ids: [10, 0, 5, 3, 9], dtype: 'bf16' },
  ] satisfies Case[]) {
    const run = shape.C % 2 === 0 ? testPrecisions : testFamilies;
    run(JSON.stringify(shape), (traits, precision?: Precision) => check(shape, traits, precision));
  }

  // A binding of 1 KiB splits these weights into several shards of rows.
  for (const shape of [
    { V: 70, C: 16, ids: [0, 15, 16, 69, 64, 16, 70, 3, 0], trained: true },
    { V: 90, C: 16, ids: [0, 31, 32, 89, 64, 32, 90], dtype: 'bf16' },
  ] satisfies Case[]) {
    testFamilies(`split by rows ${JSON.stringify(shape)}`, (traits) =>
      check(shape, { ...traits, limits: { ...traits.limits, bindingBytes: 1024, bufferBytes: 8192 } }),
    );
  }

  testFamilies('more tokens than workgroups of one dimension', async (traits) => {
    const [T, V, C] = [70001, 70003, 3];
    const tokenOf = (id: number) => V - 3 - id;
    const memory = new Memory(traits.limits);
    const whole = (label: string, values: Uint32Array<ArrayBuffer>) =>
      [memory.declare(label, [values.length], { dtype: 'u32' }), values] as const;
    const ids = whole(
      'ids',
      Uint32Array.from({ length: T }, (_, t) => tokenOf(t)),
    );
    // Every id once, in the opposite order.
    const order = whole(
      'order',
      Uint32Array.from({ length: T }, (_, g) => T - 1 - g),
    );
    const starts = whole(
      'starts',
      Uint32Array.from({ length: T + 1 }, (_, g) => g),
    );
    const distinct = whole(
      'distinct',
      Uint32Array.from({ length: T }, (_, g) => tokenOf(T - 1 - g)),
    );
    const count = whole('count', Uint32Array.of(T));
    const w = memory.declare('w', [V, C], { requiresGrad: true });
    const dw = memory.declare('dw', [V, C]);
    const dy = memory.declare('dy', [T, C]);
    const tape = new Tape(traits, new Map([[w.id, dw]]));
    const groups = { order: order[0], starts: starts[0], ids: distinct[0], count: count[0] };
    tape.backward(tape.apply(embedding, { ids: ids[0], w }, { groups }), dy);
    const values = randomArray(T * C, 5);
    const [result] = await execute(tape, memory, [ids, order, starts, distinct, count, [dy, values]], [dw]);
    const got = new Float32Array(result!);
    const wrong = got.findIndex((value, i) => value !== (values[tokenOf(Math.floor(i / C)) * C + (i % C)] ?? 0));
    expect(wrong, 'first wrong element').toBe(-1);
  });
});
