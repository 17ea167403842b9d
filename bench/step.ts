/**
 * Whole training steps.
 *
 * The shape of the peers' figures (docs/performance.md): 6 layers, 384 wide, 6 heads, vocabulary 8192, 256 tokens. Arithmetic
 * counts 6 (full) or 4 (LoRA) times matrix weights times tokens, as for the peers: attention, recomputation and adapters are
 * not counted in our favour.
 */
import { performance } from 'node:perf_hooks';
import type { LabelledTokens } from '../src/data/labels.ts';
import type { Gpu } from '../src/gpu/device.ts';
import { sumBytes } from '../src/gpu/ledger.ts';
import { matmul } from '../src/kernels/matmul.ts';
import { Model } from '../src/model/model.ts';
import { download } from '../src/tensor/memory.ts';
import { Engine, shapeFor } from '../src/train/engine.ts';
import { median, type Result, speed, speedUnit } from './measure.ts';
import { randomModel, sideOf } from './programs.ts';

const TOKENS = 256;
const CONFIG = {
  model_type: 'llama',
  vocab_size: 8192,
  hidden_size: 384,
  intermediate_size: 1024,
  num_hidden_layers: 6,
  num_attention_heads: 6,
  num_key_value_heads: 6,
  max_position_embeddings: 1024,
  tie_word_embeddings: true,
};
/** Weights that tokens are multiplied with: the layers and the head. */
const WEIGHTS = 6 * (4 * 384 * 384 + 3 * 384 * 1024) + 8192 * 384;

const PEERS = { full: 3.3, lora: 2.9 };

interface Run {
  readonly engine: Engine;
  readonly flops: number;
  step(): Promise<void>;
  close(): Promise<void>;
}

async function openRun(gpu: Gpu, mode: 'full' | 'lora'): Promise<Run> {
  const lora = {
    r: 8,
    alpha: 16,
    dropout: 0,
    useRslora: false,
    targetModules: ['q_proj', 'k_proj', 'v_proj', 'gate_proj', 'up_proj'],
  };
  const model = new Model(randomModel(CONFIG), gpu.limits, {
    maxLength: TOKENS,
    tuning: mode === 'full' ? { mode } : { mode, lora, trained: true },
  });
  const inputIds = Int32Array.from({ length: TOKENS }, (_, i) => (i * 7919) % CONFIG.vocab_size);
  const rows: LabelledTokens[] = [{ inputIds, labels: inputIds }];
  const engine = new Engine(model, gpu, {
    maxGradNorm: 1,
    checkpointing: false,
    trainShape: shapeFor(TOKENS, TOKENS),
    evalShape: null,
  });
  await model.load(gpu);
  model.lora?.initialize(gpu, model.memory, 1);
  await engine.prepare(gpu);
  let step = 0;
  return {
    engine,
    flops: (mode === 'full' ? 6 : 4) * WEIGHTS * TOKENS,
    async step() {
      step += 1;
      await engine.microStep(gpu, rows, 1 / (TOKENS - 1), step);
      const { result } = await engine.optimizerStep(gpu, {
        step,
        learningRate: 1e-4,
        weightDecay: 0,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
      });
      const { loss } = await result;
      if (!Number.isFinite(loss)) throw new Error(`step ${step}: loss is ${loss}`);
    },
    async close() {
      engine.close(gpu);
      model.close(gpu);
      await gpu.collect();
    },
  };
}

/** The fastest own matrix product of the step: the layer's widest, forward. */
const bestGemm = (gpu: Gpu) =>
  sideOf(
    gpu,
    (tape, declare) =>
      matmul(tape, {
        m: TOKENS,
        n: 1024,
        k: 384,
        a: { tensor: declare([TOKENS, 384]) },
        b: { tensor: declare([1024, 384]) },
        c: { tensor: declare([TOKENS, 1024]) },
      }),
    { repeat: 10 },
  );

export async function* benchStep(gpu: Gpu): AsyncGenerator<Result> {
  for (const mode of ['full', 'lora'] as const) {
    const run = await openRun(gpu, mode);
    yield await planned(gpu, mode, run);
    const gemm = await bestGemm(gpu);
    const side = {
      flops: run.flops * 2,
      run: async () => {
        await run.step();
        await run.step();
      },
    };
    for (let i = 0; i < 8; i++) await run.step();
    await gemm.run();
    const pairs: [number, number][] = [];
    for (let round = 0; round < 5; round++) pairs.push([await speed(gpu, side), await speed(gpu, gemm)]);
    const ours = median(pairs.map(([a]) => a));
    const unit = speedUnit(gpu);
    const ratio = median(pairs.map(([a, b]) => a / b));
    yield {
      name: `step ${mode} ÷ own gemm`,
      ours,
      reference: median(pairs.map(([, b]) => b)),
      ratio,
      unit,
      note: 'goal 0.6',
    };
    if (gpu.software) {
      const reference = PEERS[mode];
      yield {
        name: `step ${mode} ÷ best peer`,
        ours,
        reference,
        ratio: ours / reference,
        unit,
        note: 'jax-js 0.1.25 as measured on an EPYC core, see docs/performance.md',
      };
    }
    yield await scriptShare(gpu, mode, run);
    await run.close();
    await gemm.close();
  }
}

/** Time of the JavaScript thread per step, as the event loop counts it: encoding, uploads, and any spinning. */
async function scriptShare(gpu: Gpu, mode: string, run: Run): Promise<Result> {
  await gpu.done();
  const before = performance.eventLoopUtilization();
  const start = performance.now();
  for (let i = 0; i < 10; i++) await run.step();
  const clock = performance.now() - start;
  const { active } = performance.eventLoopUtilization(before);
  return {
    name: `step ${mode}: JavaScript ÷ step`,
    ours: active / 10,
    reference: clock / 10,
    ratio: active / clock,
    unit: 'ms',
    note: 'goal: at most 0.05',
  };
}

/** The most bytes that were alive in a step and in reading back what a checkpoint holds. */
async function planned(gpu: Gpu, mode: string, { engine, step }: Run): Promise<Result> {
  gpu.ledger.resetPeak();
  await step();
  const { memory, trained } = engine.model;
  for (const { p } of trained?.entries ?? []) await download(gpu, memory, p);
  const peak = gpu.ledger.peak.bytes;
  const plan = sumBytes(engine.plan());
  return {
    name: `step ${mode}: peak bytes ÷ planned`,
    ours: peak,
    reference: plan,
    ratio: peak / plan,
    unit: 'bytes',
    note: 'goal: within 2 %',
  };
}

/** Speed of the last 100 of 500 steps against the first 100. */
export async function* benchSteady(gpu: Gpu): AsyncGenerator<Result> {
  const run = await openRun(gpu, 'lora');
  for (let i = 0; i < 15; i++) await run.step();
  const hundred = {
    flops: run.flops * 100,
    run: async () => {
      for (let i = 0; i < 100; i++) await run.step();
    },
  };
  const speeds: number[] = [];
  for (let part = 0; part < 5; part++) speeds.push(await speed(gpu, hundred));
  await run.close();
  const [first = Number.NaN] = speeds;
  const last = speeds.at(-1) ?? Number.NaN;
  yield {
    name: 'steady: last 100 ÷ first 100 of 500 steps',
    ours: last,
    reference: first,
    ratio: last / first,
    unit: speedUnit(gpu),
    note: 'goal: at least 0.98',
  };
}
