import { afterEach, describe, expect, test, vi } from 'vitest';
import { Gpu } from '../../src/gpu/device.ts';
import { adamW, adamWHyper } from '../../src/kernels/adamW.ts';
import type { Tensor } from '../../src/kernels/define.ts';
import { gradientNorm } from '../../src/kernels/gradientNorm.ts';
import { SftError } from '../../src/platform/errors.ts';
import { download, Memory, upload } from '../../src/tensor/memory.ts';
import * as ops from '../../src/tensor/ops.ts';
import { Pool, Program } from '../../src/tensor/program.ts';
import { Tape } from '../../src/tensor/tape.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { poison, randomArray, useGpu } from '../kernels/harness.ts';
import { groupTokens } from '../kernels/references.ts';

const gpu = useGpu();

const [V, C, RANK] = [61, 16, 4];
const SHAPES = [[V, C], [C], [C, C], [RANK, C], [C, RANK]];

/** A language model of one layer, with LoRA and dropout, tied embeddings, all trained, and its optimizer. */
class TinyModel {
  readonly memory = new Memory(gpu().limits);
  private readonly arenas = {
    p: this.memory.arena('p', 'adapters'),
    g: this.memory.arena('g', 'gradients'),
    m: this.memory.arena('m', 'optimizer'),
    v: this.memory.arena('v', 'optimizer'),
  };
  private readonly trained = SHAPES.map((shape) => this.arenas.p.declare('p', shape, { requiresGrad: true }));
  private readonly gradients = new Map(
    SHAPES.map((shape, i) => [this.trained[i]!.id, this.arenas.g.declare('g', shape)]),
  );
  private readonly seed = this.memory.declare('seed', [1], { dtype: 'u32' });
  private readonly scale = this.memory.declare('scale', [1]);
  private readonly total = this.memory.declare('total', [1]);
  private readonly norm = this.memory.declare('norm', [2]);
  private readonly hyper = this.memory.declare('hyper', [8]);
  private readonly inputs: (readonly [Tensor, Uint32Array<ArrayBuffer>])[] = [];

  constructor() {
    for (const shape of SHAPES) {
      this.arenas.m.declare('m', shape);
      this.arenas.v.declare('v', shape);
    }
  }

  /** Forward and backward of T tokens: adds to the gradients and to the total loss. */
  microStep(T: number): Tape {
    const ids = Uint32Array.from({ length: T }, (_, t) => (t * t + 3) % V);
    const given = (values: Uint32Array<ArrayBuffer>) => {
      const tensor = this.memory.declare(`input ${T}`, [values.length], { dtype: 'u32' });
      this.inputs.push([tensor, values]);
      return tensor;
    };
    const [w, norm, linear, loraA, loraB] = this.trained as [Tensor, Tensor, Tensor, Tensor, Tensor];
    const { order, starts, ids: distinct, count } = groupTokens(ids);
    const groups = { order: given(order), starts: given(starts), ids: given(distinct), count: given(count) };
    const [first, last] = [given(new Uint32Array(T)), given(new Uint32Array(T).fill(T))];
    const tape = new Tape(gpu(), this.gradients);
    const x = tape.apply(ops.embedding, { ids: given(ids), w }, { groups });
    const hidden = tape.checkpoint((input) => {
      const normed = tape.apply(ops.rmsNorm, { x: input, w: norm }, { eps: 1e-5 });
      const attributes = { scale: 2, dropout: { p: 0.1, stream: 1 } };
      const projected = { x: normed, w: linear, loraA, loraB, seed: this.seed, residual: input };
      const y = tape.apply(ops.linear, projected, attributes);
      const q = tape.apply(ops.add, { a: y, b: normed }, {});
      const rows = { q, k: y, v: input, starts: first, ends: last };
      return tape.apply(ops.attention, rows, { heads: 2, groups: 2, scale: 0.3, window: 0 });
    }, x);
    const targets = given(Uint32Array.from(ids, (id) => (id + 1) % V));
    const head = { x: hidden, w, targets, scale: this.scale, total: this.total };
    tape.backward(tape.apply(ops.linearCrossEntropy, head, { losses: null, training: true }));
    return tape;
  }

