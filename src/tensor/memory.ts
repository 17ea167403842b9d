/**
 * Tensors that outlive a program: weights, adapters, gradients, optimizer state, inputs and results.
 *
 * They are declared first, which is symbolic and tells their exact bytes, and allocated later, when there is a device.
 * Small tensors that are updated together (adapters, their gradients and moments) share the chunks of an arena, so that one
 * dispatch updates them all; arenas declared in the same order have the same layout.
 */
import { bufferSize, type Gpu, type GpuBuffer, type GpuLimits } from '../gpu/device.ts';
import { type Bytes, type Category, noBytes } from '../gpu/ledger.ts';
import { bytesOf, type Dtype, type Quantization, type Tensor } from '../kernels/define.ts';
import { invariant } from '../platform/errors.ts';

/** Where a tensor lies: a range of a buffer, in bytes. */
export interface Place {
  readonly buffer: GpuBuffer;
  readonly offset: number;
  readonly size: number;
}

export interface TensorOptions {
  readonly dtype?: Dtype;
  readonly category?: Category;
  readonly requiresGrad?: boolean;
  /** Of a matrix of dtype nf4 or i8; its shards get the same. */
  readonly quantization?: Quantization;
}

let lastId = 0;

/** A symbolic tensor with a fresh identity. */
export function newTensor(
  label: string,
  shape: readonly number[],
  options: TensorOptions & { shards?: readonly Tensor[] } = {},
): Tensor {
  const { dtype = 'f32', category = 'activations', requiresGrad = false, shards, quantization } = options;
  lastId += 1;
  const rest = { ...(shards && { shards }), ...(quantization && { quantization }) };
  return { id: lastId, label, shape, dtype, category, requiresGrad, ...rest };
}

interface Block {
  readonly label: string;
  readonly category: Category;
  bytes: number;
  buffer: GpuBuffer | null;
}

const ALIGNMENT = 256;
/** So many rows are whole words, whatever their length. */
const ROWS_OF_WORDS: Partial<Record<Dtype, number>> = { nf4: 8, i8: 4 };

export interface ArenaOptions {
  /** Bytes: each tensor takes a multiple of this. */
  readonly alignment?: number;
  /** Size of its tensors as a share of those of the arena that it goes along with, so that both divide into buffers alike. */
  readonly share?: number;
}

/** A sequence of tensors packed into few buffers, each small enough to be bound whole. */
export class Arena {
  /** One f32 tensor for each buffer, over all that lies in it. Final once everything is declared. */
  get chunks(): readonly Tensor[] {
    return this.blocks.map((block, index) => {
      const existing = this.whole[index];
      if (existing?.shape[0] === block.bytes / 4) return existing;
      const tensor = newTensor(`${this.label}.${index}`, [block.bytes / 4], { category: this.category });
      this.whole[index] = tensor;
      this.memory.place(tensor, block, 0);
      return tensor;
    });
  }
  private readonly blocks: Block[] = [];
  private readonly whole: Tensor[] = [];
  private readonly memory: Memory;
  private readonly label: string;
  private readonly category: Category;
  private readonly alignment: number;
  private readonly share: number;

  constructor(
    memory: Memory,
    label: string,
    category: Category,
    { alignment = ALIGNMENT, share = 1 }: ArenaOptions = {},
  ) {
    this.memory = memory;
    this.label = label;
    this.category = category;
    this.alignment = alignment;
    this.share = share;
  }

  declare(label: string, shape: readonly number[], options: { requiresGrad?: boolean; dtype?: Dtype } = {}): Tensor {
    return this.memory.sharded(label, shape, { ...options, category: this.category }, (tensor) => {
      const bytes = Math.ceil(bytesOf(tensor) / this.alignment) * this.alignment;
      let block = this.blocks.at(-1);
      if (!block || block.bytes + bytes > this.memory.largest * this.share) {
        block = this.memory.block(`${this.label}.${this.blocks.length}`, this.category, 0);
        this.blocks.push(block);
      }
      this.memory.place(tensor, block, block.bytes);
      block.bytes += bytes;
    });
  }
}

export class Memory {
  /** Bytes of the largest buffer: one that can be bound whole. */
  readonly largest: number;
  /** Where tensors are looked for that were not declared here. */
  private readonly parent: Memory | null;
  private readonly blocks: Block[] = [];
  private readonly places = new Map<number, { block: Block; offset: number; size: number }>();

  constructor(limits: GpuLimits, parent: Memory | null = null) {
    this.largest = Math.floor(Math.min(limits.bindingBytes, limits.bufferBytes) / ALIGNMENT) * ALIGNMENT;
    this.parent = parent;
  }

  /** Declares a tensor with a buffer of its own, or one for each shard when it is too large for one binding. */
  declare(label: string, shape: readonly number[], options: TensorOptions = {}): Tensor {
    return this.sharded(label, shape, options, (tensor) => {
      this.place(tensor, this.block(tensor.label, tensor.category, bytesOf(tensor)), 0);
    });
  }

