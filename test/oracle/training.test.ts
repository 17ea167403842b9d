/**
 * Twenty optimizer steps against a plain PyTorch and PEFT loop in float32, a few against TRL, and what was saved loaded in
 * PEFT and transformers. Needs WEBGPU_SFT_ORACLE_PYTHON.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCursor } from '../../src/data/batches.ts';
import { Gpu } from '../../src/gpu/device.ts';
import type { MergeDtype } from '../../src/model/merge.ts';
import { writeAdapter } from '../../src/model/peft.ts';
import { openStore } from '../../src/platform/nodeFiles.ts';
import { saveFolder } from '../../src/platform/stores.ts';
import { mergeAdapter } from '../../src/train/library.ts';
import {
  lossesOf,
  makeRows,
  TINY_LLAMA,
  TINY_QWEN2,
  type TinyRun,
  tinyTrainer,
  writeRandomModel,
} from '../train/gpu/fixtures.ts';
import { rowLogits } from './inference.ts';
import { type Floats, python, readFloats, relativeToLargest, runPython, Worst } from './python.ts';

const DTYPES: readonly MergeDtype[] = ['float32', 'float16', 'bfloat16'];

interface Case {
  readonly name: string;
  readonly config: typeof TINY_LLAMA;
  readonly mode: 'qlora' | 'lora' | 'full';
  readonly lora?: TinyRun['lora'];
  readonly train: NonNullable<TinyRun['train']>;
  readonly rows: number;
  /** In optimizer steps, as transformers wants it. */
  readonly warmup: number;
  /** Against TRL: its losses only. */
  readonly trl?: boolean;
}

/** By name 5 comes after 15, by number 20 is the newest. */
const CHECKPOINTS = { save_strategy: 'steps', save_steps: 5, save_total_limit: null } as const;

const CASES: readonly Case[] = [
  {
    name: 'lora, all-linear, cosine',
    config: { ...TINY_LLAMA, ...{ attention_bias: true, mlp_bias: true } },
    mode: 'lora',
    train: {
      ...{ max_steps: 20, lr_scheduler: 'cosine', warmup_ratio: 0.2, weight_decay: 0.1, learning_rate: 1e-2 },
      ...CHECKPOINTS,
    },
    rows: 13,
    warmup: 4,
  },
  {
    name: 'lora, default targets, rsLoRA, linear',
    config: TINY_QWEN2,
    mode: 'lora',
    lora: { r: 8, alpha: 4, use_rslora: true, target_modules: 'auto' },
    train: { max_steps: 20, lr_scheduler: 'linear', warmup_steps: 3, weight_decay: 0.05, learning_rate: 1e-2 },
    rows: 14,
    warmup: 3,
  },
  {
    name: 'full, cosine',
    config: TINY_LLAMA,
    mode: 'full',
    train: {
      ...{ max_steps: 20, lr_scheduler: 'cosine', warmup_steps: 2, weight_decay: 0.1, learning_rate: 3e-3 },
      ...CHECKPOINTS,
    },
    rows: 15,
    warmup: 2,
  },
  {
    name: 'full, tied, linear',
    config: TINY_QWEN2,
    mode: 'full',
    train: { max_steps: 20, lr_scheduler: 'linear', warmup_ratio: 0.1, weight_decay: 0.2, learning_rate: 3e-3 },
    rows: 13,
    warmup: 2,
  },
  {
    name: 'qlora, llama',
    config: TINY_LLAMA,
    mode: 'qlora',
    train: { max_steps: 8, lr_scheduler: 'cosine', warmup_steps: 1, weight_decay: 0.1, learning_rate: 3e-2 },
    rows: 13,
    warmup: 1,
  },
  {
    name: 'qlora, qwen2',
    config: TINY_QWEN2,
    mode: 'qlora',
    train: { max_steps: 8, lr_scheduler: 'linear', warmup_steps: 1, learning_rate: 1e-2 },
    rows: 13,
    warmup: 1,
  },
  {
    name: 'lora, TRL',
    config: TINY_LLAMA,
    mode: 'lora',
    train: { max_steps: 4, lr_scheduler: 'linear', warmup_steps: 1, learning_rate: 1e-2, shuffle: false },
    rows: 16,
    warmup: 1,
    trl: true,
  },
];

interface Answer {
  readonly losses: number[];
  readonly norms: number[];
  /** Keys that are missing or too much in what was saved. */
  readonly problems: string[];
  /** Of trainer_state.json as transformers reads it. */
  readonly step: number;
  /** The checkpoint that transformers would go on from. */
  readonly newest?: {
    readonly folder: string;
    readonly step: number;
    readonly max_steps: number;
    readonly log: number[];
    readonly problems: string[];
    readonly same_weights: boolean;
  };
  /** By dtype: the share of elements that differ from PEFT's, by how many units of the last place at most. */
  readonly merged: Record<string, { problems: string[]; differ: number; places: number; relative: number }>;
}

