/** What is sent to a hub, byte for byte, and what goes wrong on the way. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { parse, stringify } from 'yaml';
import { modelCard } from '../../src/model/modelCard.ts';
import { FakeHub, TOKEN } from '../fakeHub.ts';
import { READ_TOKEN } from '../fakeHubWriting.ts';
import { type RunOptions, runCli, useCli } from './cli.ts';

vi.setConfig({ testTimeout: 60_000 });
const folder = useCli();
let hub: FakeHub;
let made = 0;
let cwd = '';
let repo = '';
/** Sent in three parts. */
const WEIGHTS = Buffer.from(Uint8Array.from({ length: 250_001 }, (_, i) => (i * 7) % 251));
/** What was sent once is not sent again, so that each test has its own. */
const weights = () => Buffer.concat([Buffer.of(made), WEIGHTS.subarray(1)]);

const FINAL = 'outputs/run/final_model';
const at = (...parts: string[]) => join(cwd, ...parts);

/** What `train` leaves, with a base of the hub or of this machine. */
function makeRun(base: string): void {
  mkdirSync(at(FINAL), { recursive: true });
  const card = {
    kind: 'adapter',
    baseModel: base,
    task: 'text-generation',
    settings: { mode: 'lora', seed: 42 },
  } as const;
  const adapter = { peft_type: 'LORA', base_model_name_or_path: base, r: 8 };
  const files = {
    'adapter_model.safetensors': weights(),
    'adapter_config.json': `${JSON.stringify(adapter, null, 2)}\n`,
    'tokenizer.json': '{"größe": 1}',
    'README.md': modelCard(card),
    'optimizer.safetensors': 'moments',
    'training_args.bin': 'a pickle',
    '.env': 'HF_TOKEN=secret',
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(at(FINAL, name), content);
  const log_history = [
    ...[4, 3, 2.5, 2].map((loss, index) => ({ step: index + 1, loss })),
    { step: 4, eval_loss: 2.25 },
  ];
  writeFileSync(at('outputs/run/trainer_state.json'), JSON.stringify({ log_history }));
  const data = {
    raw_path: 'openai/gsm8k/main',
    train_path: 'data/processed/train.jsonl',
    val_path: '/home/me/secret/val.jsonl',
  };
  writeFileSync(at('outputs/run/config.yaml'), stringify({ model: { name: base }, tuning: { mode: 'lora' }, data }));
  const metrics = { split: 'test', n: 12, metrics: { rouge_l: 0.51234567 }, base: { rouge_l: 0.25 } };
  writeFileSync(at('outputs/run/metrics.json'), JSON.stringify(metrics));
}

beforeAll(async () => {
  hub = await FakeHub.start();
  hub.add('model', 'org/base', { files: {}, card: { license: 'apache-2.0' } });
});
afterAll(() => hub.stop());
beforeEach(() => {
  hub.reset();
  hub.writing.commits.length = 0;
  made += 1;
  cwd = join(folder(), `project${made}`);
  repo = `me/result-${made}`;
  mkdirSync(cwd);
  makeRun('org/base');
});

const push = (args: readonly string[], options: Partial<RunOptions> = {}) =>
  runCli(['push', ...args], {
    cwd,
    ...options,
    env: { HF_HUB_OFFLINE: '', HF_HOME: at('home'), HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN, ...options.env },
  });
const pushed = () => hub.filesOf(repo);
const text = (path: string) => Buffer.from(pushed()[path] as Uint8Array).toString();

describe('an adapter', () => {
  test('goes there byte for byte, in one commit, and only what is of use there', async () => {
    const ended = await push([FINAL, '--repo', repo, '--private', '--message', 'First try']);
    expect(ended).toMatchObject({ code: 0, stdout: `${hub.url}/${repo}\n` });
    expect(ended.stderr).toMatch(/^sending me\/result-\d+, 244 KiB$/m);
    expect(ended.stderr).toMatch(/^pushed 4 files of 4 files, commit \w{7}$/m);
    expect(ended.stderr).toMatch(/^try: .* infer --model org\/base --adapter me\/result-\d+ --prompt 'Hello!'\n$/m);
    expect(Object.keys(pushed()).sort()).toEqual([
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
      'tokenizer.json',
    ]);
    for (const [path, content] of Object.entries(pushed())) {
      if (path !== 'README.md') expect(readFileSync(at(FINAL, path)).equals(content as Uint8Array), path).toBe(true);
    }
    expect(hub.writing.commits).toEqual([{ id: repo, summary: 'First try', paths: Object.keys(pushed()) }]);
    expect(hub.writing.made.at(-1)).toMatchObject({ organization: 'me', private: true, visibility: 'private' });
    expect(hub.asked.filter(({ path }) => path.startsWith('/cdn/')).every(({ token }) => token === undefined)).toBe(
      true,
    );

    const again = await push([FINAL, '--repo', repo, '--private']);
    expect(again).toMatchObject({ code: 0, stderr: expect.stringMatching(/ has all of it already, commit \w{7}$/m) });
    writeFileSync(at(FINAL, 'tokenizer.json'), '{}');
    const other = JSON.parse((await push([FINAL, '--repo', repo, '--json'])).stdout);
    expect(other).toMatchObject({ repo, url: `${hub.url}/${repo}`, changed: ['tokenizer.json'] });
    expect(hub.writing.commits.map(({ paths }) => paths.length)).toEqual([4, 1]);
  });

  test('has a card with base, data, settings, curve and metrics', async () => {
    // A config stands for what its run has made.
    await push([
      'outputs/run/config.yaml',
      '--set',
      'model.name=org/base',
      '--set',
      'output_dir=outputs/run',
      '--repo',
      repo,
    ]);
    const [, front = '', body = ''] = text('README.md').split(/^---\n/m);
    expect(parse(front)).toEqual({
      base_model: 'org/base',
      library_name: 'peft',
      pipeline_tag: 'text-generation',
      tags: ['base_model:adapter:org/base', 'lora', 'sft', 'webgpu-sft'],
      datasets: ['openai/gsm8k'],
      license: 'apache-2.0',
    });
    expect(body).toContain(`model = PeftModel.from_pretrained(model, "${repo}")`);
    expect(body).toContain('| mode | lora |');
    expect(body).toContain(
      `- made of [openai/gsm8k/main](${hub.url}/datasets/openai/gsm8k)\n- training rows: \`train.jsonl\`\n- validation rows: \`val.jsonl\``,
    );
    expect(body).toMatch(
      /```\n {0,}4\.000 ┤.*\n[\s\S]*2\.000 ┤.*\n```\n\nLoss of the training rows by step, from 4\.000 to 2\.000 at step 4\./,
    );
    expect(body).toContain('| 4 | 2.250 |');
    expect(body).toContain(
      '12 rows of the test split, answered greedily, beside the base:\n\n| metric | this | base |\n|---|---|---|\n| rouge_l | 0.5123 | 0.2500 |\n',
    );
    expect(text('README.md')).not.toContain('secret');
  });

  test('over a folder of this machine names a base that others can find', async () => {
    makeRun(at('models/base'));
    const warned = await push([FINAL, '--repo', repo]);
    expect(warned.code).toBe(0);
    expect(warned.stderr).toMatch(/^warning: the base is .*models\/base, a folder of this machine: .*--base-model ID/m);
    expect(text('README.md')).not.toContain(cwd);
    expect(text('README.md')).not.toContain('base_model');
    await push([FINAL, '--repo', repo, '--base-model', 'org/base']);
    expect(JSON.parse(text('adapter_config.json'))).toMatchObject({ base_model_name_or_path: 'org/base', r: 8 });
    expect(text('README.md')).toContain('# LoRA adapter for org/base\n');
    expect(text('README.md')).toContain('from_pretrained("org/base")');
  });

  test('whose card somebody has written keeps it', async () => {
    writeFileSync(at(FINAL, 'README.md'), '# Mine\n');
    await push([FINAL, '--repo', repo]);
    expect(text('README.md')).toBe('# Mine\n');
    // One that began as ours is completed, also without front matter, and refused where that cannot be read.
    writeFileSync(at(FINAL, 'README.md'), '# Mine\n\nTrained with webgpu-sft. Handle with care.\n');
    await push([FINAL, '--repo', repo]);
    expect(text('README.md')).toMatch(
      /^---\nbase_model: org\/base\n[\s\S]*---\n# Mine\n\nTrained .* care\.\n\n## Data\n/,
    );
    writeFileSync(at(FINAL, 'README.md'), '---\ntags: [a\n---\nTrained with webgpu-sft.\n');
    expect(await push([FINAL, '--repo', repo])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error\[MODEL\]: README\.md: .*\nhint: .*\n$/),
    });
  });

  test('is shown and not sent with --dry-run, also without a token', async () => {
    const before = readdirSync(at(FINAL));
    const shown = await push([FINAL, '--repo', repo, '--dry-run'], { env: { HF_TOKEN: '' } });
    expect(shown.code).toBe(0);
    expect(shown.stdout).toMatch(/^adapter_model\.safetensors +244 KiB$/m);
    expect(shown.stdout).toMatch(/^training_args\.bin: stays here$/m);
    expect(shown.stdout).toContain('## Evaluation');
    expect(hub.asked.filter(({ method }) => method !== 'GET')).toEqual([]);
    expect(readdirSync(at(FINAL))).toEqual(before);
  });
});

