import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { SftError } from '../../src/platform/errors.ts';
import { type Config, type ConfigInput, configSchema, PRESETS } from '../../src/train/config.ts';
import { checkConfigObject, parseConfig } from '../../src/train/configCheck.ts';
import { configMarkdown, configSchemaJson } from '../../src/train/configDocs.ts';
import { checkConfig } from '../../src/train/configFile.ts';
import { CONFIG_FLAGS } from '../../src/train/configFlags.ts';
import { flagDescription, flagOverride } from '../../src/train/configOverrides.ts';
import { NOT_YET } from '../../src/train/configRules.ts';
import { configLeaves, leafSchema, schemaAt, typeText } from '../../src/train/configSchema.ts';
import { chooseSplit, halve, resolveBatch } from '../../src/train/resolveBatch.ts';

/** The least that a configuration must say. */
const least = { model: { name: 'models/tiny' }, tuning: { mode: 'lora' } } as const;

const root = new URL('../../', import.meta.url);
const readText = async (path: string): Promise<string> => readFileSync(new URL(path, root), 'utf8');

function problemsOf(input: unknown): string[] {
  return checkConfigObject(input).problems.map(({ where, message }) => `${where}: ${message}`);
}

describe('defaults', () => {
  it('are the published ones', () => {
    expect(configSchema.parse({ model: { name: 'm' } })).toEqual({
      base: null,
      preset: null,
      output_dir: 'outputs/run',
      model: {
        name: 'm',
        revision: 'main',
        type: 'causal',
        max_seq_len: 1024,
        dtype: 'auto',
        chat_template: null,
        hub_url: null,
      },
      tuning: {
        mode: 'qlora',
        backend: 'auto',
        quantization: { type: 'nf4', block_size: 64, double_quant: true },
        lora: {
          r: 16,
          alpha: 32,
          dropout: 0.05,
          target_modules: 'auto',
          bias: 'none',
          use_rslora: false,
          use_dora: false,
          modules_to_save: [],
          init_from: null,
        },
      },
      train: {
        epochs: 3,
        max_steps: -1,
        batch_size: 'auto',
        gradient_accumulation_steps: 'auto',
        effective_batch_size: 16,
        learning_rate: 2e-4,
        lr_scheduler: 'linear',
        warmup_ratio: 0.03,
        warmup_steps: 0,
        optimizer: 'adamw',
        weight_decay: 0,
        adam_beta1: 0.9,
        adam_beta2: 0.999,
        adam_epsilon: 1e-8,
        max_grad_norm: 1,
        precision: 'auto',
        gradient_checkpointing: 'auto',
        packing: false,
        shuffle: true,
        seed: 42,
        eval_strategy: 'epoch',
        eval_steps: 100,
        save_strategy: 'epoch',
        save_steps: 100,
        save_total_limit: 2,
        load_best_model_at_end: true,
        metric_for_best_model: 'eval_loss',
        greater_is_better: null,
        early_stopping_patience: null,
      },
      data: {
        raw_path: 'data/raw',
        train_path: 'data/processed/train.jsonl',
        val_path: 'data/processed/val.jsonl',
        test_path: 'data/processed/test.jsonl',
        format: 'auto',
        columns: {},
        prompt_template: null,
        split: [0.8, 0.1, 0.1],
        style: null,
        train_on: 'assistant',
        truncation: 'keep_start',
        documents: { chunk_tokens: null, overlap_tokens: 0, mix_ratio: null },
      },
      eval: {
        metrics: ['rouge_l', 'exact_match'],
        limit: null,
        quick_limit: 200,
        schema: { regex: null, json_schema: null },
      },
      generation: { max_new_tokens: 256, temperature: 0.7, top_p: 0.9, top_k: 50, repetition_penalty: 1, stop: [] },
      logging: { backend: 'none', project: 'webgpu-sft', run_name: null, log_interval: 10, dashboard: false },
      memory: { budget_gib: null },
      devices: 'auto',
      pipeline: { microbatches: 'auto', schedule: '1f1b', split: 'auto' },
    });
  });

  it('have no warnings with the least that must be said', () => {
    expect(checkConfigObject(least)).toMatchObject({ problems: [], warnings: [] });
  });

  it('of a resolved configuration are accepted again and change nothing', () => {
    const config = parseConfig({ ...least, preset: 'low_memory', train: { eval_strategy: 'no' } });
    expect(parseConfig(config)).toEqual(config);
  });
});

