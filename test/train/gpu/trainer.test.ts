/** What a run writes and tells, what it keeps, and how it ends when something is wrong. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { Gpu } from '../../../src/gpu/device.ts';
import { openStore } from '../../../src/platform/nodeFiles.ts';
import { memoryStore } from '../../../src/platform/stores.ts';
import type { WritableStore } from '../../../src/platform/types.ts';
import { listCheckpoints } from '../../../src/train/checkpoint.ts';
import type { EvalRow, TrainEvent } from '../../../src/train/events.ts';
import type { TrainerState } from '../../../src/train/state.ts';
import {
  lossesOf,
  makeRows,
  readFolder,
  readJson,
  TINY_LLAMA,
  type TinyRun,
  tinyTrainer,
  train,
  writeRandomModel,
} from './fixtures.ts';

/** Fields of the dataclass `TrainerState` of transformers 5 (trainer_callback.py). It can be made of no other keys. */
const TRAINER_STATE = [
  'best_global_step',
  'best_metric',
  'best_model_checkpoint',
  'epoch',
  'eval_steps',
  'global_step',
  'is_hyper_param_search',
  'is_local_process_zero',
  'is_world_process_zero',
  'log_history',
  'logging_steps',
  'max_steps',
  'num_input_tokens_seen',
  'num_train_epochs',
  'save_steps',
  'stateful_callbacks',
  'total_flos',
  'train_batch_size',
  'trial_name',
  'trial_params',
];

/** A run whose evaluation loss falls and rises again: the rate is far too high. */
const OVERSHOOTING = {
  mode: 'full',
  train: {
    max_steps: 10,
    learning_rate: 2e-2,
    lr_scheduler: 'constant',
    eval_strategy: 'steps',
    eval_steps: 1,
    save_strategy: 'steps',
    save_steps: 1,
  },
} satisfies Partial<TinyRun>;