test('a merged model goes with its card, and says which run it comes from', async () => {
  const merged = at('elsewhere');
  mkdirSync(merged);
  for (const name of readdirSync('assets/tiny-llama')) {
    if (name !== 'README.md') writeFileSync(join(merged, name), readFileSync(join('assets/tiny-llama', name)));
  }
  writeFileSync(join(merged, 'merge.json'), JSON.stringify({ base: 'org/base', adapter: at(FINAL), dtype: 'float16' }));
  const ended = await push(['elsewhere', '--repo', repo]);
  expect(ended).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/^try: .* infer --model me\/result-\d+ --prompt/m),
  });
  expect(pushed()['merge.json']).toBeUndefined();
  expect(readFileSync('assets/tiny-llama/model.safetensors').equals(pushed()['model.safetensors'] as Uint8Array)).toBe(
    true,
  );
  const [, front = ''] = text('README.md').split(/^---\n/m);
  expect(parse(front)).toMatchObject({ base_model: 'org/base', library_name: 'transformers', license: 'apache-2.0' });
  expect(text('README.md')).toContain('| rouge_l | 0.5123 | 0.2500 |');
});

describe('what is wrong with the command', () => {
  const refuses = async (args: readonly string[], message: RegExp, env: RunOptions['env'] = {}) => {
    expect(await push(args, { env })).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(message) });
    expect(hub.asked.filter(({ method }) => method !== 'GET' && method !== 'HEAD')).toEqual([]);
  };

  test('no token, no repository, no folder', async () => {
    makeRun(at('models/base'));
    await refuses(
      [FINAL, '--repo', repo],
      /^error\[CONFIG\]: HF_TOKEN: expected a token of .*\nhint: make one at http:\S+\/settings\/tokens, then set HF_TOKEN .*\n$/,
      { HF_TOKEN: '' },
    );
    await refuses([FINAL, '--repo', repo], /^error\[CONFIG\]: HF_HUB_OFFLINE: .*\nhint: .*\n$/, {
      HF_HUB_OFFLINE: '1',
    });
    await refuses([FINAL], /^error\[ARGUMENT\]: --repo: .*\nhint: .*\n$/);
    await refuses([FINAL, '--repo', 'mine'], /^error\[ARGUMENT\]: --repo: .*got "mine"\nhint: .*\n$/);
    await refuses(
      ['none', '--repo', repo],
      /^error\[ARGUMENT\]: push: expected a folder, there is no none\nhint: .*\n$/,
    );
    await refuses(
      ['outputs/run', '--repo', repo],
      /^error\[ARGUMENT\]: .*found neither\nhint: name outputs\/run\/final_model\n$/,
    );
    await refuses(
      [FINAL, '--repo', repo, '--base-model', './base'],
      /^error\[ARGUMENT\]: --base-model: .*\nhint: .*\n$/,
    );
    rmSync(at(FINAL, 'adapter_model.safetensors'));
    await refuses([FINAL, '--repo', repo], /^error\[ADAPTER\]: .*expected adapter_model\.safetensors .*\nhint: .*\n$/);
  });
});

