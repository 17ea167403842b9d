/** A list of commands in the making: what ops append to. Nothing runs and nothing is allocated. */
import type { GpuTraits } from '../gpu/device.ts';
import type { Category } from '../gpu/ledger.ts';
import {
  type ActivationDtype,
  bytesOf,
  type Dtype,
  emitKernel,
  type Kernel,
  packUniforms,
  type Step,
  type Tensor,
} from '../kernels/define.ts';
import { invariant, SftError } from '../platform/errors.ts';
import { newTensor } from './memory.ts';

export interface Dispatch {
  readonly kind: 'dispatch';
  readonly name: string;
  readonly code: string;
  readonly uniforms: Uint8Array<ArrayBuffer> | null;
  /** In binding order, after the uniforms; those from `written` on are written to. */
  readonly tensors: readonly Tensor[];
  readonly written: number;
  readonly workgroups: readonly [number, number, number];
  readonly flops: number;
}

export interface Clear {
  readonly kind: 'clear';
  readonly tensors: readonly [Tensor];
}

export type Command = Dispatch | Clear;

const MAX_GROUPS = 65535;
type Emitted = { code: string; bindings: readonly { name: string; access: 'read' | 'read_write' }[] };
/** Kernel texts by kernel, then by variant and traits: a model runs few variants thousands of times. */
const emitted = new WeakMap<object, Map<string, Emitted>>();

export class Trace implements Step {
  readonly traits: GpuTraits;
  readonly activation: ActivationDtype;
  readonly commands: Command[] = [];
  /** Tensors made by this trace, by id: they live only within the program. */
  readonly transients = new Map<number, Tensor>();

  constructor(traits: GpuTraits, activation: ActivationDtype = 'f32') {
    this.traits = traits;
    this.activation = activation;
  }

  tensor(
    label: string,
    shape: readonly number[],
    options: { dtype?: Dtype; category?: Category; requiresGrad?: boolean } = {},
  ): Tensor {
    const tensor = newTensor(label, shape, options);
    const limit = Math.min(this.traits.limits.bindingBytes, this.traits.limits.bufferBytes);
    if (bytesOf(tensor) > limit) {
      throw new SftError(
        'OUT_OF_MEMORY',
        `${label} [${shape.join(', ')}]: expected at most ${limit} bytes, the adapter's largest binding, got ${bytesOf(tensor)}`,
        { hint: 'use a smaller batch_size or max_seq_len' },
      );
    }
    this.transients.set(tensor.id, tensor);
    return tensor;
  }

  run<V, U extends string, B extends string>(
    kernel: Kernel<V, U, B>,
    variant: V,
    tensors: Partial<Record<B, Tensor | undefined>>,
    uniforms: Record<U, number>,
    workgroups: readonly [number, number?, number?],
    flops = 0,
  ): void {
    const { code, bindings } = this.emit(kernel, variant);
    const bound = bindings.map(({ name }) => {
      const tensor = tensors[name as B];
      invariant(tensor, `kernel ${kernel.name}: binding ${name} is missing`);
      invariant(!tensor.shards, `kernel ${kernel.name}: ${tensor.label} is split and cannot be bound whole`);
      return tensor;
    });
    let [x, y = 1, z = 1] = workgroups;
    if (x > MAX_GROUPS && workgroups.length === 1) {
      y = Math.ceil(x / MAX_GROUPS);
      x = Math.ceil(x / y);
    }
    invariant(Math.max(x, y, z) <= MAX_GROUPS, `kernel ${kernel.name}: a grid of ${x}x${y}x${z} workgroups`);
    if (x * y * z === 0) return;
    this.commands.push({
      kind: 'dispatch',
      name: kernel.name,
      code,
      uniforms: Object.keys(kernel.uniforms).length > 0 ? packUniforms(kernel.uniforms, uniforms) : null,
      tensors: bound,
      written: bindings.findIndex(({ access }) => access === 'read_write'),
      workgroups: [x, y, z],
      flops,
    });
  }

  clear(tensor: Tensor): void {
    for (const part of tensor.shards ?? [tensor]) this.commands.push({ kind: 'clear', tensors: [part] });
  }

  /**
   * Drops commands that write nothing but tensors of this trace that no later command reads, such as the end of a layer that
   * is run again for what its backward pass needs.
   */
  prune(): void {
    const read = new Set<number>();
    const kept: Command[] = [];
    for (const command of [...this.commands].reverse()) {
      const written = command.kind === 'clear' ? command.tensors : command.tensors.slice(command.written);
      if (!written.some(({ id }) => read.has(id) || !this.transients.has(id))) continue;
      for (const { id } of command.tensors) read.add(id);
      kept.push(command);
    }
    this.commands.splice(0, this.commands.length, ...kept.reverse());
  }

  private emit<V, U extends string, B extends string>(kernel: Kernel<V, U, B>, variant: V): Emitted {
    const key = `${this.traits.family} ${this.traits.subgroupSize} ${this.traits.nativeF16} ${JSON.stringify(variant)}`;
    const variants = emitted.get(kernel) ?? new Map<string, Emitted>();
    emitted.set(kernel, variants);
    const result = variants.get(key) ?? emitKernel(kernel, variant, this.traits);
    variants.set(key, result);
    return result;
  }
}
