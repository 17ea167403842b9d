/**
 * A language model from a Hugging Face folder: opened (config and headers), declared (symbolic, with exact bytes), loaded
 * (weights on the GPU).
 */
import type { Gpu, GpuLimits } from '../gpu/device.ts';
import type { Dtype, Tensor } from '../kernels/define.ts';
import { invariant, SftError } from '../platform/errors.ts';
import { readText } from '../platform/sources.ts';
import type { ReadableFolder } from '../platform/types.ts';
import { Memory, upload } from '../tensor/memory.ts';
import { ARCHITECTURES } from './architectures/registry.ts';
import { type Checkpoint, openCheckpoint, someOf } from './checkpoint.ts';
import { Decoder, type DecoderSpec } from './decoder.ts';
import { bytesToF32, type FloatDtype, f32ToBytes, isFloatDtype } from './dtype.ts';
import { Lora, type LoraOptions } from './lora.ts';
import { type Parameter, Parameters, TrainedSet } from './parameters.ts';
import { ropeTable } from './rope.ts';
import { readWeights, type TensorInfo } from './safetensors.ts';

/** What a model folder says, without its weights. */
export interface ModelFiles {
  readonly folder: ReadableFolder;
  /** config.json as it is. */
  readonly config: Readonly<Record<string, unknown>>;
  /** generation_config.json as it is, or an empty object. */
  readonly generation: Readonly<Record<string, unknown>>;
  readonly spec: DecoderSpec;
  readonly checkpoint: Checkpoint;
}

