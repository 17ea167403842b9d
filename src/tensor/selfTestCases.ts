/** Small problems for every op: odd sizes, every storage type, every gradient. */
import type { Tensor } from '../kernels/define.ts';
import type { Activation } from '../kernels/gatedActivation.ts';
import { invariant } from '../platform/errors.ts';
import type { Given } from './compute.ts';
import { Memory } from './memory.ts';
import * as ops from './ops.ts';
import { KERNEL_CASES } from './selfTestKernels.ts';
import {
  differentiate,
  type Expected,
  type Lab,
  largestError,
  randomValues,
  type SelfTestCase,
  stored,
} from './selfTestLab.ts';
import type { Numbers } from './selfTestReferences.ts';
import * as reference from './selfTestReferences.ts';
import { Tape } from './tape.ts';

const f32 = (shape: readonly number[], stream: number, trained = false, scale = 1): Given => ({
  shape,
  values: randomValues(
    shape.reduce((a, b) => a * b, 1),
    stream,
    scale,
  ),
  trained,
});
const u32 = (...values: number[]): Given => ({
  shape: [values.length],
  values: Uint32Array.from(values),
  dtype: 'u32',
});

/** References are the slow part and the same for every family of kernels. */
function once<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function tensorOf(tensors: Readonly<Record<string, Tensor>>, name: string): Tensor {
  const tensor = tensors[name];
  invariant(tensor, `${name} is not given`);
  return tensor;
}

function add(): SelfTestCase {
  const given = { a: f32([3, 7], 1), b: f32([3, 7], 2) };
  const expected = { out: given.a.values.map((value, i) => value + (given.b.values[i] ?? 0)), gradients: [] };
  return { op: 'add', run: (lab) => lab.op(ops.add, given, {}, expected) };
}

function rmsNorm(): SelfTestCase {
  const given = { x: f32([3, 37], 1, true, 2), w: f32([37], 2, true) };
  const expected = once(() => differentiate(given, (values) => reference.rmsNorm(values, 3, 37, 1e-5)));
  return { op: 'rmsNorm', run: (lab) => lab.op(ops.rmsNorm, given, { eps: 1e-5 }, expected()) };
}

function rope(): SelfTestCase {
  const given = { x: f32([4, 18], 1, true), positions: u32(0, 1, 5, 0), table: f32([6, 6], 2) };
  const expected = once(() => differentiate(given, (values) => reference.rope(values, 18, 6)));
  return { op: 'rope', run: (lab) => lab.op(ops.rope, given, {}, expected()) };
}

function gatedActivation(kind: Activation): SelfTestCase {
  const given = { gate: f32([3, 33], 1, true, 4), up: f32([3, 33], 2, true) };
  const expected = once(() =>
    differentiate(given, ({ gate = [], up = [] }) =>
      Float64Array.from(gate, (x, i) => reference.ACTIVATIONS[kind](x) * (up[i] ?? 0)),
    ),
  );
  return { op: 'gatedActivation', run: (lab) => lab.op(ops.gatedActivation, given, { kind }, expected()) };
}

/** The last two tokens are padding: they read row 0 and add to no gradient. */
function embedding(dtype: 'f32' | 'f16' | 'bf16'): SelfTestCase {
  const [V, C] = [11, 9];
  const ids = [10, 3, 0, 3, 10, 0, 0];
  const trained = dtype === 'f32';
  const table = stored([V, C], 1, dtype);
  const given = {
    ids: u32(...ids),
    w: { ...table, trained },
    order: u32(2, 1, 3, 0, 4, 0, 0),
    starts: u32(0, 1, 3, 5, 5, 5, 5, 5),
    groupIds: u32(0, 3, 10, 0, 0, 0, 0),
    count: u32(3),
  };
  const expected = once((): Expected => {
    const lookUp = (w: Numbers, count: number) =>
      Float64Array.from({ length: count * C }, (_, i) => w[(ids[Math.floor(i / C)] ?? 0) * C + (i % C)] ?? 0);
    const { gradients } = differentiate(
      { w: { ...table, values: Float32Array.from(table.numbers), trained } },
      ({ w = [] }) =>
        // Padding is part of the output and not of the gradient.
        lookUp(w, ids.length).map((value, i) => (i < 5 * C ? value : 0)),
    );
    return { out: lookUp(table.numbers, ids.length), gradients };
  });
  const groups = (tensors: Readonly<Record<string, Tensor>>) => ({
    order: tensorOf(tensors, 'order'),
    starts: tensorOf(tensors, 'starts'),
    ids: tensorOf(tensors, 'groupIds'),
    count: tensorOf(tensors, 'count'),
  });
  return {
    op: 'embedding',
    run: (lab) => lab.op(ops.embedding, given, (tensors) => ({ groups: trained ? groups(tensors) : null }), expected()),
  };
}

