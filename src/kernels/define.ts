/**
 * What a kernel and an op are.
 *
 * A **kernel** is data: a name, the uniforms and bindings it declares once (struct, binding lines and byte packing all
 * follow from that), and WGSL. An **op** is a pair of functions that append kernels to a step: `forward`, and `backward`
 * for the inputs that need a gradient. Neither knows of devices, buffers or the tape.
 *
 * Gradient convention: a backward kernel writes (`=`) the first contribution to a gradient and adds (`+=`) the later ones;
 * the step says which by `accumulate`. Gradients of parameters are always added to.
 */
import type { GpuTraits } from '../gpu/device.ts';
import type { Category } from '../gpu/ledger.ts';
import { invariant, SftError } from '../platform/errors.ts';

/**
 * Storage types. f16 and bf16 are packed two to a u32, the even element in the low half. nf4 and i8 are codes of a
 * quantised matrix, in bytes packed four to a u32, the first in the lowest bits; a byte of nf4 holds two elements, the even
 * one in its high half.
 */
export type Dtype = 'f32' | 'u32' | 'i32' | 'f16' | 'bf16' | 'nf4' | 'i8';

/** Types of activations and their gradients; `activation.ts` says how kernels read and write them. */
export type ActivationDtype = Extract<Dtype, 'f32' | 'f16'>;

/**
 * How the codes of a frozen matrix become numbers. Elements are numbered row-major over the whole matrix, e = row · K + k:
 *
 *     nf4: NF4[code] · absmax[e / blockSize]          i8: code / 127 · absmax[e / blockSize]      (blockSize = K)
 *
 * `statistics` is u32 [words], never split: with `nested` false, absmax as f32 [blocks]. With `nested`, absmax[i] is
 * map[code[i]] · nestedAbsmax[i / 256] + offset, and the words are: map as f32 [256], offset as f32, nestedAbsmax as
 * f32 [⌈blocks / 256⌉], then the codes of absmax as bytes.
 */
export interface Quantization {
  readonly blockSize: number;
  readonly nested: boolean;
  readonly statistics: Tensor;
}

/** A symbolic tensor: it has a shape and, once a program is planned, a place; never values. */
export interface Tensor {
  readonly id: number;
  readonly label: string;
  /** Row-major. */
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  readonly category: Category;
  /** Whether a gradient is wanted for it or for something that it was made from. */
  readonly requiresGrad: boolean;
  /** Rows of a matrix that is too large for one binding, in order; the tensor itself is then never bound. */
  readonly shards?: readonly Tensor[];
  /** Set on a matrix of dtype nf4 or i8; its shards share it. */
  readonly quantization?: Quantization;
}

const BITS: Readonly<Record<Dtype, number>> = { f32: 32, u32: 32, i32: 32, f16: 16, bf16: 16, nf4: 4, i8: 8 };

/** Elements of a tensor. */
export function countOf({ shape }: { readonly shape: readonly number[] }): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Bytes of a tensor's elements, up to a whole u32; the statistics of a quantised one are a tensor of their own. */
export function bytesOf(tensor: { readonly shape: readonly number[]; readonly dtype: Dtype }): number {
  return Math.ceil((countOf(tensor) * BITS[tensor.dtype]) / 32) * 4;
}

/** The parts of a matrix that can be bound, with the number of the first row of each. */
export function shardsOf(matrix: Tensor): readonly { tensor: Tensor; start: number; rows: number }[] {
  let start = 0;
  return (matrix.shards ?? [matrix]).map((tensor) => {
    const rows = tensor.shape[0] ?? 0;
    start += rows;
    return { tensor, start: start - rows, rows };
  });
}

export type Scalar = 'u32' | 'i32' | 'f32';

/** A kernel with its declared interface: `V` variant, `U` uniform names, `B` binding names. */
export interface Kernel<V, U extends string, B extends string> {
  readonly name: string;
  readonly uniforms: Readonly<Record<U, Scalar>>;
  /** WGSL element type of each binding that this variant has, in binding order. */
  readonly reads: (variant: V) => Partial<Record<B, string>>;
  /** As `reads`; a kernel may also read what it writes. */
  readonly writes: (variant: V) => Partial<Record<B, string>>;
  /** WGSL after the declarations. */
  readonly source: (variant: V, traits: GpuTraits) => string;
}

/** Declares a kernel. `source` is the text after the declarations that follow from `uniforms`, `reads` and `writes`. */
export function defineKernel<V, const U extends string, const B extends string>(
  kernel: Kernel<V, U, B>,
): Kernel<V, U, B> {
  return kernel;
}

