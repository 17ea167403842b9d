/** The settings that people know from SFT-Play and from the QA framework, as files of this project and as they wrote them. */
import { readdir, readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import type { Config } from '../../src/train/config.ts';
import { PRESETS } from '../../src/train/config.ts';
import type { CheckedConfig } from '../../src/train/configCheck.ts';
import { checkConfig, loadConfig } from '../../src/train/configFile.ts';
import { NOT_YET } from '../../src/train/configRules.ts';

const root = new URL('../../', import.meta.url);
const readText = (path: string): Promise<string> => readFile(new URL(path, root), 'utf8');

async function load(name: string): Promise<Config> {
  const { config, warnings } = await loadConfig({ readText, path: `configs/${name}.yaml` });
  expect(warnings).toEqual([]);
  return config;
}

describe('ready-made files', () => {
  it.each([
    ['default', 3, 4, 1024],
    ['fast_test', 1, 2, 512],
    ['full_training', 5, 8, 2048],
    ['low_memory', 3, 1, 512],
  ])('%s: %i epochs, batches of %i, rows of %i tokens', async (name, epochs, batch, length) => {
    const { preset, model, train, tuning } = await load(name);
    expect([preset, train.epochs, train.batch_size, model.max_seq_len]).toEqual([name, epochs, batch, length]);
    expect(tuning).toMatchObject({ mode: 'qlora', lora: { r: 16, alpha: 32 } });
    expect(train.learning_rate).toBe(2e-4);
  });

  it('low_memory recomputes activations, and every preset has its file', async () => {
    expect((await load('low_memory')).train.gradient_checkpointing).toBe(true);
    for (const preset of Object.keys(PRESETS)) expect((await load(preset)).output_dir).toBe(`outputs/${preset}`);
  });

  it('the two backends differ in kernels, mode and output folder', async () => {
    const [bnb, unsloth] = [await load('run_bnb'), await load('run_unsloth')];
    expect(bnb.tuning).toMatchObject({ mode: 'qlora', backend: 'portable', lora: { r: 16, alpha: 32, dropout: 0.1 } });
    expect(unsloth.tuning).toMatchObject({ mode: 'lora', backend: 'fast', lora: { r: 32, alpha: 64, dropout: 0.05 } });
    expect([bnb.output_dir, unsloth.output_dir]).toEqual(['outputs/run-bnb', 'outputs/run-unsloth']);
  });

  it('documents are three of four rows, and their chunks as long as rows may be', async () => {
    const { data, model } = await load('run_dapt');
    expect(data.format).toBe('documents');
    expect(data.documents).toEqual({ chunk_tokens: null, overlap_tokens: 64, mix_ratio: 0.75 });
    expect(model.max_seq_len).toBe(1024);
  });

  it('run_gemma27b_distributed: a large base in 4 bits, on the adapters that are there', async () => {
    const { tuning, train, devices } = await load('run_gemma27b_distributed');
    expect([tuning.mode, train.gradient_checkpointing, devices]).toEqual(['qlora', true, 'auto']);
  });

  it('each one says what it is for in the README', async () => {
    const files = (await readdir(new URL('configs/', root))).filter((name) => name.endsWith('.yaml'));
    const readme = await readText('README.md');
    const named = [...readme.matchAll(/^\| .*/gm)].flatMap(([line]) => line.split('|')[1]!.match(/\w+\.yaml/g) ?? []);
    expect(named.toSorted()).toEqual(files.toSorted());
    // The base names no model.
    for (const name of files) if (name !== 'config_base.yaml') await load(name.replace('.yaml', ''));
  });

  it('Q: large models take smaller steps, 32 rows each, and save twice as often', async () => {
    const [small, large] = [await load('q_sft_small'), await load('q_sft_large')];
    expect(small.train).toMatchObject({ max_steps: 1000, learning_rate: 2e-5, save_steps: 100 });
    expect(large.train).toMatchObject({
      max_steps: 1000,
      learning_rate: 4e-6,
      save_steps: 50,
      batch_size: 1,
      gradient_accumulation_steps: 32,
    });
    for (const { tuning, train, logging } of [small, large]) {
      expect([tuning.mode, train.gradient_checkpointing, logging.run_name]).toEqual(['full', true, 'q-sft']);
      expect(train.load_best_model_at_end).toBe(true);
    }
  });
});

/** Word for word from the documentation of SFT-Play. */
const GUIDE = `
# configs/my_config.yaml
model:
  name: Qwen/Qwen2.5-1.5B-Instruct  # Which model to use
  max_seq_len: 512                   # How long conversations can be

tuning:
  mode: qlora                        # Memory-efficient training
  backend: bnb                       # Which training engine

train:
  epochs: 3                          # How many times to see the data
  learning_rate: 2e-4                # How fast to learn
  batch_size: auto                   # Let system decide
`;
const LOGGING = `
logging:
  backend: trackio    # or tensorboard | wandb
  project: sft-play
  run_name: qwen3b_qlora_bnb_run1
  log_interval: 20
`;
const QLORA = `
# configs/config_run.yaml
model:
  name: "microsoft/DialoGPT-medium"
  type: "causal"
  max_seq_len: 512

tuning:
  mode: "qlora"
  backend: "bnb"
  lora:
    r: 16
    alpha: 32
    dropout: 0.1
    target_modules: "auto"

data:
  train_path: "data/processed/train.jsonl"
  val_path: "data/processed/val.jsonl"
`;
const LORA = `
# configs/config_run.yaml
model:
  name: "unsloth/llama-2-7b-bnb-4bit"
  type: "causal"
  max_seq_len: 1024

tuning:
  mode: "lora"
  backend: "unsloth"
  lora:
    r: 32
    alpha: 64
    dropout: 0.05
`;
const FULL = `
# configs/config_run.yaml
model:
  name: "google/flan-t5-base"
  type: "seq2seq"
  max_seq_len: 512

tuning:
  mode: "full"
  backend: "bnb"
`;

/** Loads `text` as a run file; over a base that names a model, as the logging block does not. */
function check(text: string, file = 'run.yaml'): Promise<CheckedConfig> {
  const files: Record<string, string> = { [file]: text, 'base.yaml': 'model: {name: m}' };
  return checkConfig({ readText: async (path) => files[path]!, path: file });
}

describe("SFT-Play's own YAML", () => {
  it.each([
    ['the guide', GUIDE, { mode: 'qlora', backend: 'portable' }, { max_seq_len: 512, type: 'causal' }],
    ['QLoRA with bitsandbytes', QLORA, { backend: 'portable', lora: { dropout: 0.1 } }, { max_seq_len: 512 }],
    ['LoRA with Unsloth', LORA, { mode: 'lora', backend: 'fast', lora: { r: 32, alpha: 64 } }, { max_seq_len: 1024 }],
  ])('%s loads unchanged', async (_, text, tuning, model) => {
    const { config, problems, warnings } = await check(text);
    expect(problems).toEqual([]);
    expect(config).toMatchObject({ tuning, model });
    // `bnb` and `unsloth` are names for kernels here, which is said once and is all that is said.
    expect(warnings).toEqual([
      expect.stringMatching(/^tuning\.backend: (bnb means portable|unsloth means fast) here$/),
    ]);
  });

  it('the guide says its numbers', async () => {
    const { config } = await check(GUIDE);
    expect(config?.train).toMatchObject({ epochs: 3, learning_rate: 2e-4, batch_size: 'auto' });
  });

  it.each([
    [
      'live logging',
      `base: base.yaml\n${LOGGING}`,
      'logging.backend',
      { logging: { project: 'sft-play', log_interval: 20 } },
    ],
    [
      'full fine-tuning of an encoder and decoder',
      FULL,
      'model.type',
      { tuning: { mode: 'full', backend: 'portable' } },
    ],
  ])('%s: every key is known, and only a feature to come is refused', async (_, text, feature, expected) => {
    const { config, problems } = await check(text);
    const awaited = NOT_YET.some(({ key }) => key === feature);
    expect(problems.map(({ message }) => message)).toEqual(
      awaited ? [expect.stringMatching(new RegExp(`^${feature}: got .*, but this version `))] : [],
    );
    expect(config).toMatchObject(expected);
  });
});
