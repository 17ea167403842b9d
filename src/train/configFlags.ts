/** The flags of the command line that set a key. The command line makes its options from this table. */

export interface ConfigFlag {
  readonly flag: string;
  /** What stands for the value in the help; absent where the flag takes none. */
  readonly value?: string;
  readonly key: string;
  readonly commands: readonly string[];
  /** For a flag without a value: what it sets, and the only value that it replaces. */
  readonly sets?: { readonly to: string; readonly onlyIf: string };
}

const TRAIN = ['train'];
const LOADED = ['infer', 'eval', 'merge', 'export'];
const INFER = ['infer'];

/** Each flag that sets a key, and the commands that have it. */
export const CONFIG_FLAGS: readonly ConfigFlag[] = [
  { flag: '--preset', value: 'NAME', key: 'preset', commands: TRAIN },
  { flag: '--max-steps', value: 'N', key: 'train.max_steps', commands: TRAIN },
  { flag: '--epochs', value: 'N', key: 'train.epochs', commands: TRAIN },
  { flag: '--batch-size', value: 'N', key: 'train.batch_size', commands: TRAIN },
  { flag: '--lr', value: 'X', key: 'train.learning_rate', commands: TRAIN },
  { flag: '--max-length', value: 'N', key: 'model.max_seq_len', commands: TRAIN },
  { flag: '--train-data', value: 'FILE', key: 'data.train_path', commands: TRAIN },
  { flag: '--output-dir', value: 'DIR', key: 'output_dir', commands: ['train', 'eval'] },
  { flag: '--no-4bit', key: 'tuning.mode', commands: TRAIN, sets: { to: 'lora', onlyIf: 'qlora' } },
  { flag: '--model', value: 'NAME', key: 'model.name', commands: LOADED },
  { flag: '--max-new-tokens', value: 'N', key: 'generation.max_new_tokens', commands: ['infer', 'eval'] },
  { flag: '--temperature', value: 'X', key: 'generation.temperature', commands: INFER },
  { flag: '--top-p', value: 'X', key: 'generation.top_p', commands: INFER },
  { flag: '--top-k', value: 'N', key: 'generation.top_k', commands: INFER },
];

export function flagNamed(flag: string): ConfigFlag | undefined {
  return CONFIG_FLAGS.find((candidate) => candidate.flag === flag);
}
