/** Devices that are lost in the middle of a run. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Gpu } from '../../../src/gpu/device.ts';
import { openFolder } from '../../../src/platform/nodeFiles.ts';
import { randomStream } from '../../../src/platform/random.ts';
import { parseConfig } from '../../../src/train/configCheck.ts';
import type { TrainEvent } from '../../../src/train/events.ts';
import { trainThroughLosses } from '../../../src/train/survive.ts';
import { makeTinyModel, sums } from '../../fixtures.ts';
import { lossesOf, readFolder } from './fixtures.ts';

const STEPS = 12;
let root = '';

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'webgpu-sft-survive-'));
  await makeTinyModel(join(root, 'model'));
  writeFileSync(join(root, 'train.jsonl'), sums(9));
  writeFileSync(join(root, 'val.jsonl'), sums(3));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const configOf = (name: string, save_steps = 2) =>
  parseConfig({
    output_dir: join(root, name),
    model: { name: join(root, 'model'), max_seq_len: 64 },
    tuning: { mode: 'lora', lora: { r: 4, dropout: 0.1, target_modules: 'all-linear' } },
    train: {
      max_steps: STEPS,
      batch_size: 2,
      gradient_accumulation_steps: 1,
      learning_rate: 1e-2,
      precision: 'float32',
      eval_strategy: 'steps',
      eval_steps: save_steps,
      save_strategy: 'steps',
      save_steps,
    },
    data: { train_path: join(root, 'train.jsonl'), val_path: join(root, 'val.jsonl') },
    logging: { log_interval: 1 },
  });

/** Trains; `lose` says after which events the device goes. */
async function train(config: ReturnType<typeof configOf>, lose: (event: TrainEvent) => boolean): Promise<TrainEvent[]> {
  let gpu: Gpu | undefined;
  const events: TrainEvent[] = [];
  const onRun = (run: { gpu: Gpu }) => {
    gpu = run.gpu;
  };
  for await (const event of trainThroughLosses({ config, onRun })) {
    events.push(event);
    if (lose(event)) gpu?.device.destroy();
  }
  return events;
}

const finalModel = async (name: string) => readFolder(await openFolder(join(root, name, 'final_model')));

describe('a run whose device is lost', () => {
  test('goes on from its last checkpoint to the same bytes, and says so once for each', async () => {
    const whole = await train(configOf('whole'), () => false);
    const next = randomStream(11, 0);
    const fatal = new Set(Array.from({ length: 4 }, (_, n) => 2 + n * 2 + (next() % 2)));
    // Before the first checkpoint, too.
    fatal.add(1);
    const events = await train(configOf('lossy'), (event) => event.type === 'step' && fatal.delete(event.step));
    expect(fatal).toEqual(new Set());
    const warnings = events.flatMap((event) => (event.type === 'warning' ? event.message : []));
    expect(warnings).toHaveLength(5);
    for (const warning of warnings) expect(warning).toMatch(/was lost: .*; a new device goes on from /);
    expect(warnings[0]).toContain('the beginning');
    expect(warnings.at(-1)).toMatch(/lossy\/checkpoint-\d+$/);
    const starts = events.flatMap((event) => (event.type === 'start' ? event.resumed_step : []));
    expect(starts).toHaveLength(6);
    expect(starts.slice(0, 2)).toEqual([0, 0]);
    const byStep = new Map(events.flatMap((event) => (event.type === 'step' ? [[event.step, event.loss]] : [])));
    expect([...byStep.values()]).toEqual(lossesOf(whole));
    expect(await finalModel('lossy')).toEqual(await finalModel('whole'));
  });

  test('ends when it does not come from one checkpoint to the next', async () => {
    const run = train(configOf('stuck', 4), (event) => event.type === 'step' && event.step === 3);
    await expect(run).rejects.toMatchObject({ code: 'DEVICE_LOST' });
  });
});
