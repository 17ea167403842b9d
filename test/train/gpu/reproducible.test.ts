/** The same seed gives the same bytes: again, after a stop, from any checkpoint, and after being killed. */
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Gpu } from '../../../src/gpu/device.ts';
import { openStore } from '../../../src/platform/nodeFiles.ts';
import { randomStream } from '../../../src/platform/random.ts';
import { memoryStore } from '../../../src/platform/stores.ts';
import type { WritableStore } from '../../../src/platform/types.ts';
import { listCheckpoints } from '../../../src/train/checkpoint.ts';
import type { TrainEvent } from '../../../src/train/events.ts';
import type { TrainerState } from '../../../src/train/state.ts';
import { stepsOfRecords } from '../trackers/eventFiles.ts';
import { readFolder, readJson, reproducibleRun, TINY_LLAMA, tinyTrainer, train, writeRandomModel } from './fixtures.ts';

const repository = join(import.meta.dirname, '../../..');

/** What two runs must have in common, in a form that is easy to compare. */
interface Outcome {
  /** Bytes of `final_model` and of the moments of the last checkpoint, in base 64, by path. */
  readonly files: Readonly<Record<string, string>>;
  /** `trainer_state.json` without what depends on the clock or on the folder's name. */
  readonly state: TrainerState;
}

async function outcomeOf(store: WritableStore): Promise<Outcome> {
  const files: Record<string, string> = {};
  const add = async (folder: string) => {
    for (const [path, bytes] of await readFolder(store.folder(folder))) {
      if (!/state\.json$/.test(path)) files[`${folder}/${path}`] = Buffer.from(bytes).toString('base64');
    }
  };
  await add('final_model');
  await add((await listCheckpoints(store)).at(-1)!.folder);
  const state = await readJson<TrainerState>(store, 'trainer_state.json');
  const log_history = state.log_history.map((row) => ({ ...row, tokens_per_second: 0, eval_runtime: 0 }));
  const best = state.best_model_checkpoint;
  return { files, state: { ...state, log_history, best_model_checkpoint: best?.split('/').at(-1) ?? null } };
}

