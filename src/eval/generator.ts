/**
 * Token by token, with a cache of keys and values: a prompt runs through the model at once, then one token at a time.
 *
 * Programs are traced once: one for each bucket of prompt lengths, one for a step. Positions and cache rows are data.
 */

import { bucketLength } from '../data/flatten.ts';
import type { Gpu } from '../gpu/device.ts';
import { sum } from '../kernels/add.ts';
import { writeCache } from '../kernels/cachedAttention.ts';
import type { Tensor } from '../kernels/define.ts';
import type { Context } from '../model/layers.ts';
import type { Model } from '../model/model.ts';
import { invariant, SftError } from '../platform/errors.ts';
import { Memory, upload } from '../tensor/memory.ts';
import * as ops from '../tensor/ops.ts';
import { Pool, Program } from '../tensor/program.ts';
import { Tape } from '../tensor/tape.ts';

export interface GeneratorOptions {
  /** Most tokens of prompt and answer together. */
  readonly capacity: number;
  /** Whether the adapter takes part. */
  readonly adapters: boolean;
}

/** A program and the inputs that it reads. */
interface Pass {
  readonly program: Program;
  readonly ids: Tensor;
  readonly positions: Tensor;
  readonly slots: Tensor;
  readonly starts: Tensor;
  readonly ends: Tensor;
  readonly row: Tensor;
}

const UNUSED = 0xffffffff;

export class Generator {
  private readonly gpu: Gpu;
  private readonly model: Model;
  private readonly options: GeneratorOptions;
  private readonly memory: Memory;
  private readonly pool = new Pool();
  private readonly passes = new Map<string, Pass>();
  private readonly keys: readonly Tensor[];
  private readonly values: readonly Tensor[];
  private readonly logits: Tensor;
  /** Tokens in the cache. */
  private length = 0;

  private constructor(gpu: Gpu, model: Model, options: GeneratorOptions) {
    const { layers, attention, vocabSize } = model.spec;
    this.gpu = gpu;
    this.model = model;
    this.options = options;
    this.memory = new Memory(gpu.limits, model.memory);
    const width = attention.kvHeads * attention.headSize;
    const cache = (kind: string) =>
      Array.from({ length: layers }, (_, layer) =>
        this.memory.declare(`cache.${kind}.${layer}`, [options.capacity, width]),
      );
    this.keys = cache('k');
    this.values = cache('v');
    this.logits = this.memory.declare('next logits', [1, vocabSize], { category: 'logits' });
  }

  /** Allocates the cache. The model must be loaded; `capacity` may not exceed its `maxLength`. */
  static async create(gpu: Gpu, model: Model, options: GeneratorOptions): Promise<Generator> {
    invariant(options.capacity <= model.maxLength, `a capacity of ${options.capacity} exceeds ${model.maxLength}`);
    const generator = new Generator(gpu, model, options);
    await generator.memory.allocate(gpu);
    return generator;
  }

  /** Tokens that still fit. */
  get room(): number {
    return this.options.capacity - this.length;
  }

  /** Forgets the past and runs a prompt. Logits [V] of the token after it. Throws `ARGUMENT` when it does not fit. */
  async prompt(ids: readonly number[]): Promise<Float32Array> {
    if (ids.length === 0 || ids.length > this.options.capacity) {
      throw new SftError('ARGUMENT', `prompt: expected 1 to ${this.options.capacity} tokens, got ${ids.length}`, {
        hint: 'shorten the prompt, or raise model.max_seq_len',
      });
    }
    const T = bucketLength(ids.length);
    const pass = await this.pass(`prompt ${T}`, T, false);
    const count = ids.length;
    const numbers = (value: (t: number) => number) => Uint32Array.from({ length: T }, (_, t) => value(t));
    this.put(
      pass.ids,
      numbers((t) => ids[t] ?? 0),
    );
    this.put(
      pass.positions,
      numbers((t) => (t < count ? t : 0)),
    );
    this.put(
      pass.slots,
      numbers((t) => (t < count ? t : UNUSED)),
    );
    this.put(
      pass.starts,
      numbers((t) => (t < count ? 0 : t)),
    );
    this.put(
      pass.ends,
      numbers((t) => (t < count ? count : t + 1)),
    );
    this.put(pass.row, new Uint32Array([count - 1]));
    this.length = count;
    return this.run(pass);
  }

  /** Runs one more token. Logits [V] of the token after it. */
  async step(id: number): Promise<Float32Array> {
    invariant(this.room > 0, 'the cache is full');
    const pass = await this.pass('step', 1, true);
    this.put(pass.ids, new Uint32Array([id]));
    this.put(pass.positions, new Uint32Array([this.length]));
    this.put(pass.slots, new Uint32Array([this.length]));
    this.put(pass.starts, new Uint32Array([0]));
    this.put(pass.row, new Uint32Array([0]));
    this.length += 1;
    return this.run(pass);
  }

  /** Frees everything but the model. */
  close(): void {
    for (const { program } of this.passes.values()) program.close();
    this.pool.close(this.gpu);
    this.memory.close(this.gpu);
  }

  private put(tensor: Tensor, values: Uint32Array<ArrayBuffer>): void {
    upload(this.gpu, this.memory, tensor, values);
  }

  private async run({ program }: Pass): Promise<Float32Array> {
    await program.run();
    const { buffer, offset, size } = this.memory.locate(this.logits);
    return new Float32Array(await this.gpu.read(buffer.buffer, offset, size));
  }

  private async pass(key: string, T: number, cached: boolean): Promise<Pass> {
    const existing = this.passes.get(key);
    if (existing) return existing;
    const input = (name: string, count: number) =>
      this.memory.declare(`${key} ${name}`, [count], { dtype: 'u32', category: 'staging' });
    const inputs = {
      ids: input('ids', T),
      positions: input('positions', T),
      slots: input('slots', T),
      starts: input('starts', T),
      ends: input('ends', T),
      row: input('row', 1),
    };
    await this.memory.allocate(this.gpu);
    const program = await Program.build(this.gpu, this.trace(inputs, cached), this.memory, this.pool);
    const pass = { program, ...inputs };
    this.passes.set(key, pass);
    return pass;
  }

  private trace({ ids, positions, slots, starts, ends, row }: Omit<Pass, 'program'>, cached: boolean): Tape {
    const { decoder, table } = this.model;
    const tape = new Tape(this.gpu, null);
    const context: Context = {
      tape,
      ids,
      positions,
      table,
      groups: null,
      seed: null,
      adapters: this.options.adapters,
      attend: (layer, q, k, v, options) => {
        const [cacheK, cacheV] = [this.keys[layer], this.values[layer]];
        invariant(cacheK && cacheV, `layer ${layer} has no cache`);
        if (cached) return tape.apply(ops.cachedAttention, { q, k, v, cacheK, cacheV, firsts: starts, slots }, options);
        writeCache(tape, k, slots, cacheK);
        writeCache(tape, v, slots, cacheV);
        return tape.apply(ops.attention, { q, k, v, starts, ends }, options);
      },
    };
    const last = decoder.select(context, decoder.hidden(context, false), row, undefined);
    const logits = tape.apply(ops.linear, { x: last, w: decoder.head }, {});
    sum(tape, logits, null, this.logits);
    return tape;
  }
}
