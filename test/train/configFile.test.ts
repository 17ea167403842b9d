import { describe, expect, it } from 'vitest';
import { SftError } from '../../src/platform/errors.ts';
import type { CheckedConfig } from '../../src/train/configCheck.ts';
import type { ConfigRequest, LoadedConfig } from '../../src/train/configFile.ts';
import { checkConfig, loadConfig } from '../../src/train/configFile.ts';
import { flagOverride, setOverride } from '../../src/train/configOverrides.ts';

type Files = Record<string, string>;

function reader(files: Files): ConfigRequest['readText'] {
  return async (path) => {
    const text = files[path];
    if (text === undefined) throw new SftError('IO', `${path}: no such file`);
    return text;
  };
}

const least = 'model: {name: m}\ntuning: {mode: lora}\n';

function load(files: Files, request: Partial<ConfigRequest> = {}): Promise<LoadedConfig> {
  return loadConfig({ readText: reader(files), path: Object.keys(files)[0], ...request });
}

function check(files: Files, request: Partial<ConfigRequest> = {}): Promise<CheckedConfig> {
  return checkConfig({ readText: reader(files), path: Object.keys(files)[0], ...request });
}

/** `where: message` of every problem of a file that also holds what every configuration must say. */
async function problemsOf(text: string, others: Files = {}): Promise<string[]> {
  const { problems } = await check({ 'run.yaml': `${text}\n${least}`, ...others });
  return problems.map(({ where, message }) => `${where}: ${message}`);
}

