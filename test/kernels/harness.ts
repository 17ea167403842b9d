/**
 * One helper for all op tests: the op's forward pass and each input's gradient against a plain reference in float64, for every
 * kernel family that the adapter can run, with inputs as parameters (gradients added to) and as activations (written).
 *
 * Expected gradients are those of the scalar Σ out · weights with random weights: central differences of the reference, or a
 * closed form where the test has one. Memory of the program holds NaN before it runs, so that whatever an op forgets to write
 * shows.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Family, Gpu, type GpuTraits } from '../../src/gpu/device.ts';
import { CATEGORIES } from '../../src/gpu/ledger.ts';
import { sum } from '../../src/kernels/add.ts';
import { castInto } from '../../src/kernels/cast.ts';
import {
  countOf,
  defineKernel,
  defineOp,
  type Inputs,
  type OpDefinition,
  type Quantization,
  type Step,
  type Tensor,
} from '../../src/kernels/define.ts';
import { main } from '../../src/kernels/wgsl.ts';
import { download, Memory, upload } from '../../src/tensor/memory.ts';
import { Pool, Program } from '../../src/tensor/program.ts';
import { Tape } from '../../src/tensor/tape.ts';
import type { Trace } from '../../src/tensor/trace.ts';

let gpu: Gpu;

/** Opens the file's one device before its tests and closes it after. */
export function useGpu(): () => Gpu {
  beforeAll(async () => {
    gpu = await Gpu.open();
  });
  afterAll(async () => {
    await gpu.close();
    expect(gpu.ledger.count, 'buffers alive after closing').toBe(0);
  });
  return () => gpu;
}

export const FAMILIES: readonly Family[] = ['broadcast', 'registers', 'tiled'];

/** The adapter seen as one of a given family, or null when it cannot run those kernels. */
export function traitsOf(family: Family, limits = gpu.limits): GpuTraits | null {
  const { subgroupSize, nativeF16 } = gpu;
  if (family === 'broadcast') return subgroupSize > 0 ? { family, subgroupSize, nativeF16, limits } : null;
  return { family, subgroupSize: 0, nativeF16, limits };
}

/** Runs a test once for each kernel family; one that the adapter cannot run is skipped by name. */
export function testFamilies(name: string, run: (traits: GpuTraits) => Promise<void>): void {
  for (const family of FAMILIES) {
    test(`${name} (${family})`, async (context) => {
      const traits = traitsOf(family);
      if (!traits) return context.skip(`${gpu.name} has no single subgroup size`);
      return run(traits);
    });
  }
}

/** How activations are stored: `f16` by the adapter's own type, `packed` two to a word. */
export type Precision = 'f32' | 'f16' | 'packed';

/** Half the distance of two numbers of f16 ÷ the smaller: what rounding a result to f16 may change. */
export const F16_ROUNDING = 2 ** -11;

/** Runs a test once for each kernel family and for each way to store activations that the adapter has. */
export function testPrecisions(name: string, run: (traits: GpuTraits, precision: Precision) => Promise<void>): void {
  for (const precision of ['f32', 'packed', 'f16'] as const) {
    for (const family of FAMILIES) {
      test(`${name} (${family}, ${precision})`, async (context) => {
        const traits = traitsOf(family);
        if (!traits) return context.skip(`${gpu.name} has no single subgroup size`);
        if (precision === 'f16' && !traits.nativeF16) return context.skip(`${gpu.name} has no f16 in shaders`);
        return run({ ...traits, nativeF16: traits.nativeF16 && precision !== 'packed' }, precision);
      });
    }
  }
}

/** The nearest f16, ties to even. */
export function roundF16(value: number): number {
  const unit = 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(value)))) - 10);
  const scaled = value / unit;
  const down = Math.floor(scaled);
  const rest = scaled - down;
  const rounded = (rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down) * unit;
  return Math.abs(rounded) > 65504 ? Math.sign(value) * Number.POSITIVE_INFINITY : rounded;
}

/** Deterministic numbers in (-1, 1): a linear congruential generator is random enough for tests. */
export function random(seed: number): () => number {
  let state = seed * 2654435761 + 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32) * 2 - 1;
  };
}