/** Row 0xffffffff is padding. */
function selectRows(): SelfTestCase {
  const [T, C] = [5, 6];
  const rows = [1, 4, 0xffffffff];
  const given = {
    x: f32([T, C], 1, true),
    rows: u32(...rows),
    inverse: { shape: [T], values: Int32Array.of(-1, 0, -1, -1, 1), dtype: 'i32' } as const,
  };
  const expected = once(() =>
    differentiate(given, ({ x = [] }) =>
      Float64Array.from({ length: rows.length * C }, (_, i) => x[(rows[Math.floor(i / C)] ?? 0) * C + (i % C)] ?? 0),
    ),
  );
  return { op: 'selectRows', run: (lab) => lab.op(ops.selectRows, given, {}, expected()) };
}

interface LinearCase {
  readonly T: number;
  readonly K: number;
  readonly N: number;
  readonly dtype?: 'f32' | 'f16' | 'bf16';
  readonly r?: number;
  readonly dropout?: number;
}

function linear({ T, K, N, dtype = 'f32', r = 0, dropout = 0 }: LinearCase): SelfTestCase {
  const trained = dtype === 'f32';
  const w = stored([N, K], 2, dtype);
  const mask = dropout > 0 ? { p: dropout, stream: 3, seed: 12345 } : null;
  const rest = {
    x: f32([T, K], 1, true),
    bias: f32([N], 3, trained),
    residual: f32([T, N], 4),
    ...(r > 0 && { loraA: f32([r, K], 5, true), loraB: f32([N, r], 6, true) }),
  };
  const given = { ...rest, w: { ...w, trained }, ...(mask && { seed: u32(mask.seed) }) };
  const expected = once(() =>
    differentiate({ ...rest, w: { ...w, values: Float32Array.from(w.numbers), trained } }, (values) =>
      reference.linear(values, { T, K, N, r, scale: 1.5, mask }),
    ),
  );
  const attributes = { scale: 1.5, dropout: mask && { p: mask.p, stream: mask.stream } };
  return { op: 'linear', run: (lab) => lab.op(ops.linear, given, attributes, expected()) };
}

/** Two documents and a padding token. */
function attention(D: number, window: number): SelfTestCase {
  const documents = [6, 3, 1];
  const shape = { heads: 2, groups: 1, D, scale: 1 / Math.sqrt(D) };
  const bounds = documents.flatMap((length, index) => {
    const start = documents.slice(0, index).reduce((a, b) => a + b, 0);
    return Array.from({ length }, () => ({ start, end: start + length }));
  });
  const rows = bounds.map(({ start }, i) => ({ first: Math.max(start, window > 0 ? i - window + 1 : 0), last: i }));
  const T = rows.length;
  const given = {
    q: f32([T, 2 * D], 1, true, 2),
    k: f32([T, D], 2, true, 2),
    v: f32([T, D], 3, true),
    starts: u32(...bounds.map(({ start }) => start)),
    ends: u32(...bounds.map(({ end }) => end)),
  };
  const expected = once(() => differentiate(given, (values) => reference.attention(values, shape, rows)));
  const attributes = { heads: 2, groups: 1, scale: shape.scale, window };
  return { op: 'attention', run: (lab) => lab.op(ops.attention, given, attributes, expected()) };
}