describe('layers', () => {
  it('run over base, maps merge, lists and scalars replace', async () => {
    const { config } = await load({
      'configs/run.yaml': `base: base.yaml\n${least}data: {columns: {user: Frage}}\ngeneration: {stop: [c]}\ntrain: {epochs: 1}`,
      'configs/base.yaml':
        'train: {epochs: 9, seed: 7}\ndata: {columns: {assistant: Antwort}}\ngeneration: {stop: [a, b]}\n',
    });
    expect(config.train).toMatchObject({ epochs: 1, seed: 7 });
    expect(config.data.columns).toEqual({ user: 'Frage', assistant: 'Antwort' });
    expect(config.generation.stop).toEqual(['c']);
    expect(config.base).toBeNull();
  });

  it('bases nest, each relative to the file that names it', async () => {
    const { config } = await load({
      'a/b/run.yaml': `base: ../x/base.yaml\n${least}`,
      'a/x/base.yaml': 'base: ./deep/root.yaml\ntrain: {seed: 2}',
      'a/x/deep/root.yaml': 'base: /etc/far.yaml\ntrain: {seed: 1, epochs: 5}',
      '/etc/far.yaml': 'train: {epochs: 6, warmup_steps: 3}',
    });
    expect(config.train).toMatchObject({ seed: 2, epochs: 5, warmup_steps: 3 });
  });

  it('one base may serve twice in a tree of files, but not in a circle', async () => {
    const { problems, config } = await check({
      'run.yaml': 'base: a.yaml',
      'a.yaml': 'base: b.yaml',
      'b.yaml': '\nbase: ./a.yaml',
    });
    expect(config).toBeNull();
    expect(problems).toMatchObject([
      { where: 'b.yaml:2:7', message: expect.stringContaining('a circle: run.yaml → a.yaml → b.yaml → a.yaml') },
    ]);
  });

  it('a chain of ever new names ends', async () => {
    const readText = async (): Promise<string> => 'base: again/run.yaml';
    const { problems } = await checkConfig({ readText, path: 'run.yaml' });
    expect(problems).toMatchObject([{ message: expect.stringContaining('more than 32 files') }]);
  });

  it('the preset of a file lies over the base and under the run file, wherever it is named', async () => {
    const base = 'preset: full_training\ntrain: {epochs: 9, batch_size: 9}\nmodel: {max_seq_len: 9}';
    const fromBase = await load({ 'run.yaml': `base: base.yaml\n${least}`, 'base.yaml': base });
    expect(fromBase.config.train).toMatchObject({ epochs: 5, batch_size: 8 });
    expect(fromBase.config.model.max_seq_len).toBe(2048);
    const run = `base: base.yaml\npreset: fast_test\n${least}train: {batch_size: 7}`;
    const fromRun = await load({ 'run.yaml': run, 'base.yaml': base });
    expect(fromRun.config.train).toMatchObject({ epochs: 1, batch_size: 7 });
    const none = await load({ 'run.yaml': `base: base.yaml\npreset: null\n${least}`, 'base.yaml': base });
    expect(none.config.train).toMatchObject({ epochs: 9, batch_size: 9 });
  });

  it.each([
    ['--preset', { preset: 'fast_test' }],
    ['--set preset', { overrides: [setOverride('preset=fast_test')] }],
  ])('%s lies over the run file, under the other flags, in place of its own preset', async (_, typed) => {
    const files = { 'run.yaml': `preset: low_memory\n${least}train: {epochs: 9, batch_size: 9}` };
    const { config } = await load(files, typed);
    expect(config.train).toMatchObject({ epochs: 1, batch_size: 2, gradient_checkpointing: 'auto' });
    expect(config.preset).toBe('fast_test');
    const overrides = [flagOverride('--epochs', '4'), ...('overrides' in typed ? typed.overrides : [])];
    expect((await load(files, { ...typed, overrides })).config.train.epochs).toBe(4);
  });

  it('flags win in the order in which they were typed', async () => {
    const overrides = [
      setOverride('train.seed=1'),
      flagOverride('--lr', '1e-3'),
      setOverride('train.learning_rate=5e-4'),
      setOverride('data.columns={user: Frage}'),
      setOverride('tuning.lora.target_modules=[q_proj, v_proj]'),
      setOverride('train.eval_strategy=no'),
    ];
    const { config } = await load(
      { 'run.yaml': `${least}train: {seed: 9}\ndata: {columns: {system: S}}` },
      { overrides },
    );
    expect(config.train).toMatchObject({ seed: 1, learning_rate: 5e-4, eval_strategy: 'no' });
    expect(config.data.columns).toEqual({ system: 'S', user: 'Frage' });
    expect(config.tuning.lora.target_modules).toEqual(['q_proj', 'v_proj']);
  });

  it('no file is needed', async () => {
    const overrides = [flagOverride('--model', 'm'), flagOverride('--no-4bit')];
    const { config } = await load({}, { path: undefined, overrides });
    expect([config.model.name, config.tuning.mode]).toEqual(['m', 'lora']);
  });

  it('tells where each key was given', async () => {
    const { given } = await load(
      { 'run.yaml': `base: base.yaml\n${least}`, 'base.yaml': 'tuning:\n  lora:\n    r: 8\n' },
      { preset: 'fast_test', overrides: [setOverride('train.seed=1')] },
    );
    expect(Object.fromEntries(given)).toEqual({
      'model.name': 'run.yaml:2:15',
      'tuning.mode': 'run.yaml:3:16',
      'tuning.lora.r': 'base.yaml:3:8',
      preset: '--preset',
      'model.max_seq_len': 'preset fast_test',
      'train.epochs': 'preset fast_test',
      'train.batch_size': 'preset fast_test',
      'train.seed': '--set train.seed',
    });
  });
});

describe('flags', () => {
  it('--no-4bit changes qlora only, also where it is the default', async () => {
    const overrides = [flagOverride('--no-4bit')];
    const mode = async (text: string): Promise<string> =>
      (await load({ 'run.yaml': `model: {name: m}\n${text}` }, { overrides })).config.tuning.mode;
    expect(await mode('')).toBe('lora');
    expect(await mode('tuning: {mode: qlora}')).toBe('lora');
    expect(await mode('tuning: {mode: full}')).toBe('full');
  });

  it('keys of text take the text as typed', async () => {
    const overrides = [flagOverride('--output-dir', '2024'), flagOverride('--train-data', 'a: b')];
    const { config } = await load({ 'run.yaml': least }, { overrides });
    expect([config.output_dir, config.data.train_path]).toEqual(['2024', 'a: b']);
    expect(() => setOverride('output_dir={')).toThrow(/^--set output_dir: not YAML/);
  });

  it('are named in problems', async () => {
    const overrides = [flagOverride('--batch-size', 'x'), setOverride('train.epoch=1'), setOverride('train.seed=-1')];
    const { problems } = await check({ 'run.yaml': least }, { overrides, preset: 'quick' });
    expect(problems.map(({ where, message }) => `${where}: ${message}`)).toEqual([
      expect.stringMatching(/^--preset: preset: expected one of default, fast_test, .* or null, got "quick"$/),
      '--batch-size: train.batch_size: expected auto or a whole number from 1, got "x"',
      '--set train.seed: expected a whole number from 0 to 4294967295, got -1',
      '--set train.epoch: unknown key',
    ]);
  });

  it('that set a base are refused: a file names its base', async () => {
    const { problems } = await check({ 'run.yaml': least }, { overrides: [setOverride('base=other.yaml')] });
    expect(problems).toMatchObject([
      { where: '--set base', message: 'expected null outside a file, got "other.yaml"' },
    ]);
  });

  it.each(['train.seed', '=1', 'train..seed=1', '', 'data.columns.__proto__=x'])(
    '--set %s is no key and value',
    (text) => {
      expect(() => setOverride(text)).toThrow(SftError);
    },
  );

  it('an empty value is null', async () => {
    const { config } = await load({ 'run.yaml': least }, { overrides: [setOverride('data.val_path=')] });
    expect(config.data.val_path).toBeNull();
  });

  it('an unknown one names the nearest', () => {
    expect(() => flagOverride('--max-step', '1')).toThrow(
      expect.objectContaining({ hint: 'did you mean --max-steps?' }),
    );
  });
});