  /** Clipping and AdamW over whole chunks; then the gradients are cleared for the next step. */
  update(): Trace {
    const { p, g, m, v } = this.arenas;
    const trace = new Trace(gpu());
    gradientNorm(trace, g.chunks, this.norm, 1);
    p.chunks.forEach((chunk, i) => {
      const state = { p: chunk, g: g.chunks[i]!, m: m.chunks[i]!, v: v.chunks[i]! };
      adamW(trace, { ...state, clip: this.norm, hyper: this.hyper }, true);
    });
    for (const chunk of g.chunks) trace.clear(chunk);
    return trace;
  }

  /** The state before the first step. */
  reset(): void {
    for (const { chunks } of Object.values(this.arenas)) {
      for (const chunk of chunks) upload(gpu(), this.memory, chunk, new Float32Array(chunk.shape[0] ?? 0));
    }
    for (const [i, tensor] of this.trained.entries()) {
      upload(
        gpu(),
        this.memory,
        tensor,
        randomArray(
          SHAPES[i]!.reduce((a, b) => a * b, 1),
          i + 1,
          0.5,
        ),
      );
    }
    for (const [tensor, values] of this.inputs) upload(gpu(), this.memory, tensor, values);
    upload(gpu(), this.memory, this.scale, Float32Array.of(1 / 42));
    upload(gpu(), this.memory, this.total, Float32Array.of(0));
  }