describe('schema', () => {
  it('describes every key with a sentence and a default', () => {
    for (const { key, schema } of configLeaves()) {
      expect(schema.description, key).toMatch(/^[A-Z].{10,}\.$/);
      expect(schema.default, key).toBeDefined();
      expect(typeText(schema), key).not.toBe('');
    }
    expect(configLeaves().length).toBeGreaterThan(70);
  });

  it('finds the part of a path', () => {
    expect(schemaAt(['eval', 'metrics', 3])?.enum).toContain('rouge_l');
    expect(schemaAt(['data', 'columns', 'user'])?.type).toBe('string');
    expect(schemaAt(['train', 'nothing', 'here'])).toBeUndefined();
  });

  it.each([
    ['train.batch_size', 'auto or a whole number from 1'],
    ['train.max_steps', '-1 or a whole number from 1'],
    ['train.greater_is_better', 'true, false or null'],
    ['tuning.lora.dropout', 'a number from 0 to below 1'],
    ['tuning.lora.target_modules', 'text or a list of one or more, each text'],
    ['data.split', 'a list of 3, each a number from 0'],
    ['data.columns', 'a map of texts'],
    ['generation.top_p', 'a number above 0 to 1'],
    ['train.save_strategy', 'one of no, steps, epoch'],
  ])('words the type of %s', (key, expected) => {
    expect(typeText(leafSchema(key))).toBe(expected);
  });
});

