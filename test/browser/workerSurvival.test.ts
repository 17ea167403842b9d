/** Tabs that are closed and devices that are lost in the middle of a run: the same bytes in the end, and nothing torn. */
import { beforeAll, expect, test } from 'vitest';
import { openStore } from '../../src/platform/browserFiles.ts';
import { randomStream } from '../../src/platform/random.ts';
import { readBytes } from '../../src/platform/sources.ts';
import { listCheckpoints, readProgress } from '../../src/train/checkpoint.ts';
import type { TrainEvent } from '../../src/train/events.ts';
import type { StoredModel } from '../../src/worker/api.ts';
import { collect, finalModel, lossesOf, prepare, runConfig, startFragile } from './workerRun.ts';

const EVERY_STEP = { max_steps: 14, save_steps: 1 };

let ready: { model: StoredModel; train_path: string };
let whole: ReturnType<typeof runConfig>;
let losses: number[];

beforeAll(async () => {
  const { engine } = startFragile();
  ready = await prepare(engine);
  whole = runConfig(ready, EVERY_STEP);
  losses = lossesOf(await collect(engine.train(whole)));
  engine.close();
});

test('a worker that is ended at any moment', async () => {
  const config = runConfig(ready, EVERY_STEP);
  const next = randomStream(5, 0);
  const events: TrainEvent[] = [];
  for (let deaths = 0; deaths < 5; deaths++) {
    const { engine, worker } = startFragile();
    const wait = next() % 60;
    const deadly = async () => {
      let saved = false;
      for await (const event of engine.train(config, { resumeFrom: 'last' })) {
        events.push(event);
        saved ||= event.type === 'checkpoint';
        // Writing the next checkpoint is what takes the time that follows.
        if (saved && event.type === 'step') setTimeout(() => worker.terminate(), wait);
      }
    };
    await expect(deadly()).rejects.toMatchObject({ code: 'WORKER_LOST' });
    // Whatever is there is whole.
    const store = await openStore(config.output_dir);
    for (const { folder, step } of await listCheckpoints(store)) {
      const { run } = await readProgress(store.folder(folder));
      expect(run.step).toBe(step);
      const adapter = await readBytes(store.folder(folder), 'adapter_model.safetensors');
      expect(adapter.length).toBe((await finalModel(whole)).get('adapter_model.safetensors')!.length);
    }
  }
  const { engine } = startFragile();
  if (!(await (await openStore(config.output_dir)).folders()).includes('final_model')) {
    const [unfinished] = await engine.unfinishedRuns();
    const { max_steps: totalSteps } = EVERY_STEP;
    expect(unfinished).toMatchObject({ totalSteps, config: { output_dir: config.output_dir } });
  }
  events.push(...(await collect(engine.train(config, { resumeFrom: 'last' }))));
  engine.close();
  expect(lossesOf(events)).toEqual(losses);
  expect(await finalModel(config)).toEqual(await finalModel(whole));
});

test('a device that is lost at any step', async () => {
  const config = runConfig(ready, EVERY_STEP);
  const { engine } = startFragile();
  const next = randomStream(6, 0);
  const fatal = new Set(Array.from({ length: 5 }, (_, n) => 1 + 2 * n + (next() % 2)));
  const hammer = new BroadcastChannel('fragile');
  const events: TrainEvent[] = [];
  for await (const event of engine.train(config)) {
    events.push(event);
    if (event.type === 'step' && fatal.delete(event.step)) hammer.postMessage('');
  }
  hammer.close();
  const warnings = events.flatMap((event) => (event.type === 'warning' ? event.message : []));
  // The last blow may come when the work is done.
  expect(warnings.length).toBeGreaterThanOrEqual(4);
  for (const warning of warnings) expect(warning).toMatch(/was lost: .*a new device goes on from /);
  expect(lossesOf(events)).toEqual(losses);
  expect(await finalModel(config)).toEqual(await finalModel(whole));
  engine.close();
});
