/** A language model from a Hugging Face folder: declared (symbolic, with exact bytes), then loaded (weights on the GPU). */
import type { Gpu, GpuLimits } from '../gpu/device.ts';
import type { Dtype, Tensor } from '../kernels/define.ts';
import { SftError } from '../platform/errors.ts';
import { Memory, upload } from '../tensor/memory.ts';
import { type BnbWeight, describedWeight } from './bnb.ts';
import { someOf } from './checkpoint.ts';
import { Decoder, type DecoderSpec } from './decoder.ts';
import { type FloatDtype, isFloatDtype } from './dtype.ts';
import { WeightLoader } from './loadWeights.ts';
import { Lora, type LoraOptions } from './lora.ts';
import type { ModelFiles } from './modelFiles.ts';
import { Parameters, TrainedSet } from './parameters.ts';
import type { QuantizationOptions } from './quantization.ts';
import { ropeTable } from './rope.ts';
import type { TensorInfo } from './safetensors.ts';

export type WeightDtype = 'auto' | 'float32' | 'float16' | 'bfloat16';

export interface ModelOptions {
  /** Storage of frozen matrices: `auto` is as in the checkpoint. Trained weights are float32. */
  readonly dtype?: WeightDtype;
  /** Longest sequence in tokens: the length of the rotary table. */
  readonly maxLength: number;
  /** How the base is called in `adapter_config.json`: a path or a hub id. The folder's name if left out. */
  readonly baseName?: string;
  /** Of a model of a hub: the revision, where it is not `main`. */
  readonly baseRevision?: string | null;
  /**
   * How the weights of frozen linear layers are quantised while they are loaded; not the head, as in transformers. A
   * checkpoint that is in 4 bits already is loaded as it is.
   */
  readonly quantization?: QuantizationOptions | null;
  /** Keep the optimizer's moments of large tensors in 8 bits. */
  readonly moments8bit?: boolean;
  /** What is trained or applied beside the frozen weights. */
  readonly tuning:
    | { readonly mode: 'none' }
    | { readonly mode: 'full' }
    | { readonly mode: 'lora'; readonly lora: LoraOptions; readonly trained: boolean };
}

const STORAGE: Readonly<Record<FloatDtype, Dtype>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };
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
  /** How the weights of linear layers are stored, those of a 4-bit checkpoint included; null when they are not quantised. */
  readonly quantization: QuantizationOptions | null;
  private readonly loader: WeightLoader;

  /** Declares everything; nothing is allocated. Throws `MODEL` when the checkpoint does not fit its config. */
  constructor(files: ModelFiles, limits: GpuLimits, options: ModelOptions) {
    const {
      dtype = 'auto',
      maxLength,
      tuning,
      baseName = files.folder.name,
      baseRevision = null,
      quantization = null,
    } = options;
    const { spec, checkpoint, quantized } = files;
    this.files = files;
    this.spec = spec;
    this.maxLength = maxLength;
    this.memory = new Memory(limits);
    const training = tuning.mode === 'full' || (tuning.mode === 'lora' && tuning.trained);
    this.trained = training
      ? new TrainedSet(this.memory, tuning.mode === 'full' ? 'weights' : 'adapters', options.moments8bit)
      : null;
    this.parameters = new Parameters(this.memory, {
      trained: tuning.mode === 'full' ? this.trained : null,
      storage: (name) => (dtype === 'auto' ? storageOf(checkpoint.tensors.get(name)) : NAMED[dtype]),
      quantization: (name) => (quantized.size > 0 ? storedAs(quantized.get(name)) : quantization),
    });
    this.checkQuantization(options);
    this.quantization = tuning.mode === 'full' ? null : (storedAs([...quantized.values()][0]) ?? quantization);
    this.decoder = new Decoder(this.parameters, spec);
    this.checkTensors();
    this.lora =
      tuning.mode === 'lora'
        ? new Lora(this.decoder, { name: baseName, revision: baseRevision }, tuning.lora, this.memory, this.trained)
        : null;
    this.table = this.memory.declare('rope', [maxLength, spec.attention.headSize], { category: 'weights' });
    this.loader = new WeightLoader(files, this.memory, this.parameters.all.values(), limits);
  }

  /**
   * Bytes of the buffers through which weights are quantised while they are loaded. They are gone when `load` returns, and
   * counted as `staging`.
   */
  stagingBytes(): number {
    return this.loader.stagingBytes();
  }

  /** A checkpoint in 4 bits cannot be trained as a whole, nor quantised in another way. */
  private checkQuantization({ quantization, tuning }: ModelOptions): void {
    const { folder, quantized } = this.files;
    if (quantized.size === 0) return;
    const wanted = tuning.mode === 'full' ? 'for tuning.mode full' : quantization?.type === 'int8' ? 'for int8' : null;
    if (wanted === null) return;
    throw new SftError('MODEL', `${folder.name}: expected unquantised weights ${wanted}, got weights in 4 bits`, {
      hint: 'use the model that they were made from, or set tuning.mode: qlora',
    });
  }

  /** Names every tensor that is missing, unexpected or of another shape than config.json says, all at once. */
  private checkTensors(): void {
    const { folder, checkpoint, quantized } = this.files;
    const problems: string[] = [];
    for (const { name, shape, tensor } of this.parameters.all.values()) {
      const info = checkpoint.tensors.get(name);
      const stored = tensor.quantization && quantized.get(name);
      const found = stored?.shape ?? info?.shape ?? [];
      if (!info) problems.push(`${name} is missing`);
      else if (!stored && !isFloatDtype(info.dtype))
        problems.push(`${name}: expected F32, F16 or BF16, got ${info.dtype}`);
      else if (found.join() !== shape.join())
        problems.push(`${name}: expected [${shape.join(', ')}], got [${found.join(', ')}]`);
    }
    for (const name of checkpoint.tensors.keys()) {
      const known =
        this.parameters.all.has(describedWeight(name) ?? name) ||
        COMPUTED.test(name) ||
        (this.spec.tied && name === 'lm_head.weight');
      if (!known) problems.push(`${name} is not part of a ${this.spec.modelType} model`);
    }
    if (problems.length > 0) {
      throw new SftError('MODEL', `${folder.name}: the weights do not fit config.json: ${someOf(problems)}`, {
        hint: 'use weights and config.json of one model',
      });
    }
  }

  /** Streams all weights to the GPU, tensor by tensor. Buffers are made first, all or none. Throws `MODEL`. */
  async load(
    gpu: Gpu,
    onProgress: (loadedBytes: number, totalBytes: number) => void = () => {},
    signal?: AbortSignal,
  ): Promise<void> {
    await this.memory.allocate(gpu);
    await this.loader.load(gpu, onProgress, signal);
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

/** How a weight of a 4-bit checkpoint is stored, or null when it is not in 4 bits. */
function storedAs(weight: BnbWeight | undefined): QuantizationOptions | null {
  return weight ? { type: 'nf4', blockSize: weight.blockSize, doubleQuant: weight.nested !== null } : null;
}