describe('problems of an object', () => {
  it.each([
    [{ tuning: { mode: 'lora' } }, 'model.name: expected a model folder or a hub id, got nothing'],
    [{ ...least, model: { name: null } }, 'model.name: expected a model folder or a hub id, got null'],
    [{ ...least, train: { lr: 1 } }, 'train.lr: unknown key'],
    [{ ...least, train: { epochs: 0 } }, 'train.epochs: expected a number above 0, got 0'],
    [{ ...least, train: { learning_rate: Number.NaN } }, 'train.learning_rate: expected a number from 0, got NaN'],
    [{ ...least, train: { max_steps: 0 } }, 'train.max_steps: expected -1 or a whole number from 1, got 0'],
    [{ ...least, train: { batch_size: 1.5 } }, 'train.batch_size: expected auto or a whole number from 1, got 1.5'],
    [{ ...least, train: 3 }, 'train: expected a section of keys and values, got 3'],
    [{ ...least, data: { split: [1, 1, 1] } }, 'data.split: expected three shares that add up to 1, got [1,1,1]'],
    [{ ...least, data: { columns: { user: 1 } } }, 'data.columns.user: expected text, got 1'],
    [{ ...least, eval: { metrics: ['loss', 'x'] } }, /^eval\.metrics\[1\]: expected one of rouge_l, .*, got "x"$/],
    [{ ...least, base: 'base.yaml' }, 'base: expected null outside a file, got "base.yaml"'],
    [JSON.parse('{"model":{"name":"m","__proto__":{}},"tuning":{"mode":"lora"}}'), /__proto__: a name that cannot/],
    [{ ...least, train: { eval_strategy: 'no', early_stopping_patience: 2 } }, /^train.early_stopping_patience: /],
    [
      { ...least, data: { documents: { chunk_tokens: 64 } } },
      'data.documents.chunk_tokens: expected null while data.format is auto, got 64',
    ],
    [
      { ...least, data: { format: 'documents', documents: { chunk_tokens: 2048 } } },
      'data.documents.chunk_tokens: expected at most model.max_seq_len (1024), got 2048',
    ],
    [
      { ...least, data: { format: 'documents', documents: { chunk_tokens: 64, overlap_tokens: 64 } } },
      'data.documents.overlap_tokens: expected less than the 64 tokens of a chunk, got 64',
    ],
    [{ ...least, tuning: { mode: 'full', quantization: { type: 'int8' } } }, /^tuning.quantization.type: expected no /],
    [{ ...least, train: { lr_scheduler: 'polynomial', learning_rate: 1e-7 } }, /^train.learning_rate: .*above 1e-7/],
  ])('%j', (input, expected) => {
    expect(problemsOf(input)).toEqual([typeof expected === 'string' ? expected : expect.stringMatching(expected)]);
  });

  it.each([
    [new Map(), 'Map'],
    [1n, 'BigInt'],
    [() => 1, 'Function'],
  ])('%s is no plain value', (value, name) => {
    const [first] = problemsOf({ ...least, logging: { run_name: value } });
    expect(first).toBe(`logging.run_name: expected a plain value, got [object ${name}]`);
  });

  it('an object that holds itself ends', () => {
    const loop: Record<string, unknown> = { ...least };
    loop['train'] = loop;
    expect(problemsOf(loop)[0]).toContain('expected at most 32 levels');
  });

  it('something else than an object', () => {
    expect(problemsOf('text')[0]).toBe('config: expected a section of keys and values, got "text"');
  });

  it('are found together, and the rest is kept', () => {
    const checked = checkConfigObject({
      train: { epochs: 'x', metric_for_best_model: 'eval_schema_regex', nope: 1, seed: 7 },
    });
    expect(checked.problems.map(({ where }) => where).sort()).toEqual([
      'model.name',
      'train.epochs',
      'train.metric_for_best_model',
      'train.nope',
    ]);
    expect(checked.config).toMatchObject({
      model: { name: '' },
      train: { epochs: 3, seed: 7, metric_for_best_model: 'eval_schema_regex' },
    });
  });

  it('make one error with the count of the others', () => {
    const call = (): Config => parseConfig({ ...least, train: { epochs: 'x' as never, seed: -1 } });
    expect(call).toThrow(SftError);
    expect(call).toThrow('train.epochs: expected a number above 0, got "x" (and 1 more problem)');
  });

  it('suggest the key of the section, of another section, of a flag, or list what there is', () => {
    const hint = (input: object): string | undefined => checkConfigObject({ ...least, ...input }).problems[0]?.hint;
    expect(hint({ train: { warmup_step: 1 } })).toBe('did you mean train.warmup_steps?');
    expect(hint({ learning_rate: 1 })).toBe('did you mean train.learning_rate?');
    expect(hint({ train: { bf16: true, fp16: true } })).toBe('did you mean train.precision?');
    expect(hint({ num_train_epochs: 1 })).toBe('did you mean train.epochs?');
    expect(hint({ train: { lr: 1 } })).toBe('did you mean train.learning_rate?');
    expect(hint({ train: { lr_scheduler: 'cosin' } })).toBe('did you mean cosine?');
    expect(hint({ memory: { zzz: 1 } })).toBe('known keys here: budget_gib');
  });
});

describe('what this version refuses', () => {
  const examples: Record<string, unknown> = {
    'tuning.lora.use_dora': true,
    'tuning.lora.modules_to_save': ['lm_head'],
    'tuning.lora.bias': 'all',
    'model.type': 'seq2seq',
    'model.revision': 'v2',
    'model.hub_url': 'http://localhost',
    'train.metric_for_best_model': 'eval_rouge_l',
    'eval.metrics': ['sari'],
    'eval.limit': 1,
    'eval.quick_limit': 1,
    'eval.schema.regex': 'x',
    'eval.schema.json_schema': 'x.json',
    devices: ['a', 'b'],
    'pipeline.microbatches': 2,
    'pipeline.split': [1, 1],
  };

  it.each(NOT_YET.map(({ key }) => key))('%s', (key) => {
    const input: Record<string, unknown> = structuredClone(least);
    const path = key.split('.');
    const last = path.pop()!;
    let section = input;
    for (const name of path) {
      section[name] ??= {};
      section = section[name] as Record<string, unknown>;
    }
    expect(problemsOf(input)).toEqual([]);
    section[last] = examples[key];
    expect(problemsOf(input)).toEqual([
      `${key}: got ${JSON.stringify(examples[key])}, but this version ${
        NOT_YET.find((entry) => entry.key === key)!.reason
      }`,
    ]);
  });
});