describe('places', () => {
  it('every problem has file, line and column, over all files and at once', async () => {
    const { problems } = await check({
      'configs/run.yaml': [
        'base: base.yaml',
        'model:',
        '  name: 3',
        'train:',
        '  lerning_rate: 1',
        '  epochs: three',
        'eval:',
        '  metrics:',
        '    - loss',
        '    - rouge',
        'tuning: {mode: lora, lora: {use_dora: true}}',
      ].join('\n'),
      'configs/base.yaml': 'train:\n  save_strategy: never\n',
    });
    expect(problems.map(({ where, message }) => `${where}: ${message}`)).toEqual([
      'configs/run.yaml:3:9: model.name: expected text or null, got 3',
      'configs/run.yaml:6:11: train.epochs: expected a number above 0, got "three"',
      'configs/base.yaml:2:18: train.save_strategy: expected one of no, steps, epoch, got "never"',
      'configs/run.yaml:5:3: train.lerning_rate: unknown key',
      expect.stringMatching(/^configs\/run\.yaml:10:7: eval\.metrics\[1\]: expected one of /),
      'configs/run.yaml:11:39: tuning.lora.use_dora: got true, but this version does not train DoRA magnitudes',
    ]);
    expect(problems.every(({ code, hint }) => code === 'CONFIG' && hint !== '')).toBe(true);
  });

  it('the error is the first problem with the count of the others', async () => {
    const error = await load({ 'run.yaml': `${least}train: {epoch: 1, seed: x}` }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SftError);
    expect(error).toMatchObject({
      code: 'CONFIG',
      message: 'run.yaml:3:25: train.seed: expected a whole number from 0 to 4294967295, got "x" (and 1 more problem)',
      hint: expect.stringMatching(/dropout; webgpu-sft check run\.yaml lists every problem$/),
    });
    expect((error as SftError).exitCode).toBe(2);
  });

  it('a missing file, and a missing base', async () => {
    await expect(load({}, { path: 'no.yaml' })).rejects.toThrow(
      'no.yaml: expected a readable YAML file, got an error: no.yaml: no such file',
    );
    await expect(load({ 'c/run.yaml': 'base: no.yaml' })).rejects.toThrow(
      'c/run.yaml:1:7: base: expected a readable YAML file, got an error: c/no.yaml: no such file',
    );
  });
});

