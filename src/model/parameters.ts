/**
 * The parameters of a model by their Hugging Face names, and those of them that are trained.
 *
 * Frozen parameters have buffers of their own. Trained ones are f32 and lie in arenas, as do their gradients and moments, in
 * one order, so that one dispatch updates a whole chunk.
 */
import type { Category } from '../gpu/ledger.ts';
import { MOMENT_BLOCK, MOMENT_MIN_ELEMENTS } from '../kernels/adamW8bit.ts';
import { bytesOf, type Dtype, type Tensor } from '../kernels/define.ts';
import { statisticsWords } from '../kernels/quantizeAbsmax.ts';
import { SftError } from '../platform/errors.ts';
import type { Arena, Memory } from '../tensor/memory.ts';
import type { QuantizationOptions } from './quantization.ts';

/** The moments of a trained tensor: f32 of its shape, or codes with the largest magnitudes of their blocks. */
export type Moments =
  | { readonly bits: 32; readonly m: Tensor; readonly v: Tensor }
  | {
      readonly bits: 8;
      /** One for each part of the tensor, in whole blocks. */
      readonly m: readonly Tensor[];
      readonly v: readonly Tensor[];
      /** f32 [blocks, 2]. */
      readonly absmax: readonly Tensor[];
    };

/** A trained tensor with its gradient, both f32, and its moments. */
export interface Trained {
  readonly name: string;
  readonly p: Tensor;
  readonly g: Tensor;
  readonly moments: Moments;
}

/** What the optimizer updates at once: tensors that lie side by side, `absmax` where their moments have 8 bits. */
export interface TrainedChunk {
  readonly decay: boolean;
  readonly p: Tensor;
  readonly g: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  readonly absmax: Tensor | null;
}

/** Trained tensors that share what the optimizer does to them. */
interface Group {
  readonly decay: boolean;
  readonly p: Arena;
  readonly g: Arena;
  readonly m: Arena;
  readonly v: Arena;
  readonly absmax: Arena | null;
}

export class TrainedSet {
  readonly entries: Trained[] = [];
  /** Whether large tensors keep their moments in 8 bits. */
  readonly has8bit: boolean;
  private readonly groups: readonly Group[];

  /** `category` is that of the tensors themselves: weights or adapters. */
  constructor(memory: Memory, category: Category, has8bit = false) {
    this.has8bit = has8bit;
    const kinds = has8bit ? [32, 8] : [32];
    this.groups = kinds.flatMap((bits) =>
      [true, false].map((decay): Group => {
        const name = `${decay ? 'decayed' : 'plain'}${bits === 8 ? '.8bit' : ''}`;
        // A block of 256 elements: 1024 bytes of parameters, 256 of codes, 8 of largest magnitudes.
        const blocks = bits === 8 ? { alignment: 4 * MOMENT_BLOCK } : {};
        const codes = bits === 8 ? { alignment: MOMENT_BLOCK, share: 1 / 4 } : {};
        return {
          decay,
          p: memory.arena(`trained.${name}`, category, blocks),
          g: memory.arena(`gradients.${name}`, 'gradients', blocks),
          m: memory.arena(`moment1.${name}`, 'optimizer', codes),
          v: memory.arena(`moment2.${name}`, 'optimizer', codes),
          absmax: bits === 8 ? memory.arena(`absmax.${name}`, 'optimizer', { alignment: 8, share: 1 / 128 }) : null,
        };
      }),
    );
  }

  /** Declares a trained tensor. `decay`: weight decay applies; in transformers not to biases and norm weights. */
  declare(name: string, shape: readonly number[], decay: boolean): Tensor {
    const elements = shape.reduce((product, size) => product * size, 1);
    const has8bit = this.has8bit && elements >= MOMENT_MIN_ELEMENTS;
    const group = this.groups.find((candidate) => candidate.decay === decay && (candidate.absmax !== null) === has8bit);
    if (!group) throw new SftError('INTERNAL', 'no such group');
    const p = group.p.declare(name, shape, { requiresGrad: true });
    const g = group.g.declare(name, shape);
    this.entries.push({ name, p, g, moments: declareMoments(group, name, p) });
    return p;
  }

