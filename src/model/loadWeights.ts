/**
 * From a checkpoint to the GPU, tensor by tensor: as they are, converted, quantised on the way, or already quantised. A few
 * slices of a checkpoint are in memory at any moment, whatever its size.
 */
import type { Gpu, GpuLimits } from '../gpu/device.ts';
import { bytesOf, type Tensor } from '../kernels/define.ts';
import { invariant } from '../platform/errors.ts';
import { concatBytes } from '../platform/stores.ts';
import type { Memory } from '../tensor/memory.ts';
import { type BnbWeight, readStatistics } from './bnb.ts';
import type { Checkpoint } from './checkpoint.ts';
import { bytesToF32, type FloatDtype, f32ToBytes, isFloatDtype } from './dtype.ts';
import type { Parameter } from './parameters.ts';
import { type QuantizedWeight, WeightQuantizer, wholeWords } from './quantizeWeights.ts';
import { readTensor, readWeights, type TensorInfo } from './safetensors.ts';

/** Bytes on their way to the GPU before the queue is waited for: Dawn keeps a copy until then. */
const STAGED_BYTES = 64 * 2 ** 20;

const STORAGE = { F32: 'f32', F16: 'f16', BF16: 'bf16' } as const;
const FILE_DTYPE: Readonly<Record<'f32' | 'f16' | 'bf16', FloatDtype>> = { f32: 'F32', f16: 'F16', bf16: 'BF16' };

/** What a loader reads from. */
export interface WeightFiles {
  readonly checkpoint: Checkpoint;
  readonly quantized: ReadonlyMap<string, BnbWeight>;
}

type OnSlice = (bytes: number) => Promise<void>;

export class WeightLoader {
  private readonly files: WeightFiles;
  private readonly memory: Memory;
  private readonly parameters: readonly Parameter[];
  private readonly limits: GpuLimits;

  /** Parameters that `files` was found to hold, declared in `memory`. */
  constructor(files: WeightFiles, memory: Memory, parameters: Iterable<Parameter>, limits: GpuLimits) {
    this.files = files;
    this.memory = memory;
    this.parameters = [...parameters];
    this.limits = limits;
  }

  /** Bytes of the buffers that `load` has beside the weights. */
  stagingBytes(): number {
    return this.quantizer()?.bytes ?? 0;
  }

  /** Fills all parameters. Throws `MODEL` on weights that are no finite numbers, and on statistics that lie. */
  async load(gpu: Gpu, onProgress: (loaded: number, total: number) => void, signal?: AbortSignal): Promise<void> {
    const { totalBytes } = this.files.checkpoint;
    let loaded = 0;
    let staged = 0;
    const onSlice: OnSlice = async (bytes) => {
      loaded += bytes;
      staged += bytes;
      onProgress(loaded, totalBytes);
      signal?.throwIfAborted();
      if (staged < STAGED_BYTES) return;
      await gpu.done();
      staged = 0;
    };
    const quantizer = this.quantizer();
    try {
      await quantizer?.allocate(gpu);
      for (const parameter of this.parameters) await this.loadOne(gpu, parameter, quantizer, onSlice);
    } finally {
      quantizer?.close(gpu);
      await gpu.collect();
    }
  }

  /** What quantises the weights that must be; null when none must. */
  private quantizer(): WeightQuantizer | null {
    const weights = this.parameters.flatMap((parameter) => this.toQuantize(parameter) ?? []);
    return weights.length > 0 ? new WeightQuantizer(this.limits, weights) : null;
  }

  private async loadOne(
    gpu: Gpu,
    parameter: Parameter,
    quantizer: WeightQuantizer | null,
    onSlice: OnSlice,
  ): Promise<void> {
    const stored = this.files.quantized.get(parameter.name);
    if (stored) return this.loadQuantized(gpu, parameter.tensor, stored, onSlice);
    const info = this.infoOf(parameter);
    const weight = this.toQuantize(parameter);
    if (!weight) return this.upload(gpu, parameter, info, onSlice);
    invariant(quantizer, `${parameter.name} was not declared`);
    let first = 0;
    for await (const slice of readWeights(info, quantizer.sliceOf(weight))) {
      await quantizer.quantize(gpu, this.memory, weight, slice, first);
      first += slice.length / (info.dtype === 'F32' ? 4 : 2);
      await onSlice(slice.length);
    }
    await quantizer.finish(gpu, this.memory, weight);
  }

  /** As they are in the file, or converted to the type that they are stored in. */
  private async upload(gpu: Gpu, { name, tensor }: Parameter, info: TensorInfo, onSlice: OnSlice): Promise<void> {
    const { dtype: from } = info;
    const { dtype } = tensor;
    invariant(isFloatDtype(from) && (dtype === 'f32' || dtype === 'f16' || dtype === 'bf16'), `${name}: ${dtype}`);
    const to = FILE_DTYPE[dtype];
    const write = this.writer(gpu, tensor);
    for await (const slice of readWeights(info)) {
      write(from === to ? slice : f32ToBytes(bytesToF32(slice, from), to));
      await onSlice(slice.length);
    }
  }

  /** Codes and statistics of a checkpoint that is in 4 bits already. */
  private async loadQuantized(gpu: Gpu, tensor: Tensor, stored: BnbWeight, onSlice: OnSlice): Promise<void> {
    invariant(tensor.quantization, `${tensor.label} is not quantised`);
    const statistics = await readStatistics(stored);
    const parts =
      statistics instanceof Float32Array
        ? [statistics]
        : [statistics.map, Float32Array.of(statistics.offset), statistics.absmax, statistics.codes];
    const bytes = parts.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
    this.writer(gpu, tensor.quantization.statistics)(concatBytes(bytes));
    await onSlice(stored.absmax.length);
    const write = this.writer(gpu, tensor);
    for await (const slice of readTensor(stored.codes)) {
      write(slice);
      await onSlice(slice.length);
    }
  }

  /** Writes bytes one after the other to a tensor, shard by shard. */
  private writer(gpu: Gpu, tensor: Tensor): (bytes: Uint8Array<ArrayBuffer>) => void {
    const shards = tensor.shards ?? [tensor];
    let shard = 0;
    let at = 0;
    return (given) => {
      for (let bytes = given; bytes.length > 0; ) {
        const target = shards[shard];
        invariant(target, `${tensor.label}: more bytes than its shape`);
        const { buffer, offset } = this.memory.locate(target);
        const size = bytesOf(target);
        const part = bytes.subarray(0, Math.min(bytes.length, size - at));
        gpu.write(buffer, offset + at, wholeWords(part));
        at += part.length;
        bytes = bytes.subarray(part.length);
        if (at >= size) [shard, at] = [shard + 1, 0];
      }
    };
  }

  private infoOf({ name }: Parameter): TensorInfo {
    const info = this.files.checkpoint.tensors.get(name);
    invariant(info, `${name} was checked`);
    return info;
  }

  /** A parameter that is quantised while it is loaded, or null. */
  private toQuantize(parameter: Parameter): QuantizedWeight | null {
    const { tensor, name } = parameter;
    if (!tensor.quantization || this.files.quantized.has(name)) return null;
    const { dtype } = this.infoOf(parameter);
    invariant(isFloatDtype(dtype), `${name} was checked`);
    return { tensor, from: STORAGE[dtype] };
  }
}
