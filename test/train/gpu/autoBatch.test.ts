/** What `auto` chooses: the largest batch that fits, and checkpointing only where nothing fits without. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Gpu } from '../../../src/gpu/device.ts';
import { sumBytes } from '../../../src/gpu/ledger.ts';
import { memoryStore } from '../../../src/platform/stores.ts';
import type { StartEvent, TrainEvent } from '../../../src/train/events.ts';
import type { Trainer } from '../../../src/train/trainer.ts';
import { lossesOf, makeRows, TINY_LLAMA, type TinyRun, tinyTrainer, train, writeRandomModel } from './fixtures.ts';

describe('auto', () => {
  let root: string;
  let model: string;
  let gpu: Gpu;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'sft-auto-'));
    model = await writeRandomModel(join(root, 'base'), TINY_LLAMA);
    gpu = await Gpu.open();
  });
  afterAll(async () => {
    await gpu.close();
    await rm(root, { recursive: true });
  });

  const run = (train: TinyRun['train'], budget?: number): TinyRun => ({
    gpu,
    model,
    store: memoryStore(),
    rows: makeRows(24),
    ...(budget !== undefined && { memory: { budget_gib: budget / 2 ** 30 } }),
    train: { max_steps: 4, effective_batch_size: 8, ...train },
  });
  const auto = { batch_size: 'auto', gradient_accumulation_steps: 'auto' } as const;
  const bytes = async (batch_size: number, gradient_checkpointing: boolean) => {
    const settings = { batch_size, gradient_accumulation_steps: 8 / batch_size, gradient_checkpointing };
    return sumBytes((await tinyTrainer(run(settings))).plan());
  };
  const chosen = (trainer: Trainer) => {
    const { batch_size, gradient_accumulation_steps, gradient_checkpointing } = trainer.startEvent();
    return [batch_size, gradient_accumulation_steps, gradient_checkpointing];
  };

  it('takes the largest batch whose plan fits, and says why', async () => {
    for (const [batch, next] of [
      [8, null],
      [4, 8],
      [2, 4],
      [1, 2],
    ] as const) {
      const most = await bytes(batch, false);
      expect(chosen(await tinyTrainer(run(auto, most)))).toEqual([batch, 8 / batch, false]);
      if (next)
        expect(chosen(await tinyTrainer(run(auto, (await bytes(next, false)) - 1)))).toEqual([batch, 8 / batch, false]);
    }
    const events = await train(run(auto, await bytes(4, false)));
    const start = events.find((event): event is StartEvent => event.type === 'start');
    expect(start?.reason).toMatch(
      /^batch_size 4 x 2: the largest that fits .* \(memory\.budget_gib\) with rows of up to \d+ tokens; gradient checkpointing off$/,
    );
    expect(start?.budget).toMatchObject({ bytes: await bytes(4, false), source: 'memory.budget_gib', guess: false });
  });

  it('runs layers again only where single rows do not fit otherwise', async () => {
    const [single, again] = [await bytes(1, false), await bytes(1, true)];
    expect(again).toBeLessThan(single);
    const trainer = await tinyTrainer(run(auto, single - 1));
    const [batch, , checkpointing] = chosen(trainer);
    expect(checkpointing).toBe(true);
    expect(trainer.startEvent().reason).toMatch(/gradient checkpointing on, without it the run needs \d/);
    expect(await bytes(batch as number, true)).toBeLessThan(single);
    const asked = { ...auto, gradient_checkpointing: false } as const;
    await expect(tinyTrainer(run(asked, single - 1))).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      message: expect.stringMatching(/^memory plan: expected at most \d.* \(memory\.budget_gib\), the run needs \d/),
      hint: expect.stringMatching(/^set train\.gradient_checkpointing: true$/),
    });
  });

  it('names several changes where one is not enough, and says when none is', async () => {
    const settings = { batch_size: 8, gradient_accumulation_steps: 1, gradient_checkpointing: false };
    const together = await tinyTrainer(run(settings, await bytes(1, true))).catch((error: unknown) => error);
    expect(together).toMatchObject({ hint: expect.stringMatching(/^set train\.batch_size: \d and .* and /) });
    const none = await tinyTrainer(run(settings, 1000)).catch((error: unknown) => error);
    expect(none).toMatchObject({ hint: 'use a smaller model: no setting makes this one fit' });
  });

  it('keeps the batch of a checkpoint, whatever fits by then', async () => {
    const settings = { ...auto, max_steps: 6, save_strategy: 'steps', save_steps: 3, save_total_limit: 5 } as const;
    const first = run(settings, await bytes(2, false));
    const whole = lossesOf(await train(first));
    const resumed: TrainEvent[] = await train({
      ...run(settings, await bytes(8, false)),
      resumeFrom: first.store.folder('checkpoint-3'),
    });
    expect(resumed[0]).toMatchObject({ type: 'start', batch_size: 2, gradient_accumulation_steps: 4 });
    expect(lossesOf(resumed)).toEqual(whole.slice(3));
  });
});
