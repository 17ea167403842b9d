/** Runs small problems on a device and compares with references in float64. */
import type { Gpu, GpuTraits } from '../gpu/device.ts';
import type { Inputs, OpDefinition, Tensor } from '../kernels/define.ts';
import { randomStream } from '../platform/random.ts';
import { compute, type Given, runOnce, type Values } from './compute.ts';
import type { Memory } from './memory.ts';
import { type Numbers, packed } from './selfTestReferences.ts';
import type { Tape } from './tape.ts';
import type { Trace } from './trace.ts';

/** Numbers in (-1, 1) · `scale`, the same ones every time. */
export function randomValues(count: number, stream: number, scale = 1): Float32Array<ArrayBuffer> {
  const next = randomStream(1, stream);
  return Float32Array.from({ length: count }, () => (next() / 2 ** 31 - 1) * scale);
}

/** A matrix of multiples of 1/128, which every storage type holds exactly. */
export function stored(
  shape: readonly [number, number],
  stream: number,
  dtype: 'f32' | 'f16' | 'bf16',
): Given & { numbers: Numbers } {
  const numbers = randomValues(shape[0] * shape[1], stream, 127).map((value) => Math.round(value) / 128);
  return { shape, dtype, values: dtype === 'f32' ? numbers : packed(numbers, dtype), numbers };
}

/** The largest |got − expected| ÷ (1 + |expected|); infinite where a number is missing or not finite. */
export function largestError(got: Numbers, expected: Numbers): number {
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const [have, want] = [got[i] ?? Number.NaN, expected[i] ?? Number.NaN];
    const error = Math.abs(have - want) / (1 + Math.abs(want));
    largest = Math.max(largest, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  return largest;
}

export class Lab {
  readonly traits: GpuTraits;
  private readonly gpu: Gpu;

  constructor(gpu: Gpu, traits: GpuTraits) {
    this.gpu = gpu;
    this.traits = traits;
  }

  /** Runs a trace once, with memory of its own; the values of `results` afterwards. */
  run(
    trace: Trace,
    memory: Memory,
    uploads: readonly (readonly [Tensor, Values])[],
    results: readonly Tensor[],
  ): Promise<Float32Array[]> {
    return runOnce(this.gpu, trace, memory, uploads, results);
  }

  /** The largest error of an op's output and of the gradients of its trained inputs. */
  async op<I extends Inputs, A, S>(
    op: OpDefinition<I, A, S>,
    given: Readonly<Record<string, Given>>,
    attributes: A | ((tensors: Readonly<Record<string, Tensor>>) => A),
    expected: Expected,
  ): Promise<number> {
    const build = (tape: Tape, tensors: Readonly<Record<string, Tensor>>) => {
      const resolved =
        typeof attributes === 'function' ? (attributes as (t: typeof tensors) => A)(tensors) : attributes;
      return tape.apply(op, tensors as unknown as I, resolved);
    };
    const { gpu, traits } = this;
    const { out, gradients } = await compute(gpu, given, build, {
      traits,
      gradient: outputWeights(expected.out.length),
    });
    const trained = Object.keys(given).filter((name) => given[name]?.trained);
    return Math.max(
      largestError(out, expected.out),
      ...trained.map((name, index) => largestError(gradients[name] ?? [], expected.gradients[index] ?? [Number.NaN])),
    );
  }
}

export interface Expected {
  readonly out: Numbers;
  /** Of Σ out · outputWeights, for each trained input in its order. */
  readonly gradients: readonly Numbers[];
}

/** What the gradients are those of: Σ out · weights. */
function outputWeights(count: number): Float32Array<ArrayBuffer> {
  return randomValues(count, 99);
}

/** The output of a reference and the gradients of Σ out · weights by central differences of fourth order. */
export function differentiate(
  given: Readonly<Record<string, Given>>,
  reference: (values: Readonly<Record<string, Numbers>>) => Numbers,
  weight?: () => number,
): Expected {
  const values: Record<string, Numbers> = Object.fromEntries(
    Object.entries(given).map(([name, input]) => [name, Float64Array.from(input.values)]),
  );
  const out = reference(values);
  const weights = Float64Array.from(weight ? Array.from(out, weight) : outputWeights(out.length));
  const total = (name: string, changed: Numbers) => {
    const result = reference({ ...values, [name]: changed });
    return weights.reduce((sum, weight, i) => sum + weight * (result[i] ?? 0), 0);
  };
  const h = 1e-3;
  const gradients = Object.entries(given).flatMap(([name, { trained, values: original }]) => {
    if (!trained) return [];
    const moved = Float64Array.from(original);
    return [
      Float64Array.from(original, (value, index) => {
        const at = (delta: number) => {
          moved[index] = value + delta;
          return total(name, moved);
        };
        const slope = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
        moved[index] = value;
        return slope;
      }),
    ];
  });
  return { out, gradients };
}

export interface SelfTestCase {
  /** The op or kernel that it is about. Several cases may be about one. */
  readonly op: string;
  /** The largest error of these. */
  readonly run: (lab: Lab) => Promise<number>;
}
