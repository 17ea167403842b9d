/** Packed rows train as the same rows do in any other batches. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packRows } from '../../../src/data/packing.ts';
import { Gpu } from '../../../src/gpu/device.ts';
import { memoryStore } from '../../../src/platform/stores.ts';
import type { StartEvent, TrainEvent } from '../../../src/train/events.ts';
import { rehearse } from '../../../src/train/rehearse.ts';
import {
  lossesOf,
  makeRows,
  readFolder,
  readJson,
  reproducibleRun,
  TINY_LLAMA,
  TINY_QWEN2,
  tinyTrainer,
  train,
  writeRandomModel,
} from './fixtures.ts';

interface Peak {
  readonly peak_bytes: number;
}

const stepsOf = (events: readonly TrainEvent[]) => events.filter((event) => event.type === 'step');
const evalsOf = (events: readonly TrainEvent[]) =>
  events.flatMap((event) => (event.type === 'eval' ? event.eval_loss : []));

describe('packing', () => {
  let root: string;
  let gpu: Gpu;
  let llama: string;
  let qwen2: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'sft-packing-'));
    llama = await writeRandomModel(join(root, 'llama'), TINY_LLAMA);
    qwen2 = await writeRandomModel(join(root, 'qwen2'), TINY_QWEN2);
    gpu = await Gpu.open();
  });
  afterAll(async () => {
    await gpu.close();
    await rm(root, { recursive: true });
  });

  const rows = makeRows(23);
  const sequences = packRows(rows, 64);

  for (const mode of ['lora', 'full'] as const) {
    it(`${mode}: a step over packed rows has the loss and the gradient of the same rows unpacked`, async () => {
      for (const model of [llama, qwen2]) {
        const steps = async (settings: object) => {
          const options = { max_steps: 3, learning_rate: 1e-2, eval_strategy: 'steps', eval_steps: 1 } as const;
          const evalRows = makeRows(9, 3);
          const store = memoryStore();
          const events = await train({ gpu, model, store, rows, evalRows, mode, train: { ...options, ...settings } });
          return { steps: stepsOf(events), evals: evalsOf(events) };
        };
        // Alone in its micro-batch, a row cannot see another.
        const unpacked = await steps({ batch_size: 1, gradient_accumulation_steps: rows.length });
        const packed = await steps({ batch_size: sequences.length, gradient_accumulation_steps: 1, packing: true });
        const parts = await steps({
          batch_size: 2,
          gradient_accumulation_steps: Math.ceil(sequences.length / 2),
          packing: true,
        });
        for (const other of [packed, parts]) {
          for (const [index, { loss, grad_norm, num_tokens, epoch }] of other.steps.entries()) {
            const want = unpacked.steps[index]!;
            expect(num_tokens).toBe(want.num_tokens);
            expect(epoch).toBe(want.epoch);
            expect(Math.abs(loss / want.loss - 1)).toBeLessThan(1e-5);
            expect(Math.abs(grad_norm / want.grad_norm - 1)).toBeLessThan(1e-4);
            expect(Math.abs(other.evals[index]! / unpacked.evals[index]! - 1)).toBeLessThan(1e-5);
          }
          expect(other.steps.length).toBe(3);
        }
      }
    });
  }

  it('counts batches, steps and epochs by sequences, and says how full they are', async () => {
    const store = memoryStore();
    const events = await train({ gpu, model: llama, store, rows, train: { packing: true, epochs: 2 } });
    const tokens = rows.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
    const start = events[0] as StartEvent;
    expect(sequences.length).toBeLessThan(rows.length / 2);
    expect(start.rows).toEqual({ train: 23, eval: 0 });
    expect(start.packing).toEqual({
      sequences: sequences.length,
      tokens,
      efficiency: tokens / (sequences.length * 64),
    });
    const stepsPerEpoch = Math.ceil(sequences.length / 4);
    expect(start.total_steps).toBe(2 * stepsPerEpoch);
    const steps = stepsOf(events);
    expect(steps.length).toBe(2 * stepsPerEpoch);
    expect(steps[stepsPerEpoch - 1]!.epoch).toBe(1);
    expect(steps.at(-1)!.epoch).toBe(2);
    expect(steps.at(-1)!.num_tokens).toBe(2 * tokens);
  });

  it('takes the bytes that were planned for the largest sequences', async () => {
    const store = memoryStore();
    const settings = { packing: true, max_steps: 8, save_strategy: 'epoch', eval_strategy: 'epoch' } as const;
    const fresh = await Gpu.open();
    try {
      await train({ gpu: fresh, model: llama, store, rows, evalRows: makeRows(9, 3), train: settings });
      const { planned, measured } = await readJson<Record<'planned' | 'measured', Peak>>(store, 'memory.json');
      expect(measured).toEqual(planned);
      const trainer = await tinyTrainer({ gpu: fresh, model: llama, store, rows, train: settings });
      const { microStepSeconds } = await rehearse(trainer, fresh);
      expect(microStepSeconds).toBeGreaterThan(0);
    } finally {
      await fresh.close();
    }
  });

  it('a run that goes on from a checkpoint ends in the same bits; another packing is refused', async () => {
    const base = reproducibleRun(gpu, llama, memoryStore());
    const run = { ...base, rows, train: { ...base.train, packing: true, batch_size: 1 } };
    const whole = await train(run);
    const store = memoryStore();
    const resumeFrom = run.store.folder('checkpoint-8');
    const rest = await train({ ...run, store, resumeFrom });
    expect(lossesOf(rest)).toEqual(lossesOf(whole).slice(8));
    const file = 'adapter_model.safetensors';
    const [want, got] = await Promise.all([run.store, store].map((one) => readFolder(one.folder('final_model'))));
    expect(Buffer.compare(got!.get(file)!, want!.get(file)!)).toBe(0);
    const unpacked = { ...run, store: memoryStore(), resumeFrom, train: { ...run.train, packing: false } };
    await expect(train(unpacked)).rejects.toThrow('expected packed_to 64 as in the checkpoint, got null');
  });
});
