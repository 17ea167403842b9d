/**
 * The parameters of a model by their Hugging Face names, and those of them that are trained.
 *
 * Frozen parameters have buffers of their own. Trained ones are f32 and lie in arenas together with their gradients and
 * moments, in one order, so that one dispatch updates a whole chunk.
 */
import type { Category } from '../gpu/ledger.ts';
import type { Dtype, Tensor } from '../kernels/define.ts';
import { SftError } from '../platform/errors.ts';
import type { Arena, Memory } from '../tensor/memory.ts';

/** A trained tensor with its gradient and its two moments, all f32 of one shape. */
export interface Trained {
  readonly name: string;
  readonly p: Tensor;
  readonly g: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
}

/** Trained tensors that share what the optimizer does to them. */
interface Group {
  readonly decay: boolean;
  readonly p: Arena;
  readonly g: Arena;
  readonly m: Arena;
  readonly v: Arena;
}

export class TrainedSet {
  readonly entries: Trained[] = [];
  private readonly groups: readonly Group[];

  /** `category` is that of the tensors themselves: weights or adapters. */
  constructor(memory: Memory, category: Category) {
    this.groups = [true, false].map((decay) => {
      const name = decay ? 'decayed' : 'plain';
      return {
        decay,
        p: memory.arena(`trained.${name}`, category),
        g: memory.arena(`gradients.${name}`, 'gradients'),
        m: memory.arena(`moment1.${name}`, 'optimizer'),
        v: memory.arena(`moment2.${name}`, 'optimizer'),
      };
    });
  }

  /** Declares a trained tensor. `decay`: weight decay applies; in transformers not to biases and norm weights. */
  declare(name: string, shape: readonly number[], decay: boolean): Tensor {
    const group = this.groups.find((candidate) => candidate.decay === decay);
    if (!group) throw new SftError('INTERNAL', 'no such group');
    const p = group.p.declare(name, shape, { requiresGrad: true });
    const [g, m, v] = [group.g, group.m, group.v].map((arena) => arena.declare(name, shape)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    this.entries.push({ name, p, g, m, v });
    return p;
  }

  /** Gradients by the id of the trained tensor, as the tape wants them. */
  gradients(): ReadonlyMap<number, Tensor> {
    return new Map(this.entries.map(({ p, g }) => [p.id, g]));
  }

  /** What the optimizer updates, chunk by chunk. */
  chunks(): { p: Tensor; g: Tensor; m: Tensor; v: Tensor; decay: boolean }[] {
    return this.groups.flatMap(({ decay, ...arenas }) => {
      const [ps, gs, ms, vs] = [arenas.p.chunks, arenas.g.chunks, arenas.m.chunks, arenas.v.chunks];
      return ps.map((p, index) => ({
        p,
        g: gs[index] as Tensor,
        m: ms[index] as Tensor,
        v: vs[index] as Tensor,
        decay,
      }));
    });
  }
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
