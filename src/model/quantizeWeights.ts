/**
 * Quantises weights on the GPU while they stream in: a slice of a checkpoint goes into one buffer, its codes and block
 * maxima come out in two others and are copied to where they belong. All of these have one size for the whole model, which
 * is known before anything is loaded, and are gone when it is.
 */
import type { Gpu, GpuLimits } from '../gpu/device.ts';
import { sumBytes } from '../gpu/ledger.ts';
import { dynamicMap } from '../kernels/codebooks.ts';
import { bytesOf, type Dtype, type Tensor } from '../kernels/define.ts';
import { quantizeAbsmax, statisticsWords } from '../kernels/quantizeAbsmax.ts';
import { quantizeInt8 } from '../kernels/quantizeInt8.ts';
import { quantizeNf4 } from '../kernels/quantizeNf4.ts';
import { invariant } from '../platform/errors.ts';
import { Memory, newTensor, upload } from '../tensor/memory.ts';
import { Pool, Program } from '../tensor/program.ts';
import { Trace } from '../tensor/trace.ts';

/** Storage of a checkpoint's weights. */
type Source = 'f32' | 'f16' | 'bf16';

/** Bytes of a checkpoint that are quantised at once. */
const SLICE_BYTES = 2 ** 22;

export interface QuantizedWeight {
  readonly tensor: Tensor;
  readonly from: Source;
}

export class WeightQuantizer {
  /** Exact bytes of all buffers. */
  readonly bytes: number;
  private readonly memory: Memory;
  private readonly pool = new Pool();
  private readonly programs = new Map<string, Promise<Program>>();
  private readonly sliceBytes: number;
  private readonly words: Tensor;
  private readonly size: Tensor;
  private readonly codes: Tensor;
  private readonly absmax: Tensor;
  /** Block maxima of one whole matrix, and what becomes of them; null without double quantisation. */
  private readonly nested: { readonly absmax: Tensor; readonly size: Tensor; readonly statistics: Tensor } | null;

  /** Declares the buffers for these weights, of which there is at least one. Nothing is allocated. */
  constructor(limits: GpuLimits, weights: readonly QuantizedWeight[]) {
    this.memory = new Memory(limits);
    const most = (of: (weight: QuantizedWeight) => number) => Math.max(0, ...weights.map(of));
    this.sliceBytes = Math.min(
      SLICE_BYTES,
      this.memory.largest,
      most(({ tensor, from }) => bytesOf({ shape: tensor.shape, dtype: from })),
    );
    const declare = (label: string, shape: readonly number[], dtype: Dtype) =>
      this.memory.declare(label, shape, { dtype, category: 'staging' });
    this.words = declare('slice', [Math.ceil(this.sliceBytes / 4)], 'u32');
    this.size = declare('slice size', [2], 'u32');
    this.codes = declare('slice codes', [most((weight) => bytesOf(codesOf(weight, this.elements(weight))) / 4)], 'u32');
    this.absmax = declare('slice absmax', [most((weight) => blocksOf(weight, this.elements(weight)))], 'f32');
    const blocks = most((weight) => (weight.tensor.quantization?.nested ? blocksOf(weight) : 0));
    this.nested =
      blocks === 0
        ? null
        : {
            absmax: declare('absmax', [blocks], 'f32'),
            size: declare('blocks', [1], 'u32'),
            statistics: declare('statistics', [statisticsWords(blocks, true)], 'u32'),
          };
    this.bytes = sumBytes(this.memory.bytes());
  }

  /** Makes the buffers. */
  async allocate(gpu: Gpu): Promise<void> {
    await this.memory.allocate(gpu);
    if (this.nested) upload(gpu, this.memory, this.nested.statistics, dynamicMap());
  }

  /** Bytes of the slices that a weight is read in; each holds whole blocks, and codes that fill whole words. */
  sliceOf(weight: QuantizedWeight): number {
    return (this.elements(weight) * bitsOf(weight.from)) / 8;
  }

