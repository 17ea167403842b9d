/** Devices that are lost in the middle of a run, and drivers that do not compile a kernel. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { Gpu } from '../../../src/gpu/device.ts';
import { openFolder } from '../../../src/platform/nodeFiles.ts';
import { randomStream } from '../../../src/platform/random.ts';
import type { Config } from '../../../src/train/config.ts';
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
async function train(config: Config, lose: (event: TrainEvent) => boolean, resumeFrom?: string): Promise<TrainEvent[]> {
  let gpu: Gpu | undefined;
  const events: TrainEvent[] = [];
  const onRun = (run: { gpu: Gpu }) => {
    gpu = run.gpu;
  };
  for await (const event of trainThroughLosses({ config, onRun, resumeFrom })) {
    events.push(event);
    if (lose(event)) gpu?.device.destroy();
  }
  return events;
}

/** On this adapter, kernels with optional features do not compile from now on. */
function breakFastKernels(): void {
  const compile = Gpu.prototype.pipeline;
  vi.spyOn(Gpu.prototype, 'pipeline').mockImplementation(function (this: Gpu, label, code) {
    const broken = this.backend === 'fast' && label.startsWith('adamW');
    return compile.call(this, label, broken ? `${code} nonsense` : code);
  });
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

describe('an adapter whose driver does not compile fast kernels', () => {
  const never = () => false;
  const withBackend = (config: Config, backend: 'auto' | 'fast' | 'portable', steps = STEPS): Config => ({
    ...config,
    tuning: { ...config.tuning, backend },
    train: { ...config.train, max_steps: steps },
  });
  const backendOf = (name: string) =>
    JSON.parse(readFileSync(join(root, name, 'backend.json'), 'utf8')) as { backend: string };
  afterEach(() => void vi.restoreAllMocks());

  test.each(['auto', 'fast'] as const)('%s trains with portable ones, and says so once', async (backend) => {
    const name = `fallen-${backend}`;
    await train(withBackend(configOf('portable'), 'portable', 4), never);
    breakFastKernels();
    const events = await train(withBackend(configOf(name), backend, 4), never);
    const warnings = events.flatMap((event) => (event.type === 'warning' ? event.message : []));
    expect(warnings.filter((message) => message.includes('tuning.backend'))).toEqual([
      expect.stringMatching(/^kernel adamW\S* does not compile: .*; tuning.backend: portable is used instead of fast$/),
    ]);
    expect(warnings.join()).not.toContain('\n');
    expect(events.filter(({ type }) => type === 'start')).toHaveLength(1);
    expect(backendOf(name)).toMatchObject({ backend: 'portable' });
    expect(await finalModel(name)).toEqual(await finalModel('portable'));
  });

  test('such a run goes on with them, and no other does', async () => {
    breakFastKernels();
    await train(withBackend(configOf('going-on'), 'auto', 4), never);
    vi.restoreAllMocks();
    const events = await train(withBackend(configOf('going-on'), 'auto', 6), never, 'last');
    expect(events.find(({ type }) => type === 'start')).toMatchObject({ resumed_step: 4 });
    expect(backendOf('going-on')).toMatchObject({ backend: 'portable' });
    await expect(train(withBackend(configOf('going-on'), 'fast', 8), never, 'last')).rejects.toMatchObject({
      code: 'RESUME',
      message: expect.stringMatching(/backend: the checkpoint was trained with portable, this run has fast$/) as string,
      hint: 'set tuning.backend as before, or start anew with another --output-dir and without --resume-from',
    });
    // What was begun with fast kernels does not change them on the way.
    await train(withBackend(configOf('fast'), 'fast', 4), never);
    breakFastKernels();
    await expect(train(withBackend(configOf('fast'), 'auto', 6), never, 'last')).rejects.toMatchObject({
      code: 'KERNEL',
    });
  });
});
