/** The cache as it is typed: `webgpu-sft models`. */
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { COMMIT, FakeHub } from '../fakeHub.ts';
import { type RunOptions, runCli, useCli } from './cli.ts';

vi.setConfig({ testTimeout: 60_000 });
const folder = useCli();
let hub: FakeHub;
let made = 0;
let cwd = '';

beforeAll(async () => {
  hub = await FakeHub.start();
  hub.addFolder('model', 'org/tiny-llama', 'assets/tiny-llama', {
    revisions: { main: COMMIT, v1: '1'.repeat(40) },
  });
  hub.add('model', 'org/adapter', {
    files: {
      'adapter_config.json': JSON.stringify({
        peft_type: 'LORA',
        base_model_name_or_path: 'org/tiny-llama',
        r: 2,
        lora_alpha: 4,
        target_modules: ['q_proj'],
      }),
      'adapter_model.safetensors': 'weights',
      'training_args.bin': 'a pickle',
    },
  });
});
afterAll(() => hub.stop());
beforeEach(() => {
  hub.reset();
  made += 1;
  cwd = join(folder(), `project${made}`);
  mkdirSync(cwd);
});

const models = (args: readonly string[], options: Partial<RunOptions> = {}) =>
  runCli(['models', ...args], {
    cwd,
    ...options,
    env: { HF_HUB_OFFLINE: '', HF_HUB_CACHE: '', HF_HOME: join(cwd, 'home'), HF_ENDPOINT: hub.url, HF_TOKEN: '' },
  });
const cache = () => join(cwd, 'home/hub');

test('a model is brought, listed and removed', async () => {
  const none = await models([]);
  expect(none).toMatchObject({ code: 0, stdout: '' });
  expect(none.stderr).toMatch(/^0 repos in .*home\/hub, 0 B\ntry: .* models download Qwen\/Qwen2.5-0.5B-Instruct\n$/);

  const brought = await models(['download', 'org/tiny-llama']);
  expect(brought).toMatchObject({ code: 0, stdout: '' });
  expect(brought.stderr).toMatch(/^downloading org\/tiny-llama, [\d.]+ MiB$/m);
  expect(brought.stderr).toMatch(/^org\/tiny-llama, commit 0123456: 6 files, [\d.]+ MiB$/m);
  expect(brought.stderr).toMatch(/^try: .* infer --model org\/tiny-llama --prompt 'Hello!'\n$/m);
  hub.asked.length = 0;
  expect((await models(['download', 'org/tiny-llama'])).stderr).not.toContain('downloading');
  expect(hub.asked).toHaveLength(1);

  const pinned = await models(['download', 'org/tiny-llama', '--revision', 'v1', '--json']);
  expect(JSON.parse(pinned.stdout)).toMatchObject({ id: 'org/tiny-llama', commit: '1'.repeat(40), files: 6 });
  mkdirSync(join(cache(), 'datasets--org--rows/refs'), { recursive: true });
  const listed = await models(['list']);
  expect(listed.stdout).toMatch(
    /^id +revisions +size +last used\norg\/tiny-llama +main \(0123456\), v1 \(1111111\) +[\d.]+ MiB +\d{4}-\d\d-\d\d\n/,
  );
  expect(listed.stdout).toMatch(/^datasets\/org\/rows +0 B$/m);
  const json = JSON.parse((await models(['list', '--json', 'org/tiny-llama'])).stdout);
  expect(json).toEqual([
    expect.objectContaining({
      id: 'org/tiny-llama',
      type: 'model',
      path: join(cache(), 'models--org--tiny-llama'),
      revisions: [
        { commit: COMMIT, refs: ['main'], files: 6, bytes: json[0].bytes },
        { commit: '1'.repeat(40), refs: ['v1'], files: 6, bytes: json[0].bytes },
      ],
    }),
  ]);

  const one = await models(['remove', 'org/tiny-llama', '--revision', 'v1', '--yes']);
  expect(one.stderr).toMatch(/^removed org\/tiny-llama, commit 1111111: 0 B are free$/m);
  expect((await models(['remove', 'org/tiny-llama', '--yes'])).stderr).toMatch(
    /^removed org\/tiny-llama: [\d.]+ MiB are free$/m,
  );
  expect(readdirSync(cache())).toEqual(['datasets--org--rows']);
});