async function readJson(folder: ReadableFolder, path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    const value: unknown = JSON.parse(await readText(folder, path));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('no object');
    return value as Record<string, unknown>;
  } catch (cause) {
    if (cause instanceof SftError) throw cause;
    throw new SftError(
      'MODEL',
      `${folder.name}/${path}: expected JSON: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  }
}

/** Opens a model folder and checks config and headers. Throws `MODEL`. */
export async function openModel(folder: ReadableFolder): Promise<ModelFiles> {
  const where = `${folder.name}/config.json`;
  if (!(await folder.has('config.json'))) {
    throw new SftError('MODEL', `${where}: no such file`, {
      hint: 'give the folder of a Hugging Face model (config.json, *.safetensors, tokenizer.json)',
    });
  }
  const config = await readJson(folder, 'config.json');
  const type = String(config.model_type);
  const architecture = Object.hasOwn(ARCHITECTURES, type) ? ARCHITECTURES[type] : undefined;
  if (!architecture) {
    throw new SftError('MODEL', `${where}: model_type "${type}" is not supported`, {
      hint: `supported: ${Object.keys(ARCHITECTURES).join(', ')}`,
    });
  }
  const spec = architecture.parse(config, where);
  const generation = (await folder.has('generation_config.json'))
    ? await readJson(folder, 'generation_config.json')
    : {};
  const checkpoint = await openCheckpoint(folder);
  return { folder, config, generation, spec, checkpoint };
}

/** Ids that end a generation: those of generation_config.json, else of config.json. */
export function endTokens({ config, generation }: Pick<ModelFiles, 'config' | 'generation'>): readonly number[] {
  const ids = generation.eos_token_id ?? config.eos_token_id;
  return (Array.isArray(ids) ? ids : [ids]).filter((id): id is number => typeof id === 'number');
}

export type WeightDtype = 'auto' | 'float32' | 'float16' | 'bfloat16';

export interface ModelOptions {
  /** Storage of frozen matrices: `auto` is as in the checkpoint. Trained weights are float32. */
  readonly dtype?: WeightDtype;
  /** Longest sequence in tokens: the length of the rotary table. */
  readonly maxLength: number;
  /** How the base is called in `adapter_config.json`: a path or a hub id. The folder's name if left out. */
  readonly baseName?: string;
  /** What is trained or applied beside the frozen weights. */
  readonly tuning:
    | { readonly mode: 'none' }
    | { readonly mode: 'full' }
    | { readonly mode: 'lora'; readonly lora: LoraOptions; readonly trained: boolean };
}

const STORAGE: Readonly<Record<FloatDtype, Dtype>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };
const FILE_DTYPE: Readonly<Record<'f32' | 'f16' | 'bf16', FloatDtype>> = { f32: 'F32', f16: 'F16', bf16: 'BF16' };
const NAMED = { float32: 'f32', float16: 'f16', bfloat16: 'bf16' } as const;

/** Tensors that old checkpoints carry and that are computed here. */
const COMPUTED = /\.rotary_emb\.inv_freq$/;

export class Model {
  readonly files: ModelFiles;
  readonly spec: DecoderSpec;
  readonly decoder: Decoder;
  readonly memory: Memory;
  readonly parameters: Parameters;
  /** What is trained: the adapter or, in mode full, everything. */
  readonly trained: TrainedSet | null;
  readonly lora: Lora | null;
  /** Rotary table [maxLength, head size]. */
  readonly table: Tensor;
  readonly maxLength: number;

  /** Declares everything; nothing is allocated. Throws `MODEL` when the checkpoint does not fit its config. */
  constructor(files: ModelFiles, limits: GpuLimits, options: ModelOptions) {
    const { dtype = 'auto', maxLength, tuning, baseName = files.folder.name } = options;
    const { spec, checkpoint } = files;
    this.files = files;
    this.spec = spec;
    this.maxLength = maxLength;
    this.memory = new Memory(limits);
    const training = tuning.mode === 'full' || (tuning.mode === 'lora' && tuning.trained);
    this.trained = training ? new TrainedSet(this.memory, tuning.mode === 'full' ? 'weights' : 'adapters') : null;
    this.parameters = new Parameters(this.memory, {
      trained: tuning.mode === 'full' ? this.trained : null,
      storage: (name) => (dtype === 'auto' ? storageOf(checkpoint.tensors.get(name)) : NAMED[dtype]),
    });
    this.decoder = new Decoder(this.parameters, spec);
    this.checkTensors();
    this.lora =
      tuning.mode === 'lora' ? new Lora(this.decoder, baseName, tuning.lora, this.memory, this.trained) : null;
    this.table = this.memory.declare('rope', [maxLength, spec.attention.headSize], { category: 'weights' });
  }

  /** Names every tensor that is missing, unexpected or of another shape than config.json says, all at once. */
  private checkTensors(): void {
    const { folder, checkpoint } = this.files;
    const problems: string[] = [];
    for (const { name, shape } of this.parameters.all.values()) {
      const info = checkpoint.tensors.get(name);
      if (!info) problems.push(`${name} is missing`);
      else if (!isFloatDtype(info.dtype)) problems.push(`${name}: expected F32, F16 or BF16, got ${info.dtype}`);
      else if (info.shape.join() !== shape.join())
        problems.push(`${name}: expected [${shape.join(', ')}], got [${info.shape.join(', ')}]`);
    }
    for (const name of checkpoint.tensors.keys()) {
      const known =
        this.parameters.all.has(name) || COMPUTED.test(name) || (this.spec.tied && name === 'lm_head.weight');
      if (!known) problems.push(`${name} is not part of a ${this.spec.modelType} model`);
    }
    if (problems.length > 0) {
      throw new SftError('MODEL', `${folder.name}: the weights do not fit config.json: ${someOf(problems)}`, {
        hint: 'use weights and config.json of one model',
      });
    }
  }

  /** Streams all weights to the GPU, tensor by tensor. Buffers are made first, all or none. */
  async load(
    gpu: Gpu,
    onProgress: (loadedBytes: number, totalBytes: number) => void = () => {},
    signal?: AbortSignal,
  ): Promise<void> {
    await this.memory.allocate(gpu);
    const { checkpoint } = this.files;
    let loaded = 0;
    let staged = 0;
    for (const parameter of this.parameters.all.values()) {
      const info = checkpoint.tensors.get(parameter.name);
      invariant(info, `${parameter.name} was checked`);
      await uploadParameter(gpu, this.memory, parameter, info, async (bytes) => {
        loaded += bytes;
        staged += bytes;
        onProgress(loaded, checkpoint.totalBytes);
        signal?.throwIfAborted();
        if (staged < STAGING_BYTES) return;
        await gpu.done();
        staged = 0;
      });
    }
    upload(gpu, this.memory, this.table, ropeTable(this.spec.rope, this.spec.attention.headSize, this.maxLength));
    await gpu.done();
  }

  close(gpu: Gpu): void {
    this.memory.close(gpu);
  }
}

function storageOf(info: TensorInfo | undefined): Dtype {
  return info && isFloatDtype(info.dtype) ? STORAGE[info.dtype] : 'f32';
}

/** Bytes on their way to the GPU before the queue is waited for: Dawn keeps a copy until then. */
const STAGING_BYTES = 64 * 2 ** 20;

/** Uploads one tensor slice by slice, converted to its storage type. Throws `MODEL` on NaN or infinity. */
async function uploadParameter(
  gpu: Gpu,
  memory: Memory,
  { name, tensor }: Parameter,
  info: TensorInfo,
  onSlice: (bytes: number) => Promise<void>,
): Promise<void> {
  const from = info.dtype;
  invariant(isFloatDtype(from), `${name} was checked`);
  const { dtype } = tensor;
  invariant(dtype === 'f32' || dtype === 'f16' || dtype === 'bf16', `${name}: ${dtype}`);
  const to = FILE_DTYPE[dtype];
  const shards = tensor.shards ?? [tensor];
  let shard = 0;
  let at = 0;
  for await (const slice of readWeights(info)) {
    let bytes = from === to ? slice : f32ToBytes(bytesToF32(slice, from), to);
    while (bytes.length > 0) {
      const target = shards[shard];
      invariant(target, `${name}: more bytes than its shape`);
      const { buffer, offset, size } = memory.locate(target);
      const part = bytes.subarray(0, Math.min(bytes.length, size - at));
      gpu.write(buffer, offset + at, padded(part));
      at += part.length;
      bytes = bytes.subarray(part.length);
      if (at >= size) [shard, at] = [shard + 1, 0];
    }
    await onSlice(slice.length);
  }
}

/** Writes end at multiples of 4 bytes; only the last 16-bit element of a tensor can be in the way. */
function padded(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (bytes.length % 4 === 0) return bytes;
  const longer = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  longer.set(bytes);
  return longer;
}
