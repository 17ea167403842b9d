/** Settings that change how a step is computed and not what it computes. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Gpu } from '../../../src/gpu/device.ts';
import { memoryStore } from '../../../src/platform/stores.ts';
import {
  lossesOf,
  makeRows,
  readFolder,
  TINY_LLAMA,
  TINY_QWEN2,
  type TinyRun,
  train,
  writeRandomModel,
} from './fixtures.ts';

describe('the same training', () => {
  let root: string;
  let models: Record<'llama' | 'qwen2', string>;
  let gpu: Gpu;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'sft-same-'));
    models = {
      llama: await writeRandomModel(join(root, 'llama'), TINY_LLAMA),
      qwen2: await writeRandomModel(join(root, 'qwen2'), TINY_QWEN2),
    };
    gpu = await Gpu.open();
  });
  afterAll(async () => {
    await gpu.close();
    await rm(root, { recursive: true });
  });

  /** Losses and final files of a run on 19 rows: 3 steps an epoch, the last one smaller. */
  async function run(model: keyof typeof models, options: Pick<TinyRun, 'mode' | 'lora' | 'train'>) {
    const store = memoryStore();
    const events = await train({ gpu, model: models[model], store, rows: makeRows(19), ...options });
    return { losses: lossesOf(events), files: await readFolder(store.folder('final_model')) };
  }

  for (const mode of ['lora', 'full'] as const) {
    it(`${mode}: 8 × 1, 4 × 2 and 2 × 4 rows give the same losses`, async () => {
      const losses: number[][] = [];
      for (const batch_size of [8, 4, 2]) {
        const settings = { max_steps: 9, batch_size, gradient_accumulation_steps: 8 / batch_size, weight_decay: 0.1 };
        losses.push((await run('llama', { mode, train: settings })).losses);
      }
      const [whole, ...split] = losses;
      expect(whole!.length).toBe(9);
      expect(new Set(whole).size).toBe(9);
      for (const other of split) {
        for (const [step, loss] of other.entries()) expect(Math.abs(loss / whole![step]! - 1)).toBeLessThan(1e-5);
      }
    });

    it(`${mode}: gradient checkpointing changes no bit`, async () => {
      for (const model of ['llama', 'qwen2'] as const) {
        const settings = (gradient_checkpointing: boolean) => ({
          mode,
          lora: { dropout: 0.2 },
          train: { max_steps: 6, gradient_checkpointing },
        });
        const kept = await run(model, settings(false));
        const again = await run(model, settings(true));
        expect(again.losses).toEqual(kept.losses);
        expect(new Set(kept.losses).size).toBe(6);
        const file = mode === 'lora' ? 'adapter_model.safetensors' : 'model.safetensors';
        expect(Buffer.compare(again.files.get(file)!, kept.files.get(file)!)).toBe(0);
      }
    });
  }

  it('dropout is on while training', async () => {
    const [without, withDropout] = await Promise.all(
      [0, 0.3].map(async (dropout) => (await run('llama', { lora: { dropout }, train: { max_steps: 4 } })).losses),
    );
    // B is zero at first, so that the first step shows no difference.
    expect(withDropout![0]).toBe(without![0]);
    expect(withDropout![3]).not.toBe(without![3]);
  });
});