describe('YAML', () => {
  it('is version 1.2: no is text, 1e-4 a number', async () => {
    const { config } = await load({
      'run.yaml': `${least}train: {save_strategy: no, eval_strategy: no, learning_rate: 1e-4}`,
    });
    expect(config.train).toMatchObject({ save_strategy: 'no', learning_rate: 1e-4 });
  });

  it('merges with <<, own keys first, then the first map of a list', async () => {
    const { config } = await load({
      'run.yaml': [
        'model: {name: m}',
        'tuning:',
        '  mode: lora',
        '  lora: {r: &rank 4, alpha: *rank}',
        'data:',
        '  columns:',
        '    <<: [{user: first, system: first}, {user: second, assistant: second}]',
        '    user: own',
      ].join('\n'),
    });
    expect(config.data.columns).toEqual({ user: 'own', system: 'first', assistant: 'second' });
    expect(config.tuning.lora).toMatchObject({ r: 4, alpha: 4 });
  });

  it('an alias means the last anchor of its name before it', async () => {
    const lora = 'lora: {r: &n 2, alpha: *n, modules_to_save: [], dropout: &n 0.5}';
    const { config } = await load({
      'run.yaml': `model: {name: m}\ntuning: {mode: lora, ${lora}}\ngeneration: {temperature: *n}`,
    });
    expect([config.tuning.lora.alpha, config.generation.temperature]).toEqual([2, 0.5]);
  });

  it('a problem in a merged value is where it was written', async () => {
    const found = await problemsOf('generation: &g {top_k: x}\neval: {<<: *g}');
    expect(found.toSorted()).toEqual([
      'run.yaml:1:17: eval.top_k: unknown key',
      'run.yaml:1:24: generation.top_k: expected a whole number from 0, got "x"',
    ]);
  });

  it.each([
    ['', []],
    ['# only a comment', []],
    ['\ufefftrain: {seed: 1}', []],
    ['train: {seed: 1, seed: 2}', ['run.yaml:1:18: seed: duplicate key']],
    ['train: !mine {seed: 1}', ['run.yaml:1:14: expected a value without a tag, got the custom tag !mine']],
    ['train: {seed: !!python/int 1}', [/^run\.yaml:1:28: .* got the custom tag .*python\/int$/]],
    ['output_dir: !!binary aGk=', [/custom tag tag:yaml\.org,2002:binary$/]],
    ['__proto__: {a: 1}', ['run.yaml:1:1: __proto__: a name that cannot be a key']],
    ['data: {columns: {constructor: x}}', ['run.yaml:1:18: constructor: a name that cannot be a key']],
    ['output_dir: *nowhere', ['run.yaml:1:13: expected an anchor &nowhere before this alias, got none']],
    ['train: &t {seed: *t}', [/^run\.yaml:1:\d+: expected at most 32 levels, got more or an alias of itself$/]],
    ['? [a]\n: 1', ['run.yaml:1:3: expected text as a key, got another value']],
    ['eval: {<<: 3}', ['run.yaml:1:12: expected a map or a list of maps after <<']],
    ['train:\n\tseed: 1', [/^run\.yaml:2:1: not YAML: /]],
    ['train: {seed: 1', [/^run\.yaml:\d+:\d+: not YAML: /]],
    ['train: {seed: .inf}', ['run.yaml:1:15: train.seed: expected a whole number from 0 to 4294967295, got Infinity']],
    ['train:', ['run.yaml:1:7: train: expected a section of keys and values, got null']],
  ])('%j', async (text, expected) => {
    const found = await problemsOf(text);
    expect(found).toEqual(expected.map((entry) => (typeof entry === 'string' ? entry : expect.stringMatching(entry))));
  });

  it('one document of version 1.2', async () => {
    const problems = async (text: string): Promise<unknown> => (await check({ 'run.yaml': text })).problems;
    expect(await problems(`${least}---\na: 1`)).toMatchObject([
      { where: 'run.yaml:3:1', message: expect.stringContaining('got a second') },
    ]);
    expect(await problems(`%YAML 1.1\n---\n${least}`)).toMatchObject([{ message: 'expected YAML 1.2, got %YAML 1.1' }]);
    expect(await problems('- a\n- b')).toMatchObject([{ where: 'run.yaml' }]);
  });

  it('an alias bomb ends at once', async () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let level = 1; level <= 9; level++)
      lines.push(
        `a${level}: &a${level} [${Array(10)
          .fill(`*a${level - 1}`)
          .join(', ')}]`,
      );
    expect(await problemsOf(lines.join('\n'))).toEqual([expect.stringContaining('expected at most 10000 values')]);
  });

  it.each([
    ['brackets', '['.repeat(100_000)],
    ['dashes', '- '.repeat(100_000)],
  ])('%s without end do not exhaust the stack', async (_, text) => {
    const { problems } = await check({ 'run.yaml': text });
    expect(problems).toMatchObject([{ message: expect.stringContaining('nested too deeply') }]);
  });
});
