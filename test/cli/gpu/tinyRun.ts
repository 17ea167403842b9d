/** A run of a tiny model, ready to be trained by the command line. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll } from 'vitest';
import { stringify } from 'yaml';
import { makeTinyModel, sums } from '../../fixtures.ts';
import { type Ended, type RunOptions, runCli, useCli } from '../cli.ts';

const CONFIG = {
  output_dir: 'outputs/run',
  model: { name: 'model', max_seq_len: 96 },
  tuning: { mode: 'lora', lora: { r: 4, target_modules: 'all-linear', dropout: 0.1 } },
  train: {
    max_steps: 6,
    batch_size: 2,
    gradient_accumulation_steps: 2,
    learning_rate: 1e-2,
    eval_strategy: 'steps',
    eval_steps: 3,
    save_strategy: 'steps',
    save_steps: 3,
  },
  data: { train_path: 'train.jsonl', val_path: 'val.jsonl' },
  generation: { max_new_tokens: 8, temperature: 0 },
  logging: { log_interval: 2 },
};

export interface TinyRun {
  /** Runs `webgpu-sft ARGS` in the folder of the run. */
  readonly cli: (args: readonly string[], options?: Partial<RunOptions>) => Promise<Ended>;
  /** A path in that folder. */
  readonly at: (...parts: string[]) => string;
  readonly read: (path: string) => string;
  /** What `train run.yaml` said. */
  readonly trained: () => Ended;
}

/** Trains `run.yaml` before the tests of a file. */
export function useTinyRun(): TinyRun {
  const folder = useCli();
  const at = (...parts: string[]) => join(folder(), ...parts);
  const cli: TinyRun['cli'] = (args, options = {}) => runCli(args, { cwd: folder(), ...options });
  let trained: Ended = { code: null, stdout: '', stderr: 'not run' };
  beforeAll(async () => {
    await makeTinyModel(at('model'));
    writeFileSync(at('train.jsonl'), sums(20));
    writeFileSync(at('val.jsonl'), sums(4));
    writeFileSync(at('run.yaml'), stringify(CONFIG));
    trained = await cli(['train', 'run.yaml']);
  });
  return { cli, at, read: (path) => readFileSync(at(path), 'utf8'), trained: () => trained };
}
