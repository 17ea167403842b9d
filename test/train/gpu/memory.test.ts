/** Bytes of a run: as planned, the same at every step, and none left behind. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Gpu } from '../../../src/gpu/device.ts';
import { type Bytes, sumBytes } from '../../../src/gpu/ledger.ts';
import { openModel } from '../../../src/model/modelFiles.ts';
import { openFolder } from '../../../src/platform/nodeFolder.ts';
import { memoryStore } from '../../../src/platform/stores.ts';
import { makeRows, readJson, TINY_LLAMA, tinyTrainer, train, writeRandomModel } from './fixtures.ts';

interface Peak {
  readonly peak_bytes: number;
  readonly categories: Bytes;
}

describe('memory of a run', () => {
  let root: string;
  let model: string;
  let gpu: Gpu;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'sft-memory-'));
    model = await writeRandomModel(join(root, 'base'), TINY_LLAMA);
  });
  afterAll(() => rm(root, { recursive: true }));

  // The largest number of bytes that were ever alive is a matter of the device.
  beforeEach(async () => {
    gpu = await Gpu.open();
  });
  afterEach(async () => {
    await gpu.close();
    expect(gpu.ledger.count).toBe(0);
    expect(sumBytes(gpu.ledger.live)).toBe(0);
  });

  for (const mode of ['lora', 'full'] as const) {
    for (const gradient_checkpointing of [false, true]) {
      it(`${mode}${gradient_checkpointing ? ' with checkpointing' : ''}: 40 steps take what was planned`, async () => {
        const store = memoryStore();
        await train({
          gpu,
          model,
          store,
          rows: makeRows(30),
          evalRows: makeRows(6, 8),
          mode,
          train: { max_steps: 40, gradient_checkpointing, save_strategy: 'epoch', eval_strategy: 'epoch' },
        });
        const { planned, measured } = await readJson<Record<'planned' | 'measured', Peak>>(store, 'memory.json');
        expect(planned.peak_bytes).toBe(sumBytes(planned.categories));
        expect(planned.categories.activations).toBeGreaterThan(100_000);
        expect(planned.categories.optimizer).toBeGreaterThan(40_000);
        expect(measured).toEqual(planned);
      });
    }

    it(`${mode}: nothing is made in 200 steps after the first epoch`, async () => {
      const settings = { max_steps: 200, learning_rate: 1e-4, shuffle: false };
      const trainer = await tinyTrainer({
        gpu,
        model,
        store: memoryStore(),
        rows: makeRows(16),
        mode,
        train: settings,
      });
      let groups = 0;
      const createBindGroup = gpu.device.createBindGroup.bind(gpu.device);
      gpu.device.createBindGroup = (descriptor) => {
        groups += 1;
        return createBindGroup(descriptor);
      };
      const seen: string[] = [];
      for await (const { type } of trainer.train()) {
        const { live, count } = gpu.ledger;
        if (type === 'step') seen.push(`${sumBytes(live)} bytes, ${count} buffers, ${groups} groups`);
      }
      expect(seen.length).toBe(200);
      expect(groups).toBeGreaterThan(50);
      expect(new Set(seen.slice(4 * 4)).size).toBe(1);
      // Bytes do not grow even where a batch of another shape comes for the first time.
      expect(new Set(seen.map((line) => line.split(',')[0])).size).toBe(1);
    });
  }

  const bases = {
    lora: { mode: 'lora' },
    qlora: { mode: 'qlora' },
    int8: { mode: 'lora', quantization: { type: 'int8' } },
    full: { mode: 'full' },
  } as const;
  for (const [name, base] of Object.entries(bases)) {
    for (const length of [16, 33, 64]) {
      it(`${name}: rows of ${length} tokens take what was planned, also with moments in 8 bits`, async () => {
        const rows = makeRows(12, 5).map(({ inputIds, labels }) => {
          const at = (t: number) => t % inputIds.length;
          return {
            inputIds: Int32Array.from({ length }, (_, t) => inputIds[at(t)] ?? 0),
            labels: Int32Array.from({ length }, (_, t) => (t < 4 ? -100 : (labels[at(t)] ?? -100))),
          };
        });
        for (const gradient_checkpointing of [false, true]) {
          for (const optimizer of ['adamw', 'adamw_8bit'] as const) {
            const store = memoryStore();
            const settings = { max_steps: 4, gradient_checkpointing, optimizer, save_strategy: 'epoch' } as const;
            gpu.ledger.resetPeak();
            await train({ gpu, model, store, rows, ...base, lora: { r: 32 }, train: settings });
            const { planned, measured } = await readJson<Record<'planned' | 'measured', Peak>>(store, 'memory.json');
            expect(measured).toEqual(planned);
          }
        }
      });
    }
  }

  it('a larger batch takes more, and is refused where the budget is smaller', async () => {
    const files = await openModel(await openFolder(model));
    const common = { gpu, model, files, store: memoryStore(), rows: makeRows(30) };
    const plan = async (batch_size: number) =>
      sumBytes((await tinyTrainer({ ...common, train: { batch_size } })).plan());
    const [two, eight] = [await plan(2), await plan(8)];
    expect(eight).toBeGreaterThan(two * 1.5);
    const budget_gib = (two + 1) / 2 ** 30;
    await tinyTrainer({ ...common, memory: { budget_gib } });
    await expect(tinyTrainer({ ...common, memory: { budget_gib }, train: { batch_size: 8 } })).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
    });
    expect(gpu.ledger.count).toBe(0);
    await files.checkpoint.close();
  });
});
