/** Training with activations in f16: as good as float32, safe against overflow, and resumed with the same bytes. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Gpu } from '../../../src/gpu/device.ts';
import { memoryStore } from '../../../src/platform/stores.ts';
import type { WritableStore } from '../../../src/platform/types.ts';
import { listCheckpoints, type RunState } from '../../../src/train/checkpoint.ts';
import type { StepEvent, TrainEvent } from '../../../src/train/events.ts';
import type { LossScaleState } from '../../../src/train/lossScale.ts';
import {
  lossesOf,
  makeRows,
  readFolder,
  readJson,
  reproducibleRun,
  TINY_LLAMA,
  type TinyRun,
  tinyTrainer,
  train,
  writeRandomModel,
} from './fixtures.ts';

const float16 = { precision: 'float16' as const };

describe('precision: float16', () => {
  let root: string;
  let model: string;
  let gpu: Gpu;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'sft-float16-'));
    model = await writeRandomModel(join(root, 'base'), TINY_LLAMA);
    gpu = await Gpu.open();
  });
  afterAll(async () => {
    await gpu.close();
    await rm(root, { recursive: true });
  });

  /** Trains with a loss scale that is not the usual one. */
  async function trainScaled(run: TinyRun, state: Partial<LossScaleState>, stopAt = 0): Promise<TrainEvent[]> {
    const trainer = await tinyTrainer(run);
    const { lossScale } = trainer.engine;
    lossScale!.state = { ...lossScale!.state, ...state };
    const stop = new AbortController();
    const events: TrainEvent[] = [];
    for await (const event of trainer.train(stop.signal)) {
      events.push(event);
      if (event.type === 'step' && event.step === stopAt) stop.abort();
    }
    return events;
  }

  const stepsOf = (events: readonly TrainEvent[]) =>
    events.filter((event): event is StepEvent => event.type === 'step');
  const adapterOf = async (store: WritableStore) =>
    (await readFolder(store.folder('final_model'))).get('adapter_model.safetensors')!;

  it.each([false, true])(
    'checkpointing %s: ends within a hundredth of the float32 loss after 200 steps',
    async (checkpointing) => {
      const rows = makeRows(40);
      const settings = { max_steps: 200, learning_rate: 2e-3, gradient_checkpointing: checkpointing };
      const last = async (precision: 'float32' | 'float16') => {
        const events = await train({ gpu, model, store: memoryStore(), rows, train: { ...settings, precision } });
        const losses = lossesOf(events);
        expect(losses.length).toBe(200);
        // An epoch is 10 steps.
        const mean = losses.slice(-10).reduce((sum, loss) => sum + loss, 0) / 10;
        expect(mean).toBeLessThan(0.8 * losses[0]!);
        return { mean, steps: stepsOf(events) };
      };
      const [wide, half] = [await last('float32'), await last('float16')];
      expect(Math.abs(half.mean / wide.mean - 1)).toBeLessThan(0.01);
      expect(half.mean).not.toBe(wide.mean);
      expect(half.steps.at(-1)).toMatchObject({ loss_scale: 65536, skipped_steps: 0 });
      expect(wide.steps.at(-1)).not.toHaveProperty('loss_scale');
    },
  );

  it('skips steps whose gradients overflow: nothing changes but the scale', async () => {
    const store = memoryStore();
    const run = { gpu, model, store, rows: makeRows(15), train: { ...float16, max_steps: 3, warmup_ratio: 0 } };
    const steps = stepsOf(await trainScaled(run, { scale: 2 ** 60, growth_tracker: 7 }));
    expect(steps.map(({ loss_scale, skipped_steps }) => [loss_scale, skipped_steps])).toEqual([
      [2 ** 59, 1],
      [2 ** 58, 2],
      [2 ** 57, 3],
    ]);
    // The schedule waits for the first step that counts.
    expect(new Set(steps.map(({ learning_rate }) => learning_rate))).toEqual(new Set([5e-3]));
    for (const { loss, grad_norm } of steps)
      expect([Number.isFinite(loss), Number.isFinite(grad_norm)]).toEqual([true, false]);
    // A rate that is zero in f32.
    const untouched = memoryStore();
    await train({ ...run, store: untouched, train: { ...run.train, learning_rate: 1e-60 } });
    expect(Buffer.compare(await adapterOf(store), await adapterOf(untouched))).toBe(0);
  });

  it('goes on once the scale has come down, and doubles it after 2000 good steps', async () => {
    const rows = makeRows(4);
    const run = {
      gpu,
      model,
      store: memoryStore(),
      rows,
      train: { ...float16, max_steps: 60, lr_scheduler: 'constant' as const, shuffle: false },
    };
    const steps = stepsOf(await trainScaled(run, { scale: 2 ** 40 }));
    const skipped = steps.at(-1)!.skipped_steps!;
    expect(skipped).toBeGreaterThan(3);
    expect(skipped).toBeLessThan(30);
    expect(steps.at(-1)!.loss_scale).toBe(2 ** (40 - skipped));
    expect(steps.at(-1)!.loss).toBeLessThan(0.8 * steps[0]!.loss);
    // All steps see the same rows: from the first good one on, the run is one that began with that scale.
    const plain = await trainScaled(
      { ...run, store: memoryStore(), train: { ...run.train, max_steps: 60 - skipped } },
      { scale: 2 ** (40 - skipped) },
    );
    expect(steps.filter(({ grad_norm }) => Number.isFinite(grad_norm)).map(({ loss }) => loss)).toEqual(
      lossesOf(plain),
    );

    const grown = stepsOf(await trainScaled({ ...run, train: { ...float16, max_steps: 2 } }, { growth_tracker: 1998 }));
    expect(grown.map(({ loss_scale }) => loss_scale)).toEqual([65536, 131072]);
  });

  it('stopped and resumed, with skipped steps before: the same bytes and the same scale', async () => {
    const half = (store: WritableStore): TinyRun => {
      const run = reproducibleRun(gpu, model, store);
      return { ...run, train: { ...run.train, ...float16, load_best_model_at_end: false } };
    };
    const scale = { scale: 2 ** 34 };
    const whole = memoryStore();
    await trainScaled(half(whole), scale);
    const stopped = memoryStore();
    await expect(trainScaled(half(stopped), scale, 7)).rejects.toMatchObject({ code: 'INTERRUPTED' });
    const { folder } = (await listCheckpoints(stopped)).at(-1)!;
    const state = await readJson<RunState>(stopped, `${folder}/state.json`);
    expect(state.loss_scale!.skipped_steps).toBeGreaterThan(0);
    expect(state.loss_scale!.scale).toBe(2 ** (34 - state.loss_scale!.skipped_steps));
    await train({ ...half(stopped), resumeFrom: stopped.folder(folder) });
    expect(Buffer.compare(await adapterOf(stopped), await adapterOf(whole))).toBe(0);
    const end = (store: WritableStore) => readJson<RunState>(store, 'checkpoint-12/state.json');
    expect((await end(stopped)).loss_scale).toEqual((await end(whole)).loss_scale);
    await expect(
      train({
        ...half(stopped),
        train: { ...half(stopped).train, precision: 'float32' },
        resumeFrom: stopped.folder('checkpoint-12'),
      }),
    ).rejects.toMatchObject({ code: 'RESUME' });
  });
});
