/**
 * Token by token, with a cache of keys and values, for several sequences side by side: prompts run through the model at once,
 * laid end to end, then each sequence goes on by one token a step.
 *
 * A lane is a part of the cache that holds one sequence. Programs are traced once: one for each bucket of prompt lengths, one
 * for each number of sequences that take a step (powers of two). Which lanes take part, their positions and their rows of the
 * cache are data, so sequences come and go between any two passes.
 */

import { bucketLength, NONE } from '../data/flatten.ts';
import type { Gpu } from '../gpu/device.ts';
import { sum } from '../kernels/add.ts';
import { writeCache } from '../kernels/cachedAttention.ts';
import type { Tensor } from '../kernels/define.ts';
import type { Context } from '../model/layers.ts';
import type { Model } from '../model/model.ts';
import { invariant, SftError } from '../platform/errors.ts';
import { Memory, newTensor, upload } from '../tensor/memory.ts';
import * as ops from '../tensor/ops.ts';
import { Pool, Program } from '../tensor/program.ts';
import { Tape } from '../tensor/tape.ts';

export interface GeneratorOptions {
  /** Most tokens of a prompt and its answer together. */
  readonly capacity: number;
  /** Sequences that there is room for; 1 if left out. Fewer where the cache would be too large. */
  readonly lanes?: number;
  /** Whether the adapter takes part. */
  readonly adapters: boolean;
}

export interface LanePrompt {
  readonly lane: number;
  readonly ids: readonly number[];
}

export interface LaneToken {
  readonly lane: number;
  readonly id: number;
}

const INPUTS = ['ids', 'positions', 'slots', 'starts', 'ends', 'rows'] as const;
type Inputs = Readonly<Record<(typeof INPUTS)[number], Tensor>>;

/** A program, the inputs that it reads and the logits that it writes, a row for each of its `rows`. */
interface Pass extends Inputs {
  readonly program: Program;
  readonly logits: Tensor;
}

/** Keys and values of more lanes than fit here would crowd out everything else. */
const CACHE_BYTES = 2 ** 29;

export class Generator {
  /** Sequences that there is room for, and that were asked for. */
  readonly lanes: number;
  readonly wanted: number;
  /** Most tokens of a sequence. */
  readonly capacity: number;
  private readonly gpu: Gpu;
  private readonly model: Model;
  private readonly adapters: boolean;
  private readonly memory: Memory;
  private readonly pool = new Pool();
  private readonly passes = new Map<string, Pass>();
  private readonly keys: readonly Tensor[];
  private readonly values: readonly Tensor[];
  private readonly logits: ReturnType<Memory['block']>;
  /** Tokens in the cache of each lane. */
  private readonly lengths: number[];

  private constructor(gpu: Gpu, model: Model, lanes: number, options: GeneratorOptions) {
    const { capacity, adapters, lanes: wanted = 1 } = options;
    const { layers, vocabSize } = model.spec;
    this.gpu = gpu;
    this.model = model;
    this.lanes = lanes;
    this.wanted = wanted;
    this.capacity = capacity;
    this.adapters = adapters;
    this.lengths = Array.from({ length: lanes }, () => 0);
    this.memory = new Memory(gpu.limits, model.memory);
    const cache = (kind: string) =>
      Array.from({ length: layers }, (_, layer) =>
        this.memory.declare(`cache.${kind}.${layer}`, [lanes * capacity, cacheWidth(model)]),
      );
    this.keys = cache('k');
    this.values = cache('v');
    this.logits = this.memory.block('next logits', 'logits', lanes * vocabSize * 4);
  }

  /**
   * Allocates the cache. The model must be loaded; `capacity` may not exceed its `maxLength`. Where memory runs out, there are
   * fewer lanes; throws `OUT_OF_MEMORY` when not even one fits.
   */
  static async create(gpu: Gpu, model: Model, options: GeneratorOptions): Promise<Generator> {
    const { capacity, lanes: wanted = 1 } = options;
    invariant(capacity <= model.maxLength, `a capacity of ${capacity} exceeds ${model.maxLength}`);
    const tensorBytes = capacity * cacheWidth(model) * 4;
    const bound = Math.floor(new Memory(gpu.limits).largest / Math.max(tensorBytes, model.spec.vocabSize * 4));
    const shared = Math.floor(CACHE_BYTES / (2 * model.spec.layers * tensorBytes));
    for (let lanes = Math.max(1, Math.min(wanted, bound, shared)); ; lanes = Math.floor(lanes / 2)) {
      const generator = new Generator(gpu, model, lanes, options);
      try {
        await generator.memory.allocate(gpu);
        return generator;
      } catch (error) {
        if (!(error instanceof SftError) || error.code !== 'OUT_OF_MEMORY' || lanes === 1) throw error;
      }
    }
  }

  /** Tokens that still fit into a lane. */
  room(lane: number): number {
    return this.capacity - this.lengthOf(lane);
  }

