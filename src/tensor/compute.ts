/** Computes something once on a device: to try an op, to check one, or to use ops for something else than a model. */
import type { Gpu, GpuTraits } from '../gpu/device.ts';
import { sum } from '../kernels/add.ts';
import { countOf, type Tensor } from '../kernels/define.ts';
import { invariant } from '../platform/errors.ts';
import { download, Memory, upload } from './memory.ts';
import { Pool, Program } from './program.ts';
import { Tape } from './tape.ts';
import type { Trace } from './trace.ts';

export type Values = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

/** What is computed with. */
export interface Given {
  /** Row-major. */
  readonly shape: readonly number[];
  /** f32 values and integers as they are, f16 and bf16 as their packed words. */
  readonly values: Values;
  /** `f32` if left out. */
  readonly dtype?: Tensor['dtype'];
  /** Whether its gradient is wanted. */
  readonly trained?: boolean;
}

/** What the backward pass begins with, and which kernels run. */
export interface ComputeOptions {
  /** Gradient of what is computed, of its shape; ones if left out, so that gradients are those of the sum. */
  readonly gradient?: Float32Array<ArrayBuffer>;
  /** Which kernels are used: those of the device if left out. */
  readonly traits?: GpuTraits;
}

/** What a computation gave, read back from the device. */
export interface Computed<Name extends string> {
  /** The values of what `build` returned, row-major. */
  readonly out: Float32Array<ArrayBuffer>;
  /** Gradients of the inputs that are `trained`. */
  readonly gradients: Partial<Record<Name, Float32Array<ArrayBuffer>>>;
}

/**
 * Runs what `build` appends to a tape, and its backward pass where an input is `trained`. Everything that it takes on the GPU is
 * freed again. Throws `KERNEL` for a kernel that does not compile, `OUT_OF_MEMORY`, `DEVICE_LOST`.
 */
export async function compute<Name extends string>(
  gpu: Gpu,
  given: Readonly<Record<Name, Given>>,
  build: (tape: Tape, tensors: Readonly<Record<Name, Tensor>>) => Tensor,
  options: ComputeOptions = {},
): Promise<Computed<Name>> {
  const { traits = gpu } = options;
  const memory = new Memory(traits.limits);
  const uploads: [Tensor, Values][] = [];
  const parameters = new Map<number, Tensor>();
  const names: Name[] = [];
  const tensors = {} as Record<Name, Tensor>;
  for (const [name, { shape, values, dtype = 'f32', trained = false }] of Object.entries<Given>(given)) {
    const tensor = memory.declare(name, shape, { dtype, requiresGrad: trained, category: 'weights' });
    tensors[name as Name] = tensor;
    uploads.push([tensor, values]);
    if (!trained) continue;
    names.push(name as Name);
    parameters.set(tensor.id, memory.declare(`d ${name}`, shape));
  }
  const tape = new Tape(traits, parameters);
  const out = build(tape, tensors);
  const kept = memory.declare('kept', out.shape);
  sum(tape, out, null, kept);
  if (names.length > 0) {
    const gradient = memory.declare('gradient', out.shape);
    uploads.push([gradient, options.gradient ?? new Float32Array(countOf(out)).fill(1)]);
    tape.backward(out, gradient);
  }
  const [values, ...gradients] = await runOnce(gpu, tape, memory, uploads, [kept, ...parameters.values()]);
  invariant(values, 'nothing was computed');
  const byName = names.map((name, index) => [name, gradients[index]] as const);
  return { out: values, gradients: Object.fromEntries(byName) as Computed<Name>['gradients'] };
}

/** Runs a trace with memory of its own; the values of `results` afterwards. */
export async function runOnce(
  gpu: Gpu,
  trace: Trace,
  memory: Memory,
  uploads: readonly (readonly [Tensor, Values])[],
  results: readonly Tensor[],
): Promise<Float32Array<ArrayBuffer>[]> {
  const pool = new Pool();
  let program: Program | null = null;
  try {
    await memory.allocate(gpu);
    for (const [tensor, values] of uploads) upload(gpu, memory, tensor, values);
    program = await Program.build(gpu, trace, memory, pool);
    await program.run();
    const read: Float32Array<ArrayBuffer>[] = [];
    for (const tensor of results) read.push(new Float32Array(await download(gpu, memory, tensor)));
    return read;
  } finally {
    program?.close();
    pool.close(gpu);
    memory.close(gpu);
    await gpu.collect();
  }
}