describe('data.prompt_template', () => {
  it.each([
    [{ prompt_template: 'User: {question}' }, "expected a line that begins 'Assistant:', got none"],
    [
      { prompt_template: '{text}', format: 'documents' },
      'expected null while data.format is documents, got a template',
    ],
  ])('%j is refused', (data, expected) => {
    expect(problemsOf({ ...least, data })).toEqual([`data.prompt_template: ${expected}`]);
  });

  it('goes with the format of its rows', () => {
    const data = { prompt_template: 'User: {question}\nAssistant: {answer}', format: 'qa' };
    expect(problemsOf({ ...least, data })).toEqual([]);
  });
});

describe('what is said once', () => {
  it.each([
    ['bnb', 'portable'],
    ['unsloth', 'fast'],
  ] as const)('backend %s means %s', (name, backend) => {
    const warnings: string[] = [];
    const input = { ...least, tuning: { mode: 'lora', backend: name } } as const;
    const config = parseConfig(input, { onWarning: (warning) => warnings.push(warning) });
    expect(config.tuning.backend).toBe(backend);
    expect(warnings).toEqual([`tuning.backend: ${name} means ${backend} here`]);
  });

  it.each([
    { save_strategy: 'no' },
    { eval_strategy: 'no' },
    { eval_strategy: 'no', save_strategy: 'no' },
    { eval_strategy: 'steps', save_strategy: 'steps', eval_steps: 4, save_steps: 6 },
  ])('no best model with %j; an error where it was asked for', (train) => {
    const { config, warnings, problems } = checkConfigObject({ ...least, train });
    expect(problems).toEqual([]);
    expect(config?.train.load_best_model_at_end).toBe(false);
    expect(warnings).toEqual([expect.stringMatching(/^train\.load_best_model_at_end: off/)]);
    const asked = checkConfigObject({ ...least, train: { ...train, load_best_model_at_end: true } });
    expect(asked.problems).toMatchObject([{ where: 'train.load_best_model_at_end' }]);
  });

  it('saving at a multiple of the evaluations keeps the best model', () => {
    const train = { eval_strategy: 'steps', save_strategy: 'steps', eval_steps: 4, save_steps: 8 };
    const { config, warnings } = checkConfigObject({ ...least, train });
    expect([config?.train.load_best_model_at_end, warnings]).toEqual([true, []]);
  });
});

describe('presets', () => {
  const presetNames = Object.keys(PRESETS) as (keyof typeof PRESETS)[];

  it.each(presetNames)('%s lies under the keys of the object', (preset) => {
    const layer = PRESETS[preset];
    expect(parseConfig({ ...least, preset })).toMatchObject(layer);
    expect(parseConfig({ ...least, preset, train: { epochs: 9 } }).train).toMatchObject({ ...layer.train, epochs: 9 });
  });

  it('must exist', () => {
    expect(problemsOf({ ...least, preset: 'slow' })).toEqual([
      'preset: expected one of default, fast_test, full_training, low_memory or null, got "slow"',
    ]);
    expect(problemsOf({ ...least, preset: 'toString' })).toHaveLength(1);
  });
});

describe('resolveBatch', () => {
  it.each([
    ['auto', 'auto', 16, 4, 4],
    ['auto', 'auto', 6, 3, 2],
    ['auto', 'auto', 7, 1, 7],
    ['auto', 'auto', 2, 2, 1],
    [8, 'auto', 16, 8, 2],
    [3, 'auto', 16, 3, 5],
    [64, 'auto', 16, 64, 1],
    ['auto', 2, 16, 8, 2],
    ['auto', 32, 16, 1, 32],
    [5, 3, 16, 5, 3],
  ] as const)('%s × %s of %i is %i × %i', (batch_size, accumulation, effective, batchSize, steps) => {
    const train = {
      batch_size,
      gradient_accumulation_steps: accumulation,
      effective_batch_size: effective,
    };
    expect(resolveBatch(parseConfig({ ...least, train }).train)).toEqual({ batchSize, accumulation: steps });
  });
});