/** Two new tokens of one sequence at rows 5 and 6 of a cache that holds five; the third is padding. */
function cachedAttention(): SelfTestCase {
  const [D, N, shape] = [8, 9, { heads: 2, groups: 1, D: 8, scale: 0.4 }];
  const given = {
    q: f32([3, 2 * D], 1),
    k: f32([3, D], 2),
    v: f32([3, D], 3),
    cacheK: f32([N, D], 4),
    cacheV: f32([N, D], 5),
    firsts: u32(1, 1, 0),
    slots: u32(5, 6, 0xffffffff),
  };
  const cache = (old: Given, fresh: Given) => {
    const values = Float64Array.from(old.values);
    values.set(fresh.values.subarray(0, 2 * D), 5 * D);
    return values;
  };
  const expected = once((): Expected => {
    const values = { q: given.q.values, k: cache(given.cacheK, given.k), v: cache(given.cacheV, given.v) };
    const rows = [5, 6].map((last) => ({ first: 1, last }));
    return { out: reference.attention(values, shape, rows), gradients: [] };
  });
  const attributes = { heads: 2, groups: 1, scale: shape.scale, window: 0 };
  return { op: 'cachedAttention', run: (lab) => lab.op(ops.cachedAttention, given, attributes, expected()) };
}

/** The loss is its own scalar: its gradient is that of scale · Σ losses. */
function linearCrossEntropy(): SelfTestCase {
  const [R, C, V, scale] = [5, 12, 41, 0.25];
  const x = f32([R, C], 1, true, 2);
  const w = f32([V, C], 2, true, 2);
  const targets = Uint32Array.of(0, 40, 7, 0xffffffff, 13);
  const losses = (values: Readonly<Record<string, Numbers>>) => reference.crossEntropy({ ...values, targets }, C, V);
  const expected = once(() => ({
    losses: losses({ x: x.values, w: w.values }),
    // The op ignores the gradient that it is given: what it writes is that of this sum.
    gradients: differentiate({ x, w }, losses, () => scale).gradients,
  }));
  const run = async (lab: Lab, training: boolean): Promise<number> => {
    const memory = new Memory(lab.traits.limits);
    const declare = (label: string, shape: readonly number[], dtype: Tensor['dtype'] = 'f32') =>
      memory.declare(label, shape, { dtype, requiresGrad: training && (label === 'x' || label === 'w') });
    const x0 = declare('x', [R, C]);
    const tensors = {
      w: declare('w', [V, C]),
      targets: declare('targets', [R], 'u32'),
      scale: declare('scale', [1]),
      total: declare('total', [1]),
    };
    const [positions, table] = [declare('positions', [R], 'u32'), declare('table', [1, C])];
    const [kept, dx, dw] = [declare('losses', [R]), declare('dx', [R, C]), declare('dw', [V, C])];
    const parameters = new Map([
      [x0.id, dx],
      [tensors.w.id, dw],
    ]);
    const tape = new Tape(lab.traits, training ? parameters : null);
    // The op writes the gradient of x, so x must be no parameter: a rotation by the angle 0 makes it the tape's own.
    const rotated = tape.apply(ops.rope, { x: x0, positions, table }, {});
    const out = tape.apply(ops.linearCrossEntropy, { ...tensors, x: rotated }, { losses: kept, training });
    if (training) tape.backward(out);
    const uploads = [
      [x0, x.values],
      [table, Float32Array.from({ length: C }, (_, i) => (i < C / 2 ? 1 : 0))],
      [tensors.w, w.values],
      [tensors.targets, targets],
      [tensors.scale, Float32Array.of(scale)],
    ] as const;
    const results = [kept, tensors.total, dx, dw];
    const [got = [], total = [], ...gradients] = await lab.run(tape, memory, uploads, results);
    const want = expected();
    const errors = [
      largestError(got, want.losses),
      largestError(total, [want.losses.reduce((sum, loss) => sum + loss, 0)]),
    ];
    const gradientErrors = gradients.map((gradient, index) => largestError(gradient, want.gradients[index] ?? []));
    return Math.max(...errors, ...(training ? gradientErrors : []));
  };
  return { op: 'linearCrossEntropy', run: async (lab) => Math.max(await run(lab, false), await run(lab, true)) };
}

export const SELF_TEST_CASES: readonly SelfTestCase[] = [
  add(),
  ...(['f32', 'f16', 'bf16'] as const).map(embedding),
  rmsNorm(),
  rope(),
  linear({ T: 5, K: 13, N: 9 }),
  linear({ T: 6, K: 12, N: 20, dtype: 'f16', r: 3 }),
  linear({ T: 4, K: 10, N: 7, dtype: 'bf16', r: 8, dropout: 0.3 }),
  attention(8, 0),
  attention(32, 4),
  cachedAttention(),
  ...(['silu', 'gelu', 'gelu_tanh'] as const).map(gatedActivation),
  selectRows(),
  linearCrossEntropy(),
  ...KERNEL_CASES,
];