  /** Runs prompts, each in a lane of its own, whose past is forgotten. Logits [V] of the token after each. */
  async prompt(prompts: readonly LanePrompt[]): Promise<Float32Array[]> {
    for (const { ids } of prompts) {
      invariant(ids.length > 0 && ids.length <= this.capacity, `a prompt of ${ids.length} tokens in ${this.capacity}`);
    }
    const T = bucketLength(prompts.reduce((total, { ids }) => total + ids.length, 0));
    const pass = await this.pass(`prompt ${T}`, T, this.lanes, false);
    const inputs = emptyInputs(T, this.lanes);
    let start = 0;
    for (const [row, { lane, ids }] of prompts.entries()) {
      const end = start + ids.length;
      for (const [position, id] of ids.entries()) {
        const t = start + position;
        inputs.ids[t] = id;
        inputs.positions[t] = position;
        inputs.slots[t] = lane * this.capacity + position;
      }
      inputs.starts.fill(start, start, end);
      inputs.ends.fill(end, start, end);
      inputs.rows[row] = end - 1;
      this.lengths[lane] = ids.length;
      start = end;
    }
    return this.run(pass, inputs, prompts.length);
  }

  /** Runs one more token of each of these lanes. Logits [V] of the token after each. */
  async step(tokens: readonly LaneToken[]): Promise<Float32Array[]> {
    const B = Math.min(this.lanes, 2 ** Math.ceil(Math.log2(tokens.length)));
    const pass = await this.pass(`step ${B}`, B, B, true);
    const inputs = emptyInputs(B, B);
    // What is not used looks at the last row of the cache alone.
    inputs.starts.fill(this.lanes * this.capacity - 1);
    for (const [row, { lane, id }] of tokens.entries()) {
      const position = this.lengthOf(lane);
      invariant(position < this.capacity, `lane ${lane} is full`);
      inputs.ids[row] = id;
      inputs.positions[row] = position;
      inputs.slots[row] = lane * this.capacity + position;
      inputs.starts[row] = lane * this.capacity;
      inputs.rows[row] = row;
      this.lengths[lane] = position + 1;
    }
    return this.run(pass, inputs, tokens.length);
  }

  /** Frees everything but the model. */
  close(): void {
    for (const { program } of this.passes.values()) program.close();
    this.pool.close(this.gpu);
    this.memory.close(this.gpu);
  }

  private lengthOf(lane: number): number {
    const length = this.lengths[lane];
    invariant(length !== undefined, `there is no lane ${lane} of ${this.lanes}`);
    return length;
  }

  private async run(pass: Pass, inputs: ReturnType<typeof emptyInputs>, rows: number): Promise<Float32Array[]> {
    for (const name of INPUTS) upload(this.gpu, this.memory, pass[name], inputs[name]);
    await pass.program.run();
    const { vocabSize } = this.model.spec;
    const { buffer, offset } = this.memory.locate(pass.logits);
    const all = new Float32Array(await this.gpu.read(buffer.buffer, offset, rows * vocabSize * 4));
    return Array.from({ length: rows }, (_, row) => all.subarray(row * vocabSize, (row + 1) * vocabSize));
  }

  private async pass(key: string, T: number, R: number, cached: boolean): Promise<Pass> {
    const existing = this.passes.get(key);
    if (existing) return existing;
    const inputs = Object.fromEntries(
      INPUTS.map((name) => [
        name,
        this.memory.declare(`${key} ${name}`, [name === 'rows' ? R : T], { dtype: 'u32', category: 'staging' }),
      ]),
    ) as Inputs;
    const logits = newTensor(`${key} logits`, [R, this.model.spec.vocabSize], { category: 'logits' });
    this.memory.place(logits, this.logits, 0);
    await this.memory.allocate(this.gpu);
    const program = await Program.build(this.gpu, this.trace(inputs, logits, cached), this.memory, this.pool);
    const pass = { program, logits, ...inputs };
    this.passes.set(key, pass);
    return pass;
  }

  private trace({ ids, positions, slots, starts, ends, rows }: Inputs, logits: Tensor, cached: boolean): Tape {
    const { decoder, table } = this.model;
    const tape = new Tape(this.gpu, null);
    const context: Context = {
      tape,
      ids,
      positions,
      table,
      groups: null,
      seed: null,
      adapters: this.adapters,
      attend: (layer, q, k, v, options) => {
        const [cacheK, cacheV] = [this.keys[layer], this.values[layer]];
        invariant(cacheK && cacheV, `layer ${layer} has no cache`);
        if (cached) return tape.apply(ops.cachedAttention, { q, k, v, cacheK, cacheV, firsts: starts, slots }, options);
        writeCache(tape, k, slots, cacheK);
        writeCache(tape, v, slots, cacheV);
        return tape.apply(ops.attention, { q, k, v, starts, ends }, options);
      },
    };
    const last = decoder.select(context, decoder.hidden(context, false), rows, undefined);
    sum(tape, tape.apply(ops.linear, { x: last, w: decoder.head }, {}), null, logits);
    return tape;
  }
}

function cacheWidth({ spec: { attention } }: Model): number {
  return attention.kvHeads * attention.headSize;
}

/** T tokens of padding, each a row of its own that is not cached, and R rows of no token. */
function emptyInputs(T: number, R: number) {
  return {
    ids: new Uint32Array(T),
    positions: new Uint32Array(T),
    slots: new Uint32Array(T).fill(NONE),
    starts: Uint32Array.from({ length: T }, (_, t) => t),
    ends: Uint32Array.from({ length: T }, (_, t) => t + 1),
    rows: new Uint32Array(R).fill(NONE),
  } satisfies Record<keyof Inputs, Uint32Array>;
}