  /** Quantises one slice: that from element `first` on, a multiple of a slice. Work is submitted, not waited for. */
  async quantize(
    gpu: Gpu,
    target: Memory,
    weight: QuantizedWeight,
    slice: Uint8Array<ArrayBuffer>,
    first: number,
  ): Promise<void> {
    const { tensor } = weight;
    const { quantization } = tensor;
    invariant(quantization, `${tensor.label} is not quantised`);
    const elements = (slice.length * 8) / bitsOf(weight.from);
    upload(gpu, this.memory, this.words, wholeWords(slice));
    upload(gpu, this.memory, this.size, Uint32Array.of(elements, quantization.blockSize));
    await (await this.program(gpu, weight)).run();

    const encoder = gpu.device.createCommandEncoder();
    const copy = (from: Tensor, at: number, to: Tensor, offset: number, bytes: number, memory = target) => {
      const [source, place] = [this.memory.locate(from), memory.locate(to)];
      encoder.copyBufferToBuffer(source.buffer.buffer, at, place.buffer.buffer, place.offset + offset, bytes);
    };
    let start = bytesOf(codesOf(weight, first));
    let done = 0;
    const bytes = bytesOf(codesOf(weight, elements));
    for (const shard of tensor.shards ?? [tensor]) {
      const size = bytesOf(shard);
      const part = Math.min(size - start, bytes - done);
      if (part > 0) {
        copy(this.codes, done, shard, start, part);
        done += part;
      }
      start = Math.max(0, start - size);
    }
    const [block, blocks] = [blocksOf(weight, first), blocksOf(weight, elements)];
    if (this.nested && quantization.nested)
      copy(this.absmax, 0, this.nested.absmax, block * 4, blocks * 4, this.memory);
    else copy(this.absmax, 0, quantization.statistics, block * 4, blocks * 4);
    gpu.device.queue.submit([encoder.finish()]);
  }

  /** Quantises the block maxima of a weight all of whose slices were given. */
  async finish(gpu: Gpu, target: Memory, weight: QuantizedWeight): Promise<void> {
    const { quantization } = weight.tensor;
    if (!this.nested || !quantization?.nested) return;
    upload(gpu, this.memory, this.nested.size, Uint32Array.of(blocksOf(weight)));
    await (await this.nestedProgram(gpu, this.nested)).run();
    const [source, place] = [this.memory.locate(this.nested.statistics), target.locate(quantization.statistics)];
    const encoder = gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(source.buffer.buffer, 0, place.buffer.buffer, place.offset, place.size);
    gpu.device.queue.submit([encoder.finish()]);
  }

  close(gpu: Gpu): void {
    this.pool.close(gpu);
    this.memory.close(gpu);
    this.programs.clear();
  }

  /** Elements of a slice: whole blocks, and for int8 whole rows that fill whole words. */
  private elements({ tensor, from }: QuantizedWeight): number {
    const count = tensor.shape.reduce((product, size) => product * size, 1);
    const unit = (tensor.quantization?.blockSize ?? 1) * (tensor.dtype === 'i8' ? 4 : 1);
    const fitting = Math.floor((this.sliceBytes * 8) / bitsOf(from) / unit) * unit;
    invariant(fitting > 0 || count * bitsOf(from) <= this.sliceBytes * 8, `${tensor.label}: a slice holds no row`);
    return fitting === 0 ? count : Math.min(fitting, Math.ceil(count / unit) * unit);
  }

  private program(gpu: Gpu, { tensor, from }: QuantizedWeight): Promise<Program> {
    const { dtype } = tensor;
    const blockSize = dtype === 'nf4' ? (tensor.quantization?.blockSize ?? 0) : 0;
    return this.build(gpu, `${dtype} ${from} ${blockSize}`, (trace) => {
      const view = (tensor: Tensor, count: number, as: Dtype) => {
        const seen = newTensor(tensor.label, [count], { dtype: as, category: 'staging' });
        this.memory.alias(seen, tensor);
        return seen;
      };
      const x = view(this.words, Math.floor((this.sliceBytes * 8) / bitsOf(from)), from);
      const room = bytesOf(this.codes) * (dtype === 'nf4' ? 2 : 1);
      const tensors = { x, size: this.size, codes: view(this.codes, room, dtype), absmax: this.absmax };
      if (dtype === 'nf4') quantizeNf4(trace, tensors, blockSize);
      else quantizeInt8(trace, tensors);
    });
  }

  private nestedProgram(gpu: Gpu, tensors: NonNullable<WeightQuantizer['nested']>): Promise<Program> {
    return this.build(gpu, 'absmax', (trace) => quantizeAbsmax(trace, tensors));
  }

  private build(gpu: Gpu, key: string, fill: (trace: Trace) => void): Promise<Program> {
    let program = this.programs.get(key);
    if (!program) {
      const trace = new Trace(gpu);
      fill(trace);
      program = Program.build(gpu, trace, this.memory, this.pool);
      this.programs.set(key, program);
    }
    return program;
  }
}

const bitsOf = (dtype: Source) => (dtype === 'f32' ? 32 : 16);

const codesOf = ({ tensor }: QuantizedWeight, elements: number) => ({ shape: [elements], dtype: tensor.dtype });

/** Blocks of so many elements; of the whole matrix if left out. */
function blocksOf({ tensor }: QuantizedWeight, elements = tensor.shape.reduce((a, b) => a * b, 1)): number {
  return Math.ceil(elements / (tensor.quantization?.blockSize ?? 1));
}

/** Writes end at multiples of 4 bytes; only the last 16-bit element of a tensor can be in the way. */
export function wholeWords(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (bytes.length % 4 === 0) return bytes;
  const longer = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  longer.set(bytes);
  return longer;
}