describe('reproducible runs', () => {
  const built: string[] = [];
  let root: string;
  let model: string;
  let gpu: Gpu;
  let reference: Outcome;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'sft-reproducible-'));
    model = await writeRandomModel(join(root, 'base'), TINY_LLAMA);
    gpu = await Gpu.open();
    const store = memoryStore();
    await train(reproducibleRun(gpu, model, store));
    reference = await outcomeOf(store);
  });
  afterAll(async () => {
    await gpu.close();
    for (const folder of [root, ...built]) await rm(folder, { recursive: true });
  });

  it('the reference has what can go wrong', () => {
    expect(Object.keys(reference.files)).toContain('final_model/adapter_model.safetensors');
    expect(Object.keys(reference.files)).toContain('checkpoint-12/optimizer.safetensors');
    const { log_history, global_step } = reference.state;
    expect(global_step).toBe(12);
    expect(log_history.filter((row) => 'loss' in row).map(({ step }) => step)).toEqual([3, 6, 9, 12]);
    expect(log_history.filter((row) => 'eval_loss' in row).length).toBe(6);
  });

  it('the same seed gives the same bytes, another seed others', async () => {
    const again = memoryStore();
    await train(reproducibleRun(gpu, model, again));
    expect(await outcomeOf(again)).toEqual(reference);

    const other = memoryStore();
    const run = reproducibleRun(gpu, model, other);
    await train({ ...run, train: { ...run.train, seed: 43 } });
    const { files } = await outcomeOf(other);
    const adapter = 'final_model/adapter_model.safetensors';
    expect(files[adapter]).not.toBe(reference.files[adapter]);
  });

  it.each([1, 3, 4, 8, 11])('stopped at step %i and resumed: the same bytes', async (step) => {
    const store = memoryStore();
    const run = reproducibleRun(gpu, model, store);
    const stop = new AbortController();
    const trainer = await tinyTrainer(run);
    const stopped = async () => {
      for await (const event of trainer.train(stop.signal)) {
        if (event.type === 'step' && event.step === step) stop.abort();
      }
    };
    await expect(stopped()).rejects.toMatchObject({ code: 'INTERRUPTED', exitCode: 130 });
    const newest = (await listCheckpoints(store)).at(-1)!;
    expect(newest.step).toBeGreaterThanOrEqual(step);
    expect(newest.step).toBeLessThanOrEqual(step + 1);
    expect(await store.folders()).not.toContain('final_model');

    const events = await train({ ...run, resumeFrom: store.folder(newest.folder) });
    expect(stepsOf(events)).toEqual(range(newest.step + 1, 12));
    expect(await outcomeOf(store)).toEqual(reference);
  });

  it('resumed from each checkpoint, which is all that is needed: the same bytes', async () => {
    const store = memoryStore();
    const run = reproducibleRun(gpu, model, store);
    // The best checkpoint may be one that the other folder does not have.
    const settings = { ...run.train, save_total_limit: null, load_best_model_at_end: false };
    await train({ ...run, train: settings });
    const whole = await outcomeOf(store);
    const checkpoints = await listCheckpoints(store);
    expect(checkpoints.map(({ step }) => step)).toEqual([4, 8, 12]);
    for (const { folder, step } of checkpoints) {
      const other = memoryStore();
      const events = await train({ ...run, train: settings, store: other, resumeFrom: store.folder(folder) });
      expect(stepsOf(events)).toEqual(range(step + 1, 12));
      const outcome = await outcomeOf(step < 12 ? other : store);
      expect(outcome.files).toEqual(whole.files);
      expect(outcome.state.log_history).toEqual(whole.state.log_history);
    }
  });

  it.each(['adamw', 'adamw_8bit'] as const)(
    'a full fine-tune is stopped and resumed with the same bytes too, %s',
    async (optimizer) => {
      const usual = reproducibleRun(gpu, model, memoryStore());
      const run = {
        ...usual,
        mode: 'full' as const,
        train: { ...usual.train, optimizer, load_best_model_at_end: false },
      };
      const weights = async (store: WritableStore) =>
        (await readFolder(store.folder('final_model'))).get('model.safetensors')!;
      await train(run);
      const store = memoryStore();
      const stop = new AbortController();
      const trainer = await tinyTrainer({ ...run, store });
      const stopped = async () => {
        for await (const event of trainer.train(stop.signal))
          if (event.type === 'step' && event.step === 5) stop.abort();
      };
      await expect(stopped()).rejects.toMatchObject({ code: 'INTERRUPTED' });
      const newest = (await listCheckpoints(store)).at(-1)!;
      await train({ ...run, store, resumeFrom: store.folder(newest.folder) });
      expect(Buffer.compare(await weights(store), await weights(run.store))).toBe(0);
    },
  );

  it('killed five times at any moment and resumed: the same bytes', { timeout: 240_000 }, async () => {
    // Inside of the repository, so that the child finds its packages.
    await mkdir(join(repository, '.cache'), { recursive: true });
    const outDir = await mkdtemp(join(repository, '.cache/killed-'));
    built.push(outDir);
    await build({
      configFile: false,
      logLevel: 'silent',
      root: repository,
      build: {
        ssr: join(import.meta.dirname, 'killedRunChild.ts'),
        outDir,
        rolldownOptions: { output: { entryFileNames: 'killedRun.mjs' } },
      },
    });
    const environment = pathToFileURL(join(repository, 'scripts/useAdapter.mjs')).href;
    const child = (store: string, calls: number) => {
      const script = join(outDir, 'killedRun.mjs');
      const run = spawnSync(
        process.execPath,
        ['--import', environment, script, model, join(root, store), String(calls)],
        {
          encoding: 'utf8',
        },
      );
      expect(run.status === 0 || run.signal === 'SIGKILL', run.stderr).toBe(true);
      return run;
    };

    const calls = Number(child('whole', 0).stdout);
    expect(calls).toBeGreaterThan(300);
    const whole = await openStore(join(root, 'whole'));
    expect(await outcomeOf(whole)).toEqual(reference);

    const next = randomStream(20, 0);
    const moments = Array.from({ length: 5 }, () => 1 + (next() % Math.floor(calls / 2)));
    const signals = moments.map((moment) => child('killed', moment).signal);
    expect(signals.filter((signal) => signal === 'SIGKILL').length, moments.join()).toBeGreaterThanOrEqual(3);
    expect(child('killed', 0).signal).toBeNull();
    const killed = await openStore(join(root, 'killed'));
    expect(await outcomeOf(killed)).toEqual(reference);
    const events = new TextDecoder()
      .decode((await killed.read('events.jsonl'))!)
      .trimEnd()
      .split('\n');
    expect(events.map((line) => (JSON.parse(line) as TrainEvent).type)).toContain('start');
    // TensorBoard can read what each of them has logged, and misses no row.
    const runs = killed.folder('runs');
    const logged = (await runs.list()).map(async (path) => stepsOfRecords((await killed.read(`runs/${path}`))!));
    const wanted = reference.state.log_history.map(({ step }) => step);
    expect(new Set((await Promise.all(logged)).flat())).toEqual(new Set(wanted));
    // What the killed ones left half-written is gone.
    expect(await readdir(killed.name)).toEqual(await readdir(whole.name));
  });
});

/** first, first + 1, … last; nothing where `last` is before `first`. */
function range(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last + 1 - first) }, (_, index) => first + index);
}

function stepsOf(events: readonly TrainEvent[]): number[] {
  return events.flatMap((event) => (event.type === 'step' ? event.step : []));
}