export function randomArray(count: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  const next = random(seed);
  return Float32Array.from({ length: count }, () => next() * scale);
}

export type Values = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

export interface TestInput {
  readonly shape: readonly number[];
  /** f32 values; for other types the packed words. */
  readonly values: Values;
  readonly dtype?: Tensor['dtype'];
  /** Of nf4 and i8. */
  readonly quantization?: Omit<Quantization, 'statistics'> & { readonly statistics: Uint32Array<ArrayBuffer> };
  readonly requiresGrad?: boolean;
  /** Always a parameter of a model, so that its gradient is only ever added to. */
  readonly parameter?: boolean;
  /** Never a parameter: its gradient is that of the output, passed on. */
  readonly passed?: boolean;
}

/** Runs a trace once on the device of this file and returns the given persistent tensors. */
export async function execute(
  trace: Trace,
  memory: Memory,
  uploads: readonly (readonly [Tensor, Values])[],
  results: readonly Tensor[],
): Promise<ArrayBuffer[]> {
  await memory.allocate(gpu);
  const pool = new Pool();
  for (const [tensor, values] of uploads) upload(gpu, memory, tensor, values);
  const program = await Program.build(gpu, trace, memory, pool);
  poison(gpu, pool, program);
  await program.run();
  const out: ArrayBuffer[] = [];
  for (const tensor of results) out.push(await download(gpu, memory, tensor));
  program.close();
  pool.close(gpu);
  memory.close(gpu);
  await gpu.collect();
  return out;
}

/** Fills the buffers of a program's transient tensors with NaN. */
export function poison(gpu: Gpu, pool: Pool, program: Program): void {
  for (const category of CATEGORIES) {
    program.plan.slots[category]?.forEach((_, slot) => {
      const buffer = pool.locate(category, slot);
      gpu.write(buffer, 0, new Uint8Array(buffer.size).fill(0xff));
    });
  }
}

const addTo = defineKernel({
  name: 'test.addTo',
  uniforms: { count: 'u32' },
  reads: (_: object) => ({ x: 'f32' }),
  writes: () => ({ y: 'f32' }),
  source: () => `${main(64)} { let i = wg.x * 64u + lane; if (i < u.count) { y[i] += x[i]; } }`,
});

/**
 * Passes its input on as an activation of the program, in the program's type, so that the gradient of that tensor is
 * written, not added to.
 */
export const identity = defineOp({
  name: 'identity',
  check: (_: { x: Tensor }, __: object) => {},
  forward(step, { x }) {
    const out = step.tensor('identity', x.shape, { dtype: step.activation });
    convert(step, x, out);
    return { out, saved: null };
  },
  backward(step, _, dOut, gradients) {
    const dx = gradients.into('x');
    if (!dx) return;
    const wide = dOut.dtype === 'f32' ? dOut : step.tensor('d identity', dOut.shape);
    if (wide !== dOut) convert(step, dOut, wide);
    const count = countOf(dOut);
    step.run(addTo, {}, { x: wide, y: dx.tensor }, { count }, [Math.ceil(count / 64)]);
  },
});

/** Passes `out` on and gives every other input the gradient that lies in `given`, so that the op before it adds to that. */
const giveGradients = defineOp({
  name: 'giveGradients',
  check: (_: Inputs & { out: Tensor }, __: { given: Readonly<Record<string, Tensor>> }) => {},
  forward(step, inputs, { given }) {
    const out = step.tensor('out', inputs.out.shape, { dtype: inputs.out.dtype });
    convert(step, inputs.out, out);
    return { out, saved: given };
  },
  backward(step, given, dOut, gradients) {
    gradients.pass('out', dOut);
    for (const [name, gradient] of Object.entries(given)) {
      const place = gradients.into(name);
      if (place) convert(step, gradient, place.tensor);
    }
  },
});

function convert(step: Step, x: Tensor, y: Tensor): void {
  if (x.dtype === y.dtype) sum(step, x, null, y);
  else castInto(step, x, y);
}

