/** Memory that runs out although the plan said that it would do. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Gpu } from '../../../src/gpu/device.ts';
import { type Category, sumBytes } from '../../../src/gpu/ledger.ts';
import { SftError } from '../../../src/platform/errors.ts';
import { listAdapters } from '../../../src/platform/nodeGpu.ts';
import { memoryStore } from '../../../src/platform/stores.ts';
import type { TrainEvent } from '../../../src/train/events.ts';
import {
  lossesOf,
  makeRows,
  readJson,
  TINY_LLAMA,
  type TinyRun,
  tinyTrainer,
  train,
  writeRandomModel,
} from './fixtures.ts';

const WEIGHT_DECAY = { weight_decay: 0.1, learning_rate: 5e-3 };

describe('when memory runs out', () => {
  let root: string;
  let model: string;
  /** Throws for the requests that are to fail. */
  let refuse: (bytes: number, category: Category) => boolean = () => false;
  let gpu: Gpu;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'sft-oom-'));
    model = await writeRandomModel(join(root, 'base'), TINY_LLAMA);
    gpu = await Gpu.open({
      beforeAllocation(bytes, category) {
        if (refuse(bytes, category)) throw new SftError('OUT_OF_MEMORY', `no ${bytes} bytes of ${category}`);
      },
    });
  });
  afterAll(async () => {
    await gpu.close();
    await rm(root, { recursive: true });
  });

  const run = (batch: number, options: Partial<TinyRun> = {}): TinyRun => ({
    gpu,
    model,
    store: memoryStore(),
    rows: makeRows(19),
    ...options,
    train: {
      max_steps: 6,
      batch_size: batch,
      gradient_accumulation_steps: 8 / batch,
      ...WEIGHT_DECAY,
      ...options.train,
    },
  });
  const warningsOf = (events: readonly TrainEvent[]) =>
    events.flatMap((event) =>
      event.type === 'warning' && event.message.startsWith('memory ran out') ? event.message : [],
    );

  const expectSame = (losses: readonly number[], expected: readonly number[]) => {
    expect(losses).toHaveLength(expected.length);
    for (const [step, loss] of losses.entries()) expect(Math.abs(loss / expected[step]! - 1)).toBeLessThan(1e-4);
  };

  for (const mode of ['lora', 'full'] as const) {
    it(`${mode}: during set-up the batch is halved until it fits, and the losses stay the same`, async () => {
      const whole = lossesOf(await train(run(8, { mode })));
      expect(whole).toHaveLength(6);
      const four = (await tinyTrainer(run(4, { mode }))).plan();
      const store = memoryStore();
      let taken = 0;
      gpu.ledger.resetPeak();
      // As an adapter would that has just enough for batches of two rows: activations of larger ones do not fit.
      refuse = (bytes, category) =>
        category === 'activations' && gpu.ledger.live.activations + bytes >= four.activations;
      const events = await train(run(8, { mode, store }));
      refuse = () => false;
      taken = gpu.ledger.count;
      expect(taken).toBe(0);
      expect(warningsOf(events)).toHaveLength(1);
      expect(warningsOf(events)[0]).toMatch(/no \d+ bytes of activations.* 8 x 1 became 2 x 4/);
      const [start] = events;
      expect(start).toMatchObject({ type: 'start', batch_size: 2, gradient_accumulation_steps: 4 });
      expectSame(lossesOf(events), whole);
      const { planned, measured } = await readJson<Record<'planned' | 'measured', { peak_bytes: number }>>(
        store,
        'memory.json',
      );
      expect(measured).toEqual(planned);
    });

    it(`${mode}: in a later step the step begins anew with half the batch, from the same state`, async () => {
      const settings = { mode, evalRows: makeRows(5, 9), train: { eval_strategy: 'steps', eval_steps: 2 } } as const;
      const whole = await train(run(8, settings));
      const trainer = await tinyTrainer(run(8, settings));
      const events: TrainEvent[] = [];
      let refusals = 0;
      for await (const event of trainer.train()) {
        events.push(event);
        if (event.type !== 'step' || event.step !== 3) continue;
        // Take the buffers of the run away, so that the next step has to ask for them again, and refuse once.
        (trainer.engine as unknown as { pool: { close: (gpu: Gpu) => void } }).pool.close(gpu);
        refuse = () => ++refusals === 1;
      }
      refuse = () => false;
      expect(refusals).toBeGreaterThan(1);
      expect(warningsOf(events)).toHaveLength(1);
      expect(warningsOf(events)[0]).toMatch(/8 x 1 became 4 x 2/);
      expectSame(lossesOf(events), lossesOf(whole));
      const evaluations = (all: readonly TrainEvent[]) =>
        all.flatMap((event) => (event.type === 'eval' ? event.eval_loss : []));
      expect(evaluations(events)).toHaveLength(3);
      expectSame(evaluations(events), evaluations(whole));
      const epochs = (all: readonly TrainEvent[]) => all.flatMap((event) => (event.type === 'step' ? event.epoch : []));
      expect(epochs(events).map(Math.ceil)).toEqual(epochs(whole).map(Math.ceil));
    });
  }

  it('a run whose single rows do not fit ends with one error, its plan in it, and nothing left', async () => {
    refuse = (_, category) => category === 'activations';
    const trainer = await tinyTrainer(run(8));
    const told: TrainEvent[] = [];
    const ended = (async () => {
      for await (const event of trainer.train()) told.push(event);
    })();
    await expect(ended).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      message: expect.stringMatching(
        /^memory ran out with batch_size 1, planned \d.* MiB \(weights .*activations .*\): no \d+ bytes of activations$/,
      ),
      hint: expect.stringContaining('train.gradient_checkpointing: true'),
    });
    refuse = () => false;
    expect(told).toEqual([]);
    expect([gpu.ledger.count, sumBytes(gpu.ledger.live)]).toEqual([0, 0]);
  });

  it('weights that do not fit say so, too', async () => {
    refuse = (_, category) => category === 'weights';
    await expect(train(run(2))).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' });
    refuse = () => false;
    expect(gpu.ledger.count).toBe(0);
  });

  it('SwiftShader refuses a buffer of 1 GiB: half the batch is trained instead', {
    timeout: 240_000,
  }, async (context) => {
    const known = (await listAdapters()).some(({ name }) => /swiftshader/i.test(name));
    if (!known) return context.skip('there is no SwiftShader here');
    // 8 rows of 512 tokens make tensors of 4096 x 65536 numbers.
    const wide = { ...TINY_LLAMA, hidden_size: 8, num_attention_heads: 2, intermediate_size: 2 ** 16 };
    const path = await writeRandomModel(join(root, 'wide'), {
      ...wide,
      num_hidden_layers: 1,
      max_position_embeddings: 512,
    });
    const rows = Array.from({ length: 8 }, (_, row) => {
      const inputIds = Int32Array.from({ length: 512 }, (_, t) => (7 * t + row) % 101);
      return { inputIds, labels: inputIds.map((id, t) => (t < 500 ? -100 : id)) };
    });
    const swiftShader = await Gpu.open({ adapter: 'SwiftShader' });
    try {
      const trainer = await tinyTrainer({
        gpu: swiftShader,
        model: path,
        store: memoryStore(),
        rows,
        maxLength: 512,
        lora: { r: 1, target_modules: ['q_proj'] },
        train: { max_steps: 1, batch_size: 8, gradient_accumulation_steps: 1, gradient_checkpointing: true },
        memory: { budget_gib: 64 },
      });
      // A step takes a minute on this adapter; what is told before it is enough.
      const events: TrainEvent[] = [];
      for await (const event of trainer.train()) {
        events.push(event);
        if (warningsOf(events).length > 0) break;
      }
      expect(events[0]).toMatchObject({ type: 'start', batch_size: 4, gradient_accumulation_steps: 2 });
      expect(warningsOf(events)[0]).toMatch(/OUT_OF_DEVICE_MEMORY.* 8 x 1 became 4 x 2/s);
    } finally {
      await swiftShader.close();
    }
    expect(swiftShader.ledger.count).toBe(0);
  });
});