describe('what goes wrong on the way', () => {
  const fails = async (code: number, message: RegExp, env: RunOptions['env'] = {}) => {
    expect(await push([FINAL, '--repo', repo], { env })).toMatchObject({
      code,
      stdout: '',
      stderr: expect.stringMatching(message),
    });
    expect(hub.writing.commits).toEqual([]);
  };
  const whenCommit = (fault: (n: number) => ReturnType<FakeHub['fault']>) => {
    let count = 0;
    hub.fault = ({ path }) => (path.includes('/commit/') ? fault(count++) : undefined);
  };

  test('a token that nobody knows, that may not write, an owner that is somebody else', async () => {
    await fails(
      2,
      /^error\[CONFIG\]: me\/\S+: http:\S+ does not know this token \(401\)\nhint: .*\/settings\/tokens.*\n$/,
      { HF_TOKEN: 'hf_other' },
    );
    await fails(
      2,
      /^error\[CONFIG\]: me\/\S+: http:\S+ does not let this token write to it \(403: This token has no write access\)\nhint: .*\n$/,
      { HF_TOKEN: READ_TOKEN },
    );
    repo = 'strangers/x';
    await fails(2, /^error\[CONFIG\]: strangers\/x: .*\(403: You don't have the rights .*\)\nhint: .*\n$/);
  });

  test('a hub that says no, is busy, or silent: it is asked again, and not for ever', async () => {
    hub.fault = ({ path }) => (path.startsWith('/cdn/upload') ? 403 : undefined);
    await fails(
      1,
      /^error\[IO\]: me\/\S+\/adapter_model.safetensors: the store of large files .*\(403\)\nhint: .*\n$/m,
    );
    whenCommit(() => 404);
    await fails(2, /^error\[MODEL\]: .* has no such place \(404\)\nhint: .*\n$/m);
    whenCommit(() => 429);
    await fails(1, /^error\[IO\]: .* answered 429 \(too many requests\)\nhint: try again later\n$/m);
    expect(hub.asked.filter(({ path }) => path.includes('/commit/'))).toHaveLength(5);
    hub.fault = ({ path }) => (path.includes('/preupload/') ? 'hang' : undefined);
    await fails(1, /^error\[IO\]: .* gave no answer \(nothing came for 0\.5 s\)\nhint: .*\n$/m, {
      HF_HUB_ETAG_TIMEOUT: '0.5',
    });
  });

  test('a commit whose answer is lost is looked for, and not made twice', async () => {
    whenCommit((n) => [500, 409, undefined][n]);
    const ended = await push([FINAL, '--repo', repo]);
    expect(ended.code).toBe(0);
    expect(hub.writing.commits).toHaveLength(1);
    writeFileSync(at(FINAL, 'tokenizer.json'), '{}');
    whenCommit((n) => (n === 0 ? { stopAfter: 0 } : undefined));
    const lost = await push([FINAL, '--repo', repo, '--json'], { env: { HF_HUB_DOWNLOAD_TIMEOUT: '0.5' } });
    expect(lost.code).toBe(0);
    expect(JSON.parse(lost.stdout)).toMatchObject({
      changed: ['tokenizer.json'],
      commit: expect.stringMatching(/^\w{40}$/),
    });
    expect(hub.writing.commits).toHaveLength(2);
  });

  test('a part that breaks off or hangs is sent again', async () => {
    let count = 0;
    hub.fault = ({ path }) =>
      path.startsWith('/cdn/upload') && count++ < 2 ? (count === 1 ? 500 : 'hang') : undefined;
    const ended = await push([FINAL, '--repo', repo], { env: { HF_HUB_ETAG_TIMEOUT: '1' } });
    expect(ended.code).toBe(0);
    expect(weights().equals(pushed()['adapter_model.safetensors'] as Uint8Array)).toBe(true);
  });

  test('Ctrl-C before the commit leaves everything as it was', async () => {
    hub.fault = ({ path }) => (path.startsWith('/cdn/upload') ? 'hang' : undefined);
    let told = false;
    const stopped = await push([FINAL, '--repo', repo], {
      onOutput: (output, child) => {
        if (!told && output.includes('sending')) child.kill('SIGINT');
        told ||= output.includes('sending');
      },
    });
    expect(stopped).toMatchObject({
      code: 130,
      stderr: expect.stringMatching(/error\[INTERRUPTED\]: .*before the commit.*\nhint: .*\n$/),
    });
    expect([hub.writing.commits, pushed()]).toEqual([[], {}]);
  });
});