export interface OpCheck<I extends Inputs, A, S> {
  readonly op: OpDefinition<I, A, S>;
  readonly inputs: Readonly<Record<string, TestInput | undefined>>;
  /** Or a function of the inputs' tensors, for attributes that hold some. */
  readonly attributes: A | ((tensors: Readonly<Record<string, Tensor>>) => A);
  /** out from the values of the inputs, in float64. */
  readonly reference: (values: Readonly<Record<string, ArrayLike<number>>>) => ArrayLike<number>;
  /** Gradients in closed form, by input, from the values and the gradient of out; every element is then compared. */
  readonly gradients?: (
    values: Readonly<Record<string, Float64Array>>,
    dOut: ArrayLike<number>,
  ) => Readonly<Record<string, ArrayLike<number>>>;
  /** Largest allowed |got − expected| ÷ (1 + |expected|), forward and backward. f32 sums of a few hundred terms: 1e-5. */
  readonly tolerance?: number;
  /**
   * How activations are stored: inputs that need a gradient and are no parameters, the output, and their gradients. Below
   * f32, each result is rounded once more: F16_ROUNDING is added to the tolerance.
   */
  readonly precision?: Precision | undefined;
  readonly traits: GpuTraits;
}

export async function checkOp<I extends Inputs, A, S>(check: OpCheck<I, A, S>): Promise<void> {
  const { reference, inputs, precision = 'f32' } = check;
  const half = precision !== 'f32';
  const tolerance = (check.tolerance ?? 2e-5) + (half ? F16_ROUNDING : 0);
  const present = Object.entries(inputs)
    .filter((entry): entry is [string, TestInput] => entry[1] !== undefined)
    .map(([name, input]): [string, TestInput] => {
      const stored = half && input.requiresGrad === true && !input.parameter;
      return [name, stored ? { ...input, values: Float32Array.from(input.values, roundF16) } : input];
    });
  const values = Object.fromEntries(present.map(([name, { values }]) => [name, Float64Array.from(values)]));
  const expected = reference(values);
  const weights = randomArray(expected.length, 99).map((weight) => (half ? roundF16(weight) : weight));
  for (const mode of half ? (['activations', 'accumulated'] as const) : (['parameters', 'activations'] as const)) {
    const { out, gradients } = await runOp(check, present, weights, mode);
    expectClose(`${check.op.name} out, inputs as ${mode}`, out, expected, tolerance);
    if (!check.op.backward) continue;
    const closed = check.gradients?.(values, weights);
    for (const [name, { values: original, requiresGrad = false }] of present) {
      if (!requiresGrad) continue;
      if (closed) {
        expectClose(
          `${check.op.name} d${name}, inputs as ${mode}`,
          gradients.get(name) ?? [],
          closed[name] ?? [Number.NaN],
          tolerance * 4,
        );
        continue;
      }
      const difference = 1e-4;
      const places = sample(original.length);
      const wanted = places.map((index) => {
        const at = (delta: number) => {
          const moved = Float64Array.from(original);
          moved[index] = (moved[index] ?? 0) + delta;
          const result = reference({ ...values, [name]: moved });
          return weights.reduce((total, weight, i) => total + weight * (result[i] ?? 0), 0);
        };
        // Fourth-order central difference.
        return (
          (8 * (at(difference) - at(-difference)) - (at(2 * difference) - at(-2 * difference))) / (12 * difference)
        );
      });
      const got = gradients.get(name);
      expect(got, `gradient of ${name}`).toBeDefined();
      const chosen = places.map((index) => got?.[index] ?? Number.NaN);
      expectClose(`${check.op.name} d${name} at [${places}], inputs as ${mode}`, chosen, wanted, tolerance * 4);
    }
  }
}

/** Up to 40 places spread over an array, its ends included: a reference is evaluated four times for each. */
function sample(length: number): number[] {
  const count = Math.min(length, 40);
  return Array.from({ length: count }, (_, i) => Math.round((i * (length - 1)) / Math.max(1, count - 1)));
}

