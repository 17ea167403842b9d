/** A run whose model and rows are on a hub. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { COMMIT, FakeHub } from '../../fakeHub.ts';
import { sums } from '../../fixtures.ts';
import { runCli, useCli } from '../cli.ts';

const folder = useCli();
let hub: FakeHub;
let cwd = '';

beforeAll(async () => {
  hub = await FakeHub.start();
  hub.addFolder('model', 'org/tiny-llama', 'assets/tiny-llama', { revisions: { v1: '1'.repeat(40) } });
  hub.add('dataset', 'org/sums', { files: { 'train.jsonl': sums(6), 'test.jsonl': sums(3) } });
  cwd = join(folder(), 'project');
  mkdirSync(cwd);
});
afterAll(() => hub.stop());
beforeEach(() => hub.reset());

const MODEL = ['--set', 'model.name=org/tiny-llama', '--set', 'model.revision=v1', '--set', 'model.max_seq_len=64'];
const ROWS = ['--set', 'data.train_path=org/sums', '--set', 'data.val_path=org/sums/test'];
const RUN = [
  ...MODEL,
  ...ROWS,
  '--set',
  'tuning.mode=lora',
  '--set',
  'train.batch_size=2',
  '--set',
  'train.max_steps=1',
];
const cli = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  runCli(args, {
    cwd,
    env: { HF_HUB_OFFLINE: '', HF_HOME: join(cwd, 'home'), HF_ENDPOINT: hub.url, HF_TOKEN: '', ...env },
  });
const weights = () => hub.asked.filter(({ path, range }) => path.startsWith('/cdn/') && range === undefined);

test('what does not fit is not downloaded', async () => {
  const ended = await cli(['train', ...RUN, '--set', 'memory.budget_gib=0.0001']);
  expect(ended).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error\[OUT_OF_MEMORY\]/m) });
  expect(weights()).toEqual([]);
});

test('check looks at everything but the weights', async () => {
  const ended = await cli(['check', '--json', ...RUN]);
  expect(JSON.parse(ended.stdout)).toMatchObject({ ok: true, problems: [] });
  expect(weights()).toEqual([]);
  const wrong = await cli(['check', '--json', ...RUN, '--set', 'model.revision=v2']);
  expect(JSON.parse(wrong.stdout).problems).toEqual([
    expect.objectContaining({
      code: 'MODEL',
      where: 'model.name',
      message: expect.stringContaining('has no revision "v2"'),
    }),
  ]);
});

test('train, infer and merge, and again without the hub', async () => {
  const first = await cli(['train', ...RUN]);
  expect(first.stderr).toBe('');
  expect(first.stdout).toMatch(/^downloading org\/tiny-llama, [\d.]+ MiB$/m);
  expect(first.stdout).toMatch(/^reading org\/sums \(split train, commit 0123456\)$/m);
  expect(first.stdout).toMatch(/6 to train, 3 to evaluate/);
  expect(first.code).toBe(0);
  expect(weights()).toHaveLength(1);
  const adapter = JSON.parse(readFileSync(join(cwd, 'outputs/run/final_model/adapter_config.json'), 'utf8'));
  expect(adapter).toMatchObject({ base_model_name_or_path: 'org/tiny-llama', revision: 'v1' });

  hub.fault = () => 'hang';
  const before = hub.asked.length;
  const offline = { HF_HUB_OFFLINE: '1' };
  expect((await cli(['train', ...RUN, '--output-dir', 'outputs/again'], offline)).code).toBe(0);
  const trained = ['--adapter', 'outputs/run/final_model'];
  const answer = ['--prompt', 'Wake me at seven.', '--temperature', '0', '--max-new-tokens', '4'];
  const apart = await cli(['infer', ...MODEL, ...trained, ...answer], offline);
  expect(apart.stdout).not.toBe('');
  const merged = await cli(['merge', ...MODEL, ...trained, '--out', 'merged', '--dtype', 'float32'], offline);
  expect(merged.code).toBe(0);
  const whole = await cli(['infer', '--model', 'merged', ...answer], offline);
  expect(whole.stdout).toBe(apart.stdout);
  expect(hub.asked).toHaveLength(before);
});

test('an adapter of a hub is answered with, measured and merged', async () => {
  hub.reset();
  hub.addFolder('model', 'org/adapter', join(cwd, 'outputs/run/final_model'), {
    revisions: { main: COMMIT, v2: '2'.repeat(40) },
  });
  const answer = ['--prompt', 'Wake me at seven.', '--temperature', '0', '--max-new-tokens', '4'];
  const local = ['--adapter', 'outputs/run/final_model'];
  const onHub = ['--adapter', 'org/adapter@v2'];
  const [here, there] = [
    await cli(['infer', ...MODEL, ...local, ...answer]),
    await cli(['infer', ...MODEL, ...onHub, ...answer]),
  ];
  expect(there).toMatchObject({ code: 0, stdout: here.stdout });
  hub.fault = () => 'hang';
  const offline = { HF_HUB_OFFLINE: '1' };
  const rows = ['--set', 'data.test_path=org/sums', '--limit', '2', '--set', 'eval.metrics=[loss]', '--json'];
  const measured = await cli(['eval', ...MODEL, ...onHub, ...rows], offline);
  expect(measured.code).toBe(0);
  expect(JSON.parse(measured.stdout)).toEqual(
    JSON.parse((await cli(['eval', ...MODEL, ...local, ...rows], offline)).stdout),
  );
  for (const [name, adapter] of Object.entries({ local, onHub })) {
    expect((await cli(['merge', ...MODEL, ...adapter, '--out', `merged-${name}`], offline)).code).toBe(0);
  }
  const weights = (name: string) => readFileSync(join(cwd, `merged-${name}/model.safetensors`));
  expect(weights('onHub').equals(weights('local'))).toBe(true);
  hub.reset();
  const further = ['--set', 'tuning.lora.init_from=org/adapter@v2', '--output-dir', 'outputs/further'];
  expect(await cli(['train', ...RUN, ...further])).toMatchObject({ code: 0, stderr: '' });
  expect(await cli(['infer', ...MODEL, '--adapter', 'org/none', ...answer])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(
      /^error\[ADAPTER\]: adapter: org\/none: no such folder here, and http:\S+ has no model .*\nhint: .*\n$/,
    ),
  });
  expect(await cli(['infer', ...MODEL, '--adapter', 'org/tiny-llama@v1', ...answer])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(
      /^error\[ADAPTER\]: org\/tiny-llama: expected a PEFT adapter, found no adapter_config.json\nhint: .*\n$/,
    ),
  });
});