  /** Gradients by the id of the trained tensor, as the tape wants them. */
  gradients(): ReadonlyMap<number, Tensor> {
    return new Map(this.entries.map(({ p, g }) => [p.id, g]));
  }

  /** What the optimizer updates, chunk by chunk. */
  chunks(): TrainedChunk[] {
    return this.groups.flatMap(({ decay, p, g, m, v, absmax }) => {
      const [ps, gs, ms, vs, maxima] = [p, g, m, v, absmax].map((arena) => arena?.chunks ?? []);
      return (ps ?? []).map((chunk, index) => ({
        decay,
        p: chunk,
        g: gs?.[index] as Tensor,
        m: ms?.[index] as Tensor,
        v: vs?.[index] as Tensor,
        absmax: maxima?.[index] ?? null,
      }));
    });
  }
}

function declareMoments({ m, v, absmax }: Group, name: string, p: Tensor): Moments {
  if (!absmax) return { bits: 32, m: m.declare(name, p.shape), v: v.declare(name, p.shape) };
  const blocks = (p.shards ?? [p]).map((part) => Math.ceil(bytesOf(part) / 4 / MOMENT_BLOCK));
  const codes = (arena: Arena) =>
    blocks.map((count) => arena.declare(name, [(count * MOMENT_BLOCK) / 4], { dtype: 'u32' }));
  return { bits: 8, m: codes(m), v: codes(v), absmax: blocks.map((count) => absmax.declare(name, [count, 2])) };
}

export interface Parameter {
  readonly name: string;
  readonly tensor: Tensor;
  readonly shape: readonly number[];
}

export interface ParameterOptions {
  /** Set where the parameters themselves are trained. */
  readonly trained: TrainedSet | null;
  /** Storage of a frozen matrix. */
  readonly storage: (name: string) => Dtype;
  /** How the weight of a frozen linear layer is quantised, or null. */
  readonly quantization?: (name: string) => QuantizationOptions | null;
}

/** Declares the parameters that an architecture names. */
export class Parameters {
  readonly all = new Map<string, Parameter>();
  readonly memory: Memory;
  private readonly options: ParameterOptions;

  constructor(memory: Memory, options: ParameterOptions) {
    this.memory = memory;
    this.options = options;
  }

  /** A weight matrix [rows, columns], split by rows where one binding cannot hold it. */
  matrix(name: string, rows: number, columns: number): Tensor {
    return this.declare(name, [rows, columns], this.options.storage(name), true);
  }

  /** The weight [outFeatures, inFeatures] of a linear layer of the decoder: a matrix that may be quantised. */
  linear(name: string, outFeatures: number, inFeatures: number): Tensor {
    const options = this.options.trained ? null : (this.options.quantization?.(name) ?? null);
    if (!options) return this.matrix(name, outFeatures, inFeatures);
    const shape = [outFeatures, inFeatures];
    const int8 = options.type === 'int8';
    const blockSize = int8 ? inFeatures : options.blockSize;
    const nested = !int8 && options.doubleQuant;
    const words = statisticsWords(Math.ceil((outFeatures * inFeatures) / blockSize), nested);
    const category = 'weights';
    const statistics = this.memory.declare(`${name}.statistics`, [words], { dtype: 'u32', category });
    const quantization = { blockSize, nested, statistics };
    const tensor = this.memory.declare(name, shape, { dtype: int8 ? 'i8' : 'nf4', category, quantization });
    this.all.set(name, { name, tensor, shape });
    return tensor;
  }

  /** A bias or norm weight [size]: small, so always f32, and not decayed. */
  vector(name: string, size: number): Tensor {
    return this.declare(name, [size], 'f32', false);
  }

  private declare(name: string, shape: readonly number[], dtype: Dtype, decay: boolean): Tensor {
    const { trained } = this.options;
    const tensor = trained
      ? trained.declare(name, shape, decay)
      : this.memory.declare(name, shape, { dtype, category: 'weights' });
    this.all.set(name, { name, tensor, shape });
    return tensor;
  }
}
