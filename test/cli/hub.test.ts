/** Models and data sets of a hub, as they are typed. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeHub, TOKEN } from '../fakeHub.ts';
import { sums } from '../fixtures.ts';
import { type RunOptions, runCli, useCli } from './cli.ts';

vi.setConfig({ testTimeout: 60_000 });
const folder = useCli();
const at = (...parts: string[]) => join(folder(), ...parts);
let hub: FakeHub;
let made = 0;
let cwd = '';

beforeAll(async () => {
  hub = await FakeHub.start();
  hub.addFolder('model', 'org/tiny-llama', 'assets/tiny-llama');
  const card = 'configs:\n- config_name: plain\n  data_dir: plain\n- config_name: hard\n  data_dir: hard\n';
  hub.add('dataset', 'org/sums', {
    files: {
      'README.md': `---\n${card}---\n`,
      'plain/train.jsonl': sums(20),
      'plain/test.jsonl': sums(4),
      'plain/test.csv': 'question,answer\na,b\n',
      'hard/train.jsonl': sums(3),
    },
  });
});
afterAll(() => hub.stop());
beforeEach(() => {
  hub.reset();
  made += 1;
  cwd = at(`project${made}`);
  mkdirSync(cwd);
});

const cli = (args: readonly string[], env: RunOptions['env'] = {}) =>
  runCli(args, {
    cwd,
    env: { HF_HUB_OFFLINE: '', HF_HOME: join(cwd, 'home'), HF_ENDPOINT: hub.url, HF_TOKEN: '', ...env },
  });
const withModel = ['--set', 'model.name=org/tiny-llama', '--set', 'model.max_seq_len=128'];
const lines = (path: string) => readFileSync(join(cwd, path), 'utf8').trimEnd().split('\n');

describe('a data set', () => {
  const raw = (name: string) => ['--set', `data.raw_path=${name}`];

  test('is split as files are, and is there without the hub afterwards', async () => {
    const first = await cli(['process', ...raw('org/sums/plain')]);
    expect(first).toMatchObject({ code: 0, stdout: expect.stringMatching(/^train +16 /) });
    expect(first.stderr).toContain('of org/sums (config plain, split train, commit 0123456): ');
    const rows = lines('data/processed/train.jsonl');
    expect(rows[0]).toBe('{"system":"","user":"What is 0 + 0?","assistant":"It is 0."}');

    hub.asked.length = 0;
    const json = await cli(['process', '--json', ...raw('org/sums/plain')], { HF_HUB_OFFLINE: '1' });
    expect(JSON.parse(json.stdout)).toMatchObject({
      from: 'org/sums (config plain, split train, commit 0123456)',
      rows: 20,
    });
    const away = await cli(['process', ...raw('org/sums/plain')], { HF_ENDPOINT: 'http://127.0.0.1:9' });
    expect(away.code).toBe(0);
    expect(away.stderr).toMatch(/^warning: org\/sums: .* gave no answer \(.*\); using commit 0123456 of the cache$/m);
    expect(lines('data/processed/train.jsonl')).toEqual(rows);
    expect(hub.asked).toEqual([]);
  });

  test('whose configs leave a choice, or that has no such rows', async () => {
    expect(await cli(['process', ...raw('org/sums')])).toMatchObject({
      code: 2,
      stderr:
        'error[DATA]: data.raw_path: org/sums: expected one of its configs (plain, hard), got none\nhint: choose one as in org/sums/plain\n',
    });
    const style = ['style', '--style', 'Be brief.', ...raw('x'), '--set', 'data.train_path=org/sums/plain'];
    const missing = await cli([...style, '--set', 'data.val_path=org/sums/plain', '--set', 'data.test_path=null']);
    expect(missing).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('data.val_path: org/sums/plain: expected one split of validation rows'),
    });
    const styled = await cli([...style, '--set', 'data.val_path=null', '--set', 'data.test_path=org/sums/plain']);
    expect(styled.code).toBe(0);
    expect(styled.stderr).toContain(
      'warning: org/sums: left out, as the rows of split test are there as jsonl too: plain/test.csv\n',
    );
    expect(lines('data/processed_with_style/test.jsonl')).toHaveLength(4);
    expect(await cli(['process', ...raw('org/sums/plain'), '--set', 'data.train_path=org/sums'])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error\[CONFIG\]: data.train_path: expected a file to write, got org\/sums/),
    });
  });

  test('that is neither here nor there; what is here comes first', async () => {
    expect(await cli(['process', ...raw('org/none')])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^error\[DATA\]: data.raw_path: org\/none: no such file or folder here, and http:\S+ has no dataset of that id, .*\nhint: check the id; .*HF_TOKEN.*\n$/,
      ),
    });
    mkdirSync(join(cwd, 'org/sums'), { recursive: true });
    writeFileSync(join(cwd, 'org/sums/rows.jsonl'), sums(5));
    hub.asked.length = 0;
    expect((await cli(['process', ...raw('org/sums')])).stdout).toMatch(/^train +4 /);
    expect(hub.asked).toEqual([]);
  });
});

describe('a model', () => {
  test('is inspected and rendered with its tokenizer alone', async () => {
    writeFileSync(join(cwd, 'train.jsonl'), sums(2));
    const args = [...withModel, '--set', 'data.train_path=train.jsonl'];
    const inspected = await cli(['inspect', '--json', ...args]);
    expect(inspected.code).toBe(0);
    const local = await cli(['inspect', '--json', ...args, '--set', `model.name=${process.cwd()}/assets/tiny-llama`]);
    expect(inspected.stdout).toBe(local.stdout);
    expect((await cli(['render', '--split', 'train', ...args], { HF_HUB_OFFLINE: '1' })).code).toBe(0);
    expect(hub.asked.filter(({ path }) => path.startsWith('/cdn/'))).toEqual([]);
  });

  test('is planned by its config and the headers of its weights', async () => {
    const planned = await cli(['memory-check', '--json', ...withModel]);
    expect(planned.code).toBe(0);
    const local = await cli([
      'memory-check',
      '--json',
      ...withModel,
      '--set',
      `model.name=${process.cwd()}/assets/tiny-llama`,
    ]);
    expect(JSON.parse(planned.stdout).categories).toEqual(JSON.parse(local.stdout).categories);
    const content = hub.asked.filter(({ path }) => path.startsWith('/cdn/'));
    expect(content.length).toBeGreaterThan(0);
    const bytes = content
      .map(({ range }) => /^bytes=(\d+)-(\d+)$/.exec(range ?? '')!)
      .reduce((sum, [, from, to]) => sum + Number(to) - Number(from) + 1, 0);
    expect(bytes).toBeLessThan(20_000);
    expect(hub.asked.some(({ path }) => path.includes('tokenizer'))).toBe(false);
  });

  test('that is nowhere, or gated', async () => {
    const check = (...args: string[]) => cli(['memory-check', ...args]);
    expect(await check('--set', 'model.name=org/none')).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(
        /^error\[MODEL\]: model.name: org\/none: no such folder here, and http:\S+ has no model of that id, .*\nhint: .*\n$/,
      ),
    });
    expect((await check('--set', 'model.name=a/b/c')).stderr).toMatch(
      /^error\[MODEL\]: model.name: a\/b\/c: .*\nhint: .*owner\/name\n$/,
    );
    hub.addFolder('model', 'org/gated', 'assets/tiny-llama', { access: 'gated' });
    const gated = ['--set', 'model.name=org/gated'];
    expect(await check(...gated)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^error\[MODEL\]: org\/gated\/config.json: .* \(401\)\nhint: open http:.* in a browser, .*HF_TOKEN.*\n$/,
      ),
    });
    expect((await cli(['memory-check', ...gated], { HF_TOKEN: TOKEN })).code).toBe(0);
  });

  test('of a hub that is busy, broken or silent: two lines, and not for ever', async () => {
    const check = (env: RunOptions['env'] = {}) => cli(['memory-check', ...withModel], env);
    const says = (reason: string, hint: string) => ({
      code: 1,
      stdout: '',
      stderr: `error[IO]: model.name: org/tiny-llama: ${hub.url} ${reason}\nhint: ${hint}\n`,
    });
    hub.fault = () => 429;
    hub.faultHeaders = { 'Retry-After': '120' };
    const more = '; with HF_TOKEN set, more requests are allowed';
    expect(await check()).toEqual(says('answered 429 (too many requests)', `try again in 2 minutes${more}`));
    expect(hub.asked).toHaveLength(1);
    hub.fault = () => 500;
    hub.faultHeaders = { 'Retry-After': '0' };
    expect(await check()).toEqual(says('answered 500 (it has a problem of its own)', 'try again later'));
    expect(hub.asked).toHaveLength(5);
    hub.fault = () => 'hang';
    expect(await check({ HF_HUB_ETAG_TIMEOUT: '0.5' })).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error\[MODEL\]: .* gave no answer \(nothing came for 0\.5 s\)\nhint: .*\n$/),
    });
    // What breaks while files come is told in the same way.
    hub.fault = ({ path }) => (path.includes('/resolve/') ? 404 : undefined);
    expect(await check()).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^error\[MODEL\]: org\/tiny-llama\/config\.json: .* has no such file \(404\)\nhint: .*\n$/,
      ),
    });
    hub.reset();
    expect(await check({ HF_TOKEN: 'hf_other' })).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error\[MODEL\]: .* does not know this token \(401\)\nhint: .*HF_TOKEN.*\n$/),
    });
  });

  test('of a folder has no revision', async () => {
    const revision = ['--set', `model.name=${process.cwd()}/assets/tiny-llama`, '--set', 'model.revision=v2'];
    expect(await cli(['memory-check', ...revision])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error\[CONFIG\]: .*model.revision: expected main/),
    });
    expect(existsSync(join(cwd, 'home'))).toBe(false);
  });
});

test('a disk that is full is told, and what came by then stays', async () => {
  hub.add('dataset', 'org/big', { files: { 'train.jsonl': sums(12_000) } });
  const env = { HF_HUB_OFFLINE: '', HF_HOME: join(cwd, 'home'), HF_ENDPOINT: hub.url, HF_TOKEN: '' };
  const args = ['process', '--set', 'data.raw_path=org/big'];
  const ended = await runCli(args, { cwd, env, shell: 'ulimit -f 1000; exec "$@"' });
  expect(ended).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /error\[IO\]: .*could not be written: the file would be larger than allowed\nhint: .*\n$/,
    ),
  });
  rmSync(join(cwd, 'data'), { recursive: true, force: true });
  hub.asked.length = 0;
  const again = await cli(args);
  expect(again).toMatchObject({ code: 0, stderr: expect.stringMatching(/^downloading org\/big, [\d.]+ KiB$/m) });
  expect(hub.asked.find(({ range }) => range !== undefined)?.range).toMatch(/^bytes=\d{5,}-$/);
});