  arena(label: string, category: Category, options: ArenaOptions = {}): Arena {
    return new Arena(this, label, category, options);
  }

  /** Splits a matrix by rows where one binding cannot hold it. */
  sharded(label: string, shape: readonly number[], options: TensorOptions, place: (tensor: Tensor) => void): Tensor {
    const tensor = newTensor(label, shape, options);
    if (bytesOf(tensor) <= this.largest) {
      place(tensor);
      return tensor;
    }
    const [rows = 0, columns = 0] = shape;
    invariant(shape.length === 2, `${label} [${shape.join(', ')}] is larger than one binding and no matrix`);
    const rowBytes = bytesOf({ shape: [columns], dtype: tensor.dtype });
    const fitting = Math.floor(this.largest / rowBytes);
    // Products of the parts keep whole tiles, and packed rows of an odd length begin a part at a whole word.
    const unit = fitting < 64 ? (ROWS_OF_WORDS[tensor.dtype] ?? 2) : 64;
    invariant(fitting >= unit, `${label} [${shape.join(', ')}]: ${unit} rows are larger than one binding`);
    const step = Math.floor(fitting / unit) * unit;
    const shards: Tensor[] = [];
    for (let start = 0; start < rows; start += step) {
      const shard = newTensor(`${label}.${shards.length}`, [Math.min(step, rows - start), columns], options);
      place(shard);
      shards.push(shard);
    }
    return newTensor(label, shape, { ...options, shards });
  }

  block(label: string, category: Category, bytes: number): Block {
    const block: Block = { label, category, bytes, buffer: null };
    this.blocks.push(block);
    return block;
  }

  place(tensor: Tensor, block: Block, offset: number): void {
    this.places.set(tensor.id, { block, offset, size: bytesOf(tensor) });
  }

  /** Lets a tensor lie at the beginning of another, which must be at least as large. */
  alias(tensor: Tensor, target: Tensor): void {
    const place = this.places.get(target.id);
    invariant(place && bytesOf(tensor) <= place.size, `${tensor.label} does not fit into ${target.label}`);
    this.place(tensor, place.block, place.offset);
  }

  /** Exact bytes of everything declared, by category. */
  bytes(): Bytes {
    const bytes = noBytes();
    for (const block of this.blocks) bytes[block.category] += bufferSize(block.bytes);
    return bytes;
  }

  /** Makes the buffers of everything declared since the last call. All or none. New buffers hold zeros. */
  async allocate(gpu: Gpu): Promise<void> {
    const missing = this.blocks.filter((block) => block.buffer === null);
    const buffers = await gpu.allocate(missing.map(({ label, bytes, category }) => ({ label, bytes, category })));
    missing.forEach((block, index) => {
      block.buffer = buffers[index] ?? null;
    });
  }

  has(tensor: Tensor): boolean {
    return this.places.has(tensor.id) || (this.parent?.has(tensor) ?? false);
  }

  locate(tensor: Tensor): Place {
    const place = this.places.get(tensor.id);
    if (!place && this.parent) return this.parent.locate(tensor);
    invariant(place?.block.buffer, `${tensor.label} has no memory`);
    return { buffer: place.block.buffer, offset: place.offset, size: place.size };
  }

  /** Gives back the buffers that hold these tensors alone. */
  free(gpu: Gpu, tensors: readonly Tensor[]): void {
    for (const tensor of tensors.flatMap((one) => one.shards ?? [one])) {
      const place = this.places.get(tensor.id);
      if (!place) continue;
      this.places.delete(tensor.id);
      this.blocks.splice(this.blocks.indexOf(place.block), 1);
      if (place.block.buffer) gpu.release([place.block.buffer]);
    }
  }

  /** Gives everything back. */
  close(gpu: Gpu): void {
    gpu.release(this.blocks.flatMap((block) => block.buffer ?? []));
    this.blocks.length = 0;
    this.places.clear();
  }
}

/** Writes values to a tensor, or to its shards row by row. f16 and bf16 tensors take their packed words. */
export function upload(gpu: Gpu, memory: Memory, tensor: Tensor, values: ArrayBufferView<ArrayBuffer>): void {
  let start = 0;
  for (const shard of tensor.shards ?? [tensor]) {
    const { buffer, offset } = memory.locate(shard);
    const bytes = bytesOf(shard);
    const part = new Uint8Array(values.buffer, values.byteOffset + start, Math.min(bytes, values.byteLength - start));
    gpu.write(buffer, offset, part);
    start += bytes;
  }
}

/** Reads a tensor of 32-bit elements back, shards joined. */
export async function download(gpu: Gpu, memory: Memory, tensor: Tensor): Promise<ArrayBuffer> {
  const parts: ArrayBuffer[] = [];
  for (const shard of tensor.shards ?? [tensor]) {
    const { buffer, offset } = memory.locate(shard);
    parts.push(await gpu.read(buffer.buffer, offset, bytesOf(shard)));
  }
  const [only] = parts;
  if (parts.length === 1 && only) return only;
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(new Uint8Array(part), at);
    at += part.byteLength;
  }
  return joined.buffer;
}