async function runOp<I extends Inputs, A, S>(
  check: OpCheck<I, A, S>,
  present: readonly [string, TestInput][],
  weights: Float32Array<ArrayBuffer>,
  mode: 'parameters' | 'activations' | 'accumulated',
): Promise<{ out: Float32Array; gradients: Map<string, Float32Array> }> {
  const { op, traits } = check;
  const memory = new Memory(traits.limits);
  const uploads: [Tensor, Values][] = [];
  const parameters = new Map<number, Tensor>();
  const leaves = present.map(([name, { shape, values, dtype, quantization: blocks, requiresGrad = false }]) => {
    const statistics = blocks && memory.declare('statistics', [blocks.statistics.length], { dtype: 'u32' });
    if (statistics) uploads.push([statistics, blocks.statistics]);
    const quantization = statistics && { ...blocks, statistics };
    const tensor = memory.declare(name, shape, {
      dtype: dtype ?? 'f32',
      requiresGrad,
      category: 'weights',
      ...(quantization && { quantization }),
    });
    uploads.push([tensor, values]);
    if (requiresGrad) parameters.set(tensor.id, memory.declare(`d ${name}`, shape));
    return [name, tensor] as const;
  });
  const half = check.precision === 'f16' || check.precision === 'packed';
  const tape = new Tape(traits, parameters, half ? 'f16' : 'f32');
  const given = leaves.map(([name, leaf]): [string, Tensor] => [
    name,
    leaf.requiresGrad &&
    !leaf.shards &&
    (check.inputs[name]?.passed || (mode !== 'parameters' && !check.inputs[name]?.parameter))
      ? tape.apply(identity, { x: leaf }, {})
      : leaf,
  ]);
  const attributes =
    typeof check.attributes === 'function'
      ? (check.attributes as (tensors: object) => A)(Object.fromEntries(leaves))
      : check.attributes;
  let out = tape.apply(op, Object.fromEntries(given) as I, attributes);
  if (mode === 'accumulated') {
    const activations = given.filter(([, tensor]) => tensor.requiresGrad && tape.transients.has(tensor.id));
    const halves = activations.map(([name, { shape }]) => [name, memory.declare('half', shape)] as const);
    for (const [, half] of halves) uploads.push([half, new Float32Array(countOf(half)).fill(0.5)]);
    out = tape.apply(giveGradients, { ...Object.fromEntries(activations), out }, { given: Object.fromEntries(halves) });
  }
  const kept = memory.declare('out', out.shape);
  convert(tape, out, kept);
  // Gradients of parameters are added to: start from something.
  const start = 0.5;
  for (const gradient of parameters.values())
    uploads.push([gradient, new Float32Array(gradient.shape.reduce((a, b) => a * b, 1)).fill(start)]);
  if (op.backward && parameters.size > 0) {
    const dOut = memory.declare('weights', out.shape);
    uploads.push([dOut, weights]);
    const stored = out.dtype === 'f32' ? dOut : tape.tensor('weights', out.shape, { dtype: out.dtype });
    if (stored !== dOut) convert(tape, dOut, stored);
    tape.backward(out, stored);
  }
  const [result, ...rest] = await execute(tape, memory, uploads, [kept, ...parameters.values()]);
  const names = leaves.filter(([, leaf]) => leaf.requiresGrad).map(([name]) => name);
  const gradients = new Map(
    names.map((name, index) => {
      const added = mode === 'accumulated' && !check.inputs[name]?.parameter ? start + 0.5 : start;
      return [name, new Float32Array(rest[index] ?? []).map((value) => value - added)];
    }),
  );
  return { out: new Float32Array(result ?? []), gradients };
}

/** Fails with the worst few places when two arrays differ by more than `tolerance` · (1 + |expected|). */
export function expectClose(
  what: string,
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  expect(got.length, `${what}: length`).toBeGreaterThanOrEqual(expected.length);
  const wrong: { index: number; error: number }[] = [];
  for (let index = 0; index < expected.length; index++) {
    const [have = Number.NaN, want = Number.NaN] = [got[index], expected[index]];
    const error = have === want ? 0 : Math.abs(have - want) / (1 + Math.abs(want));
    if (!(error <= tolerance)) wrong.push({ index, error: Number.isNaN(error) ? Number.POSITIVE_INFINITY : error });
  }
  if (wrong.length === 0) return;
  wrong.sort((a, b) => b.error - a.error);
  const places = wrong.slice(0, 5).map(({ index }) => `[${index}] got ${got[index]}, expected ${expected[index]}`);
  expect.fail(`${what}: ${wrong.length} of ${expected.length} differ by more than ${tolerance}: ${places.join('; ')}`);
}