describe('a run', () => {
  let root: string;
  let model: string;
  let gpu: Gpu;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'sft-trainer-'));
    model = await writeRandomModel(join(root, 'base'), TINY_LLAMA);
    gpu = await Gpu.open();
  });
  afterAll(async () => {
    await gpu.close();
    expect(gpu.ledger.count).toBe(0);
    await rm(root, { recursive: true });
  });

  const tiny = (options: Partial<TinyRun> = {}): TinyRun => ({
    gpu,
    model,
    store: memoryStore(),
    rows: makeRows(8),
    evalRows: makeRows(4, 8),
    ...options,
  });
  const checkpointsOf = async (store: WritableStore) =>
    (await store.folders()).filter((folder) => folder.startsWith('checkpoint-'));
  const evalsOf = (events: readonly TrainEvent[]) =>
    events.flatMap((event): EvalRow[] => (event.type === 'eval' ? [event] : []));

  const bytesOf = async (store: WritableStore, folder: string, file = 'model.safetensors') =>
    Buffer.from((await readFolder(store.folder(folder))).get(file)!).toString('base64');

  it('writes its files, and the events are in them as they were told', async () => {
    const store = await openStore(join(root, 'files'));
    const events = await train(tiny({ store, logInterval: 2, train: { epochs: 3, eval_strategy: 'epoch' } }));
    expect(events.map(({ type }) => type)).toEqual([
      'start',
      ...['step', 'step', 'eval'],
      ...['step', 'step', 'eval'],
      ...['step', 'step', 'eval', 'done'],
    ]);
    const text = new TextDecoder().decode((await store.read('events.jsonl'))!);
    const lines = text.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(JSON.parse(JSON.stringify(events)));

    const state = await readJson<TrainerState>(store, 'trainer_state.json');
    expect(Object.keys(state)).toEqual(TRAINER_STATE);
    const rows = state.log_history.filter((row) => 'loss' in row);
    expect(rows.map(({ step }) => step)).toEqual([2, 4, 6]);
    expect(Object.keys(rows[0]!)).toEqual([
      'epoch',
      'grad_norm',
      'learning_rate',
      'loss',
      'num_tokens',
      'step',
      'tokens_per_second',
    ]);
    expect(rows.map(({ epoch }) => epoch)).toEqual([1, 2, 3]);
    expect(rows.at(-1)!.num_tokens).toBe(3 * makeRows(8).reduce((sum, { inputIds }) => sum + inputIds.length, 0));
    const evals = state.log_history.filter((row) => 'eval_loss' in row);
    expect(Object.keys(evals[0]!)).toEqual(['epoch', 'eval_loss', 'eval_runtime', 'step']);
    expect(evals.map(({ eval_loss }) => eval_loss)).toEqual(evalsOf(events).map(({ eval_loss }) => eval_loss));

    const config = parse(new TextDecoder().decode((await store.read('config.yaml'))!)) as Record<string, unknown>;
    expect(config).toMatchObject({ output_dir: store.name, train: { epochs: 3, seed: 42 } });
    expect(await readJson(store, 'backend.json')).toMatchObject({
      mode: 'lora',
      quantization: null,
      precision: 'float32',
      adapter: gpu.name,
    });
    expect(await store.folders()).toEqual(['final_model']);
    expect(await store.folder('final_model').list()).toEqual([
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
    ]);
  });

  it('the loss of a row of the log is the mean over all trained tokens since the last row', async () => {
    const each = await train(tiny({ train: { max_steps: 4 } }));
    const store = memoryStore();
    await train(tiny({ store, logInterval: 4, train: { max_steps: 4 } }));
    const state = await readJson<TrainerState>(store, 'trainer_state.json');
    const [row] = state.log_history;
    const losses = lossesOf(each);
    const loss = (row as { loss: number }).loss;
    expect(loss).toBeGreaterThan(Math.min(...losses));
    expect(loss).toBeLessThan(Math.max(...losses));
    expect(loss).not.toBe(losses.reduce((sum, value) => sum + value, 0) / 4);
  });

  it('without validation rows there is no evaluation, and it says so', async () => {
    const events = await train(tiny({ evalRows: [], train: { epochs: 1, eval_strategy: 'epoch' } }));
    expect(evalsOf(events)).toEqual([]);
    expect(events.filter(({ type }) => type === 'warning')).toEqual([
      { type: 'warning', message: expect.stringContaining('no validation rows') as string },
    ]);
  });

  describe('whose loss rises again', () => {
    it('gives the best checkpoint as the final model, and keeps it beside the last one', async () => {
      const store = memoryStore();
      const events = await train(
        tiny({ ...OVERSHOOTING, store, train: { ...OVERSHOOTING.train, save_total_limit: 1 } }),
      );
      const evals = evalsOf(events);
      const best = evals.reduce((a, b) => (b.eval_loss < a.eval_loss ? b : a));
      expect(best.step).toBeGreaterThan(1);
      expect(best.step).toBeLessThan(10);
      expect(await checkpointsOf(store)).toEqual(['checkpoint-10', `checkpoint-${best.step}`]);
      expect(await bytesOf(store, 'final_model')).toBe(await bytesOf(store, `checkpoint-${best.step}`));
      expect(await bytesOf(store, 'final_model')).not.toBe(await bytesOf(store, 'checkpoint-10'));
      const state = await readJson<TrainerState>(store, 'trainer_state.json');
      expect(state).toMatchObject({ best_metric: best.eval_loss, best_global_step: best.step, global_step: 10 });
      expect(events.at(-1)).toMatchObject({ best_model_checkpoint: `${store.name}/checkpoint-${best.step}` });
    });

    it('gives the last step when that is asked for', async () => {
      const store = memoryStore();
      await train(tiny({ ...OVERSHOOTING, store, train: { ...OVERSHOOTING.train, load_best_model_at_end: false } }));
      expect(await bytesOf(store, 'final_model')).toBe(await bytesOf(store, 'checkpoint-10'));
    });

    it('chooses among what was saved', async () => {
      const store = memoryStore();
      const settings = { ...OVERSHOOTING.train, save_steps: 2, save_total_limit: 1 };
      const events = await train(tiny({ ...OVERSHOOTING, store, train: settings }));
      // The best of all, after step 5, was not saved; of what was, step 4 was the best when it was saved.
      const losses = evalsOf(events).map(({ eval_loss }) => eval_loss);
      expect(losses.indexOf(Math.min(...losses)) + 1).toBe(5);
      expect(await checkpointsOf(store)).toEqual(['checkpoint-10', 'checkpoint-4']);
      expect(await bytesOf(store, 'final_model')).toBe(await bytesOf(store, 'checkpoint-4'));
    });

    it('stops early, and stays stopped when it is resumed', async () => {
      const store = memoryStore();
      const settings = { ...OVERSHOOTING.train, early_stopping_patience: 3 };
      const run = tiny({ ...OVERSHOOTING, store, train: settings });
      const losses = evalsOf(await train(run)).map(({ eval_loss }) => eval_loss);
      const best = losses.indexOf(Math.min(...losses)) + 1;
      expect(losses.length).toBe(best + 3);
      expect(losses.length).toBeLessThan(10);
      const final = await bytesOf(store, 'final_model');
      expect(final).toBe(await bytesOf(store, `checkpoint-${best}`));
      const last = store.folder(`checkpoint-${losses.length}`);
      expect(lossesOf(await train({ ...run, resumeFrom: last }))).toEqual([]);
      expect(await bytesOf(store, 'final_model')).toBe(final);
    });

    it('resumed in another folder, where the best checkpoint is not, it gives the last step and says so', async () => {
      const from = memoryStore('from');
      const run = tiny({ ...OVERSHOOTING, store: from });
      await train(run);
      const store = memoryStore('to');
      const settings = { ...OVERSHOOTING.train, max_steps: 11 };
      const events = await train({ ...run, store, train: settings, resumeFrom: from.folder('checkpoint-10') });
      expect(lossesOf(events).length).toBe(1);
      expect(events.filter(({ type }) => type === 'warning')).toEqual([
        { type: 'warning', message: expect.stringMatching(/from\/checkpoint-5 is not in to/) as string },
      ]);
      expect(await bytesOf(store, 'final_model')).toBe(await bytesOf(store, 'checkpoint-11'));
    });

    it('what a run replaces that begins anew is named', async () => {
      const store = memoryStore('twice');
      const run = tiny({ ...OVERSHOOTING, store, train: { ...OVERSHOOTING.train, max_steps: 2 } });
      expect((await train(run)).map(({ type }) => type)).not.toContain('warning');
      const again = await train({ ...run, train: { ...OVERSHOOTING.train, max_steps: 1 } });
      expect(again.filter(({ type }) => type === 'warning')).toEqual([
        { type: 'warning', message: expect.stringMatching(/^twice holds checkpoint-1, checkpoint-2 of an/) as string },
      ]);
      expect((await listCheckpoints(store)).map(({ folder }) => folder)).toEqual(['checkpoint-1']);
    });
  });

  it('with more steps than before goes on from where it stood', async () => {
    const store = memoryStore();
    const settings = { max_steps: 2, save_strategy: 'epoch', lr_scheduler: 'constant' } as const;
    const run = tiny({ store, train: settings });
    await train(run);
    const more = { ...settings, max_steps: 4 };
    const events = await train({ ...run, train: more, resumeFrom: store.folder('checkpoint-2') });
    const whole = lossesOf(await train(tiny({ train: more })));
    expect(lossesOf(events)).toEqual(whole.slice(2));
    const { log_history, max_steps } = await readJson<TrainerState>(store, 'trainer_state.json');
    expect(log_history.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    expect(max_steps).toBe(4);
  });

  it('begun anew in the folder of another run leaves none of its later checkpoints', async () => {
    const store = memoryStore();
    const settings = { max_steps: 4, save_strategy: 'steps', save_steps: 2 } as const;
    await train(tiny({ store, train: settings }));
    expect(await checkpointsOf(store)).toEqual(['checkpoint-2', 'checkpoint-4']);
    await train(tiny({ store, train: { ...settings, max_steps: 3, save_steps: 1 } }));
    expect(await checkpointsOf(store)).toEqual(['checkpoint-2', 'checkpoint-3']);
  });

  it('is refused with other rows, another order or another mode than its checkpoint', async () => {
    const store = memoryStore();
    const settings = { max_steps: 2, save_strategy: 'epoch' } as const;
    await train(tiny({ store, train: settings }));
    const resume = { train: settings, resumeFrom: store.folder('checkpoint-2') };
    const others: Partial<TinyRun>[] = [
      { rows: makeRows(9) },
      { train: { ...settings, seed: 1 } },
      { train: { ...settings, batch_size: 4 } },
      { mode: 'full' },
      { mode: 'qlora' },
      { train: { ...settings, precision: 'float16' } },
      { lora: { r: 8, alpha: 8 } },
    ];
    for (const other of others) {
      const refused = train(tiny({ ...resume, ...other }));
      await expect(refused, JSON.stringify(other.train)).rejects.toMatchObject({
        code: expect.stringMatching(/^(RESUME|ADAPTER)$/) as string,
        exitCode: 2,
      });
    }
    // The split of a step into batches may differ.
    const split = { ...settings, batch_size: 4, gradient_accumulation_steps: 1 };
    await train(tiny({ ...resume, train: split }));
  });

  it('begins with the adapter that it is given', async () => {
    const first = memoryStore();
    const settings = { max_steps: 4, eval_strategy: 'epoch' } as const;
    const before = evalsOf(await train(tiny({ store: first, lora: { r: 3, alpha: 5 }, train: settings })));
    const initFrom = first.folder('final_model');
    const still = { ...settings, max_steps: 1, learning_rate: 0 };
    const store = memoryStore();
    const after = evalsOf(await train(tiny({ store, initFrom, train: still })));
    expect(after[0]!.eval_loss).toBe(before.at(-1)!.eval_loss);
    const adapter = 'adapter_model.safetensors';
    expect(await bytesOf(store, 'final_model', adapter)).toBe(await bytesOf(first, 'final_model', adapter));
  });

  it('refuses a second run in its folder while it goes on', async () => {
    const store = await openStore(join(root, 'busy'));
    const first = await tinyTrainer(tiny({ store, train: { max_steps: 3 } }));
    for await (const { type } of first.train()) {
      if (type !== 'start') continue;
      const second = train(tiny({ store: await openStore(store.name), train: { max_steps: 1 } }));
      await expect(second).rejects.toMatchObject({ code: 'BUSY', exitCode: 1 });
    }
    expect((await readJson<TrainerState>(store, 'trainer_state.json')).global_step).toBe(3);
    await train(tiny({ store, train: { max_steps: 1 } }));
  });

  it('that overflows says at which step, and saves nothing more', async () => {
    const store = memoryStore();
    const settings = { max_steps: 9, learning_rate: 1e30, warmup_steps: 3, max_grad_norm: 0 };
    const run = train(tiny({ store, mode: 'full', train: settings }));
    await expect(run).rejects.toMatchObject({
      code: 'NUMERIC',
      message: expect.stringMatching(/^step 3: .*(NaN|Infinity)/) as string,
      hint: expect.stringContaining('learning_rate') as string,
    });
    expect(await store.folders()).toEqual([]);
    await (await store.lock())();
  });

  it('says that the device was lost', async () => {
    const lost = await Gpu.open();
    const store = memoryStore();
    const trainer = await tinyTrainer(tiny({ gpu: lost, store, train: { max_steps: 9 } }));
    const run = async () => {
      for await (const event of trainer.train()) if (event.type === 'step' && event.step === 3) lost.device.destroy();
    };
    await expect(run()).rejects.toMatchObject({ code: 'DEVICE_LOST', exitCode: 1 });
    expect(await store.folders()).toEqual([]);
    await (await store.lock())();
  });

  it('that nobody follows any more gives everything back', async () => {
    const store = memoryStore();
    const trainer = await tinyTrainer(tiny({ store, train: { max_steps: 9 }, logInterval: 5 }));
    for await (const event of trainer.train()) if (event.type === 'step' && event.step === 2) break;
    await gpu.collect();
    expect(gpu.ledger.count).toBe(0);
    await (await store.lock())();
  });
});