  /** What changes from step to step. */
  schedule(t: number): void {
    const rest = { weightDecay: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    upload(gpu(), this.memory, this.seed, Uint32Array.of(1000 + t));
    upload(gpu(), this.memory, this.hyper, adamWHyper({ t, learningRate: 0.05 / Math.sqrt(t), ...rest }));
  }

  async read(what: 'p' | 'g' | 'total'): Promise<Uint32Array> {
    const tensors = what === 'total' ? [this.total] : this.arenas[what].chunks;
    expect(tensors).toHaveLength(1);
    return new Uint32Array(await download(gpu(), this.memory, tensors[0]!));
  }
}

/** Two programs of different lengths and the update, over one pool. */
async function build() {
  const model = new TinyModel();
  const traces = { short: model.microStep(13), long: model.microStep(29), update: model.update() };
  await model.memory.allocate(gpu());
  const pool = new Pool();
  const programs = {
    short: await Program.build(gpu(), traces.short, model.memory, pool),
    long: await Program.build(gpu(), traces.long, model.memory, pool),
    update: await Program.build(gpu(), traces.update, model.memory, pool),
  };
  // The first run of a program that was built before the pool grew binds anew.
  for (const program of Object.values(programs)) await program.run();
  const close = async () => {
    for (const program of Object.values(programs)) program.close();
    pool.close(gpu());
    model.memory.close(gpu());
    await gpu().collect();
  };
  return { model, pool, ...programs, close };
}

const CREATIONS = ['createBuffer', 'createBindGroup', 'createShaderModule', 'createComputePipelineAsync'] as const;

/** Counts what the device is asked to make from now on. */
function watch(device: GPUDevice): () => number[] {
  const spies = CREATIONS.map((name) => vi.spyOn(device, name));
  return () => spies.map((spy) => spy.mock.calls.length);
}

const counts = () => ({ live: { ...gpu().ledger.live }, count: gpu().ledger.count });

afterEach(() => void vi.restoreAllMocks());

describe('replay', () => {
  test('two programs in one pool give the same bytes the first and the two hundredth time', async () => {
    const { model, pool, short, long, update, close } = await build();
    const gradients = async (program: Program) => {
      model.reset();
      model.schedule(1);
      poison(gpu(), pool, program);
      await program.run();
      return [await model.read('g'), await model.read('total')];
    };
    const first = [await gradients(short), await gradients(long)];
    expect(first[0]).not.toEqual(first[1]);
    const before = counts();
    const created = watch(gpu().device);
    for (let i = 0; i < 200; i++) await (i % 2 === 0 ? short : long).run();
    await gpu().done();
    expect(created()).toEqual([0, 0, 0, 0]);
    expect(counts()).toEqual(before);
    expect([await gradients(short), await gradients(long)]).toEqual(first);
    expect(update.dispatches).toBe(3);
    await close();
  });

  test('two runs of 200 training steps end in the same bytes, and nothing grows', async () => {
    const { model, short, long, update, close } = await build();
    const before = counts();
    const created = watch(gpu().device);
    const train = async () => {
      model.reset();
      for (let t = 1; t <= 200; t++) {
        model.schedule(t);
        await short.run();
        await long.run();
        await update.run();
        if (t % 50 === 0) {
          await gpu().done();
          expect([created(), counts()], `after step ${t}`).toEqual([[0, 0, 0, 0], before]);
        }
      }
    };
    const finish = async () => {
      vi.restoreAllMocks();
      const parameters = await model.read('p');
      const total = new Float32Array((await model.read('total')).buffer)[0]!;
      return { parameters, total };
    };
    await train();
    const first = await finish();
    watch(gpu().device);
    await train();
    const second = await finish();
    expect(second).toEqual(first);
    // It learned: the mean loss over all steps is far below that of guessing.
    expect(first.total / (200 * 42)).toBeLessThan(0.5 * Math.log(V));
    await close();
  });

  test('a pool that grows for a longer program leaves the shorter one right', async () => {
    const model = new TinyModel();
    const [small, large] = [model.microStep(5), model.microStep(40)];
    await model.memory.allocate(gpu());
    const pool = new Pool();
    const short = await Program.build(gpu(), small, model.memory, pool);
    const run = async () => {
      model.reset();
      model.schedule(1);
      await short.run();
      return model.read('g');
    };
    const first = await run();
    const { version } = pool;
    const long = await Program.build(gpu(), large, model.memory, pool);
    expect(pool.version).toBeGreaterThan(version);
    const bytes = counts();
    poison(gpu(), pool, long);
    expect(await run()).toEqual(first);
    expect(counts()).toEqual(bytes);
    pool.close(gpu());
    model.memory.close(gpu());
    await gpu().collect();
  });
});

describe('a pool that cannot grow', () => {
  test('frees what it had to, and the programs that fitted go on', async () => {
    let full = false;
    const device = await Gpu.open({
      beforeAllocation(bytes, category) {
        if (full && category === 'activations' && bytes > 4096) throw new SftError('OUT_OF_MEMORY', 'full');
      },
    });
    const memory = new Memory(device.limits);
    const program = (rows: number) => {
      const x = memory.declare('x', [rows, 64]);
      const [w, y] = [memory.declare('w', [64]), memory.declare('y', [rows, 64])];
      const tape = new Tape(device, null);
      const norm = (input: Tensor) => tape.apply(ops.rmsNorm, { x: input, w }, { eps: 1e-5 });
      const last = norm(norm(norm(x)));
      tape.apply(ops.add, { a: last, b: y }, {});
      return { tape, x, w };
    };
    const [small, large] = [program(8), program(64)];
    await memory.allocate(device);
    upload(device, memory, small.x, randomArray(8 * 64, 1));
    upload(device, memory, small.w, randomArray(64, 2));
    const pool = new Pool();
    const short = await Program.build(device, small.tape, memory, pool);
    await short.run();
    const before = { live: { ...device.ledger.live }, count: device.ledger.count };
    full = true;
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(Program.build(device, large.tape, memory, pool)).rejects.toThrow('full');
    }
    await short.run();
    await device.done();
    expect({ live: { ...device.ledger.live }, count: device.ledger.count }).toEqual(before);
    full = false;
    await (await Program.build(device, large.tape, memory, pool)).run();
    await short.run();
    await device.done();
    pool.close(device);
    memory.close(device);
    await device.close();
    expect(device.ledger.count).toBe(0);
  });
});