describe('chooseSplit', () => {
  const split = (train: ConfigInput['train'], fits: (batchSize: number, checkpointing: boolean) => boolean) => {
    const asked: string[] = [];
    const found = chooseSplit(parseConfig({ ...least, train }).train, (batchSize, checkpointing) => {
      asked.push(`${batchSize}${checkpointing ? ' again' : ''}`);
      return fits(batchSize, checkpointing);
    });
    return { ...found, asked };
  };

  it.each([
    [16, 100, 16, 1, false],
    [16, 16, 16, 1, false],
    [16, 15, 8, 2, false],
    [12, 5, 4, 3, false],
    [7, 6, 1, 7, false],
    [16, 1, 1, 16, false],
    // Only with checkpointing, which makes room for four times as many rows.
    [16, 0.5, 2, 8, true],
    [16, 0.25, 1, 16, true],
    [16, 0, 1, 16, true],
  ])(
    '%i rows a step, room for %d: %i x %i, checkpointing %s',
    (effective, room, batchSize, accumulation, checkpointing) => {
      const fits = (rows: number, again: boolean) => rows <= room * (again ? 4 : 1);
      const found = split({ effective_batch_size: effective }, fits);
      expect(found).toMatchObject({ batchSize, accumulation, checkpointing });
      expect(found.asked.length).toBeLessThanOrEqual(6);
      expect(new Set(found.asked).size).toBe(found.asked.length);
    },
  );

  it('keeps what is given', () => {
    expect(split({ batch_size: 6 }, () => true)).toMatchObject({ batchSize: 6, accumulation: 3, checkpointing: false });
    expect(split({ batch_size: 6, gradient_checkpointing: false }, () => false)).toMatchObject({
      batchSize: 6,
      checkpointing: false,
    });
    expect(split({ gradient_checkpointing: true }, (rows) => rows <= 4)).toMatchObject({
      batchSize: 4,
      accumulation: 4,
      checkpointing: true,
      asked: ['4 again', '8 again'],
    });
    expect(split({ gradient_accumulation_steps: 4 }, () => false)).toMatchObject({ batchSize: 4, accumulation: 4 });
  });

  it('halves with the same rows in a step', () => {
    expect(halve({ batchSize: 8, accumulation: 2 })).toEqual({ batchSize: 4, accumulation: 4 });
    expect(halve({ batchSize: 3, accumulation: 2 })).toEqual({ batchSize: 1, accumulation: 6 });
    expect(halve({ batchSize: 9, accumulation: 1 })).toEqual({ batchSize: 3, accumulation: 3 });
    expect(halve({ batchSize: 7, accumulation: 4 })).toEqual({ batchSize: 2, accumulation: 14 });
    expect(halve({ batchSize: 1, accumulation: 16 })).toBeNull();
  });
});

describe('flags', () => {
  it('name keys that exist and have a sentence', () => {
    for (const flag of CONFIG_FLAGS) {
      expect(flagDescription(flag), flag.flag).toContain(flag.key);
      expect(leafSchema(flag.key).description).toBeDefined();
    }
    expect(new Set(CONFIG_FLAGS.map(({ flag }) => flag)).size).toBe(CONFIG_FLAGS.length);
  });
});

describe('files made from the schema', () => {
  it.each([
    ['docs/config.md', configMarkdown],
    ['configs/schema.json', configSchemaJson],
  ])('%s is in step (else run: node scripts/docs.mjs)', async (path, make) => {
    expect(await readText(path)).toBe(make());
  });

  it('the page names every key', () => {
    for (const { key } of configLeaves()) expect(configMarkdown()).toContain(`| \`${key.split('.').at(-1)}\` | `);
  });
});

describe('ready-made configurations', () => {
  const files = readdirSync(new URL('configs/', root), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.ya?ml$/.test(name))
    .map((name) => `configs/${name.replaceAll('\\', '/')}`);

  it('are all found', () => {
    expect(files.length).toBeGreaterThanOrEqual(4);
  });

  it.each(files)('%s is right', async (path) => {
    // The base of a run leaves the model to the run.
    const overrides = path.endsWith('config_base.yaml') ? [flagOverride('--model', 'models/tiny')] : [];
    expect(await checkConfig({ readText, path, overrides })).toMatchObject({ problems: [], warnings: [] });
  });

  it.each(files)('%s begins with its command', async (path) => {
    const [command] = (await readText(path)).split('\n');
    expect(command).toMatch(/^# npx webgpu-sft train configs\/\S+\.yaml/);
    expect(files).toContain(/configs\/\S+/.exec(command!)![0]);
  });
});