describe.skipIf(!python)('training against PyTorch', () => {
  const worst = new Worst();
  let root: string;
  let gpu: Gpu;
  let answers: Record<string, Answer>;
  let expected: Map<string, Floats>;
  const ours = new Map<string, { losses: number[]; norms: number[]; final: string; model: string }>();

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'sft-training-'));
    gpu = await Gpu.open();
    const runs: unknown[] = [];
    for (const [index, one] of CASES.entries()) runs.push(await trainCase(one, join(root, String(index))));
    await writeFile(join(root, 'cases.json'), JSON.stringify(runs));
    answers = runPython('training.py', [root]);
    expected = await readFloats(join(root, 'expected.safetensors'));
  });
  afterAll(async () => {
    await gpu?.close();
    await rm(root, { recursive: true });
    worst.print('training');
  });

  /** Trains and merges; what Python needs to do the same. */
  async function trainCase({ name, config, mode, lora, train, rows: count, warmup, trl }: Case, folder: string) {
    const model = await writeRandomModel(join(folder, 'base'), config);
    const store = await openStore(join(folder, 'run'));
    const rows = makeRows(count);
    const trainer = await tinyTrainer({ gpu, model, store, rows, mode, ...(lora && { lora }), train });
    const events = [];
    for await (const event of trainer.train()) {
      events.push(event);
      const adapter = trainer.model.lora;
      if (event.type !== 'start' || !adapter) continue;
      const weights = await adapter.weights(gpu, trainer.model.memory);
      await saveFolder(store, 'initial', (staged) => writeAdapter(staged, adapter.config, weights));
    }
    const norms = events.flatMap((event) => (event.type === 'step' ? event.grad_norm : []));
    const final = join(folder, 'run', 'final_model');
    ours.set(name, { losses: lossesOf(events), norms, final, model });
    const merged: Record<string, string> = {};
    if (mode === 'lora' && !trl) {
      for (const dtype of DTYPES) {
        await mergeAdapter(model, final, store, `merged-${dtype}`, { dtype });
        merged[dtype] = join(folder, 'run', `merged-${dtype}`);
      }
    }
    const { shuffle = true, max_steps: steps = 0, learning_rate, weight_decay = 0, lr_scheduler } = train;
    const order = { rows: count, batchSize: 2, gradientAccumulationSteps: 2, shuffle, seed: 42 };
    const cursor = createCursor(order);
    return {
      name,
      model,
      mode,
      initial: join(folder, 'run', 'initial'),
      final,
      merged,
      rows: rows.map(({ inputIds, labels }) => ({ input_ids: [...inputIds], labels: [...labels] })),
      steps: Array.from({ length: steps }, () => cursor.next().microBatches),
      learning_rate,
      weight_decay,
      scheduler: lr_scheduler,
      warmup_steps: warmup,
      max_grad_norm: 1,
      vocabulary: config.vocab_size,
      trl: trl ?? false,
      checkpoints: train.save_strategy === 'steps',
    };
  }

  for (const { name, mode, train, trl } of CASES) {
    it(`${name}: losses and gradient norms`, () => {
      const { losses, norms } = ours.get(name)!;
      const want = answers[name]!;
      expect(losses.length).toBe(train.max_steps);
      const kind = trl ? 'TRL' : mode;
      // bitsandbytes on a CPU does not always take the nearest of the codes of its scales.
      const bound = trl || mode === 'qlora' ? 1e-3 : 5e-5;
      expect(worst.note(`${kind} losses`, worstOf(losses, want.losses))).toBeLessThan(bound);
      if (!trl) expect(worst.note(`${kind} norms`, worstOf(norms, want.norms))).toBeLessThan(1e-3);
      // There was something to learn, and something to clip.
      if (!trl) expect(losses.at(-1)!).toBeLessThan(losses[0]! * 0.9);
      expect(Math.max(...norms)).toBeGreaterThan(1);
    });
    if (trl || mode === 'qlora') continue;

    it(`${name}: what was saved loads, and gives the same logits`, async () => {
      expect(answers[name]!.problems).toEqual([]);
      expect(answers[name]!.step).toBe(train.max_steps);
      const { final, model } = ours.get(name)!;
      const ids = makeRows(1)[0]!.inputIds;
      const got = mode === 'full' ? await rowLogits(gpu, final, ids) : await rowLogits(gpu, model, ids, final);
      expect(worst.note('logits', relativeToLargest(got, expected.get(name)!.values))).toBeLessThan(1e-5);
    });
    if (train.save_strategy === 'steps') {
      it(`${name}: transformers finds the newest checkpoint and reads it`, () => {
        const { log = [], ...newest } = answers[name]!.newest ?? {};
        const wanted = { folder: 'checkpoint-20', step: 20, max_steps: 20, problems: [], same_weights: true };
        expect(newest).toEqual(wanted);
        expect(log).toEqual(Array.from({ length: log.length }, (_, row) => (20 / log.length) * (row + 1)));
        expect(log.length).toBeGreaterThan(0);
      });
    }
    if (mode === 'full') continue;

    it(`${name}: the merged model is PEFT's, rounded`, () => {
      const { merged } = answers[name]!;
      expect(Object.keys(merged)).toEqual(DTYPES);
      for (const [dtype, { problems, differ, places, relative }] of Object.entries(merged)) {
        expect(problems, dtype).toEqual([]);
        // That of the 16-bit types is their rounding.
        expect(relative, dtype).toBeLessThan({ float32: 1e-6, float16: 1e-3, bfloat16: 8e-3 }[dtype]!);
        if (dtype === 'float32') {
          worst.note('merged', relative);
          continue;
        }
        // A sum in another order now and then falls on the other side of a middle between two 16-bit numbers.
        expect(differ, dtype).toBeLessThan(1e-3);
        expect(places, dtype).toBeLessThanOrEqual(1);
      }
    });
  }
});

/** The largest relative difference. */
function worstOf(got: readonly number[], want: readonly number[]): number {
  expect(got.length).toBe(want.length);
  return Math.max(...got.map((value, index) => Math.abs(value - want[index]!) / want[index]!));
}