/** The whole WGSL of a variant and its bindings in order. Binding 0 holds the uniforms where there are any. */
export function emitKernel<V, U extends string, B extends string>(
  kernel: Kernel<V, U, B>,
  variant: V,
  traits: GpuTraits,
): { code: string; bindings: { name: B; access: 'read' | 'read_write' }[] } {
  const names = Object.entries<Scalar>(kernel.uniforms);
  const lines: string[] = [];
  if (names.length > 0) {
    lines.push(`struct Uniforms { ${names.map(([name, type]) => `${name}: ${type}`).join(', ')} }`);
    lines.push('@group(0) @binding(0) var<uniform> u: Uniforms;');
  }
  const bindings: { name: B; access: 'read' | 'read_write' }[] = [];
  const declare = (types: Partial<Record<B, string>>, access: 'read' | 'read_write') => {
    for (const [name, type] of Object.entries(types) as [B, string][]) {
      bindings.push({ name, access });
      lines.push(`@group(0) @binding(${bindings.length}) var<storage, ${access}> ${name}: array<${type}>;`);
    }
  };
  declare(kernel.reads(variant), 'read');
  declare(kernel.writes(variant), 'read_write');
  const body = kernel.source(variant, traits);
  const text = `${lines.join('\n')}\n${body}`;
  const half = /\bf16[>(]/.test(text) ? 'enable f16;\n' : '';
  const subgroups = /\bsubgroup(Add|Max|Broadcast|Shuffle)/.test(body) ? 'enable subgroups;\n' : '';
  return { code: `${half}${subgroups}${text}`, bindings };
}

/** The bytes of a kernel's uniforms, in the order in which they were declared. */
export function packUniforms<U extends string>(
  types: Readonly<Record<U, Scalar>>,
  values: Record<U, number>,
): Uint8Array<ArrayBuffer> {
  const names = Object.keys(types) as U[];
  const view = new DataView(new ArrayBuffer(Math.ceil(names.length / 4) * 16));
  names.forEach((name, index) => {
    const value = values[name];
    invariant(Number.isFinite(value), `uniform ${name} is ${value}`);
    if (types[name] === 'f32') view.setFloat32(index * 4, value, true);
    else if (types[name] === 'i32') view.setInt32(index * 4, value, true);
    else view.setUint32(index * 4, value, true);
  });
  return new Uint8Array(view.buffer);
}

/** Where an op writes the gradient of one of its inputs. */
export interface Gradient {
  readonly tensor: Tensor;
  /** 1: add to what is there; 0: overwrite it. */
  readonly accumulate: 0 | 1;
}

/** What ops append their work to. */
export interface Step {
  readonly traits: GpuTraits;
  /** Type of the activations that ops make; statistics (sums over rows and such) are f32 in any case. */
  readonly activation: ActivationDtype;
  /** A new tensor that lives as long as later work uses it. */
  tensor(label: string, shape: readonly number[], options?: { dtype?: Dtype; category?: Category }): Tensor;
  /**
   * Appends one dispatch. `workgroups` is the grid; one of a single dimension may exceed 65 535 and is then folded, so its
   * kernel numbers its workgroups by `linear`. `flops` is the arithmetic that counts for throughput (2 for a multiply-add), for
   * splitting long submits and for the bench.
   */
  run<V, U extends string, B extends string>(
    kernel: Kernel<V, U, B>,
    variant: V,
    tensors: Partial<Record<B, Tensor | undefined>>,
    uniforms: Record<U, number>,
    workgroups: readonly [number, number?, number?],
    flops?: number,
  ): void;
  /** Fills a tensor with zeros. */
  clear(tensor: Tensor): void;
}

/** The tensor of a parameter's gradient, which is only ever added to. */
export function parameterGradient(gradient: Gradient | null): Tensor | null {
  invariant(gradient === null || gradient.accumulate === 1, 'expected the gradient of a parameter');
  return gradient?.tensor ?? null;
}

export type Inputs = Readonly<Record<string, Tensor | undefined>>;

/** Gives an op's backward pass the places for the gradients of its inputs. */
export interface Gradients<I extends Inputs> {
  /** The place for the gradient of an input, or null when nobody needs it. */
  into(input: keyof I & string): Gradient | null;
  /** Says that an input's gradient equals `gradient` as it is, without a copy. */
  pass(input: keyof I & string, gradient: Tensor): void;
  /**
   * As `into`; but where nobody will read the input again, the place is the input itself, over which the gradient may be
   * written. A kernel then binds that tensor once, as one that it reads and writes.
   */
  over(input: keyof I & string): Gradient | null;
}

/**
 * What the forward and the backward pass of an op append to a step. `I` names its tensors, `A` is what else decides what it
 * does, and `S` what the forward pass keeps for the backward pass.
 */
export interface OpDefinition<I extends Inputs, A, S> {
  readonly name: string;
  /** Throws the readable error when shapes or types do not fit. */
  check(inputs: I, attributes: A): void;
  /** Appends the work of the forward pass. `out` is its result. */
  forward(step: Step, inputs: I, attributes: A): { out: Tensor; saved: S };
  /** Null for ops without a gradient. */
  readonly backward: ((step: Step, saved: S, dOut: Tensor, gradients: Gradients<I>) => void) | null;
}

/** Declares an op for `Tape.apply`. Its types follow from its functions. */
export function defineOp<I extends Inputs, A, S>(definition: OpDefinition<I, A, S>): OpDefinition<I, A, S> {
  return definition;
}

/** Throws unless `tensor` has this shape, as `[op] name must be [896] to match x, got [1024]`. */
export function expectShape(op: string, name: string, tensor: Tensor, shape: readonly number[], why: string): void {
  const fits = tensor.shape.length === shape.length && shape.every((size, index) => tensor.shape[index] === size);
  if (!fits) {
    throw new SftError(
      'INTERNAL',
      `[${op}] ${name} must be [${shape.join(', ')}] ${why}, got [${tensor.shape.join(', ')}]`,
    );
  }
}

/** The two sizes of a matrix. */
export function matrixShape(op: string, name: string, tensor: Tensor): [number, number] {
  const [rows, columns] = tensor.shape;
  if (tensor.shape.length !== 2 || rows === undefined || columns === undefined) {
    throw new SftError('INTERNAL', `[${op}] ${name} must be a matrix, got [${tensor.shape.join(', ')}]`);
  }
  return [rows, columns];
}