test('an adapter is brought without its pickles, and names its base', async () => {
  const { code, stderr } = await models(['download', 'org/adapter']);
  expect(code).toBe(0);
  expect(stderr).toMatch(/^try: .* infer --model org\/tiny-llama --adapter org\/adapter --prompt 'Hello!'$/m);
  expect(hub.asked.some(({ path }) => path.includes('.bin'))).toBe(false);
});

test('a download that is stopped goes on where it stopped', async () => {
  hub.fault = ({ path, range }) => (path.startsWith('/cdn/') && !range ? { stopAfter: 70_000 } : undefined);
  const blobs = join(cache(), 'models--org--tiny-llama/blobs');
  const parts = () => readdirSync(blobs).filter((name) => name.endsWith('.incomplete'));
  let watch: NodeJS.Timeout | undefined;
  const stopped = await models(['download', 'org/tiny-llama'], {
    onOutput: (_, child) => {
      watch ??= setInterval(() => {
        if (!parts().some((name) => statSync(join(blobs, name)).size > 0)) return;
        clearInterval(watch);
        child.kill('SIGINT');
      }, 20);
    },
  });
  expect(stopped).toMatchObject({
    code: 130,
    stderr: expect.stringMatching(/error\[INTERRUPTED\]: org\/tiny-llama: .*\nhint: the same command goes on/),
  });
  expect(parts()).toEqual([expect.stringMatching(/^\w{64}\.incomplete$/)]);
  hub.reset();
  expect((await models(['download', 'org/tiny-llama'])).code).toBe(0);
  expect(hub.asked.map(({ range }) => range)).toContainEqual(expect.stringMatching(/^bytes=\d{3,}-$/));
});

describe('what is wrong', () => {
  const refuses = async (args: readonly string[], message: RegExp) =>
    expect(await models(args)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(message) });

  test('an id that is missing, misspelt, or no id', async () => {
    await refuses(['remove'], /^error\[ARGUMENT\]: models remove: expected the id .*\nhint: .*\n$/);
    await refuses(
      ['download', 'a/b/c'],
      /^error\[CONFIG\]: "a\/b\/c": expected the id of a hub, owner\/name\nhint: .*\n$/,
    );
    await refuses(['download', 'datasets/org/rows'], /^error\[ARGUMENT\]: .*\nhint: .*data\.raw_path.*\n$/);
    await refuses(
      ['download', 'org/none'],
      /^error\[MODEL\]: org\/none: http:\S+ has no model of that id, .*\nhint: .*\n$/,
    );
    await models(['download', 'org/adapter']);
    await refuses(['remove', 'org/adapte', '--yes'], /^error\[ARGUMENT\]: .*\nhint: did you mean org\/adapter\?\n$/);
    await refuses(
      ['remove', 'org/adapter', '--revision', 'v9', '--yes'],
      /^error\[ARGUMENT\]: --revision: .*\nhint: there is main \(0123456\)\n$/,
    );
    writeFileSync(join(cwd, 'home/precious'), '');
    for (const id of ['../home', '..', '/', join(cwd, 'home'), 'org/../../home']) {
      await refuses(
        ['remove', id, '--yes'],
        /^error\[ARGUMENT\]: models: expected the id of something in .*\nhint: .*\n$/,
      );
    }
    expect(existsSync(join(cwd, 'home/precious'))).toBe(true);
  });

  test('removal with nobody to ask', async () => {
    await models(['download', 'org/adapter']);
    const refused = await models(['remove', 'org/adapter']);
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/error\[ARGUMENT\]: models remove: .*\nhint: .*models remove --yes.*\n$/),
    });
    expect(readdirSync(cache())).toEqual(['models--org--adapter']);
  });
});
