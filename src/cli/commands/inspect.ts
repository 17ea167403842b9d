/** How `webgpu-sft inspect` is called. */
import { type CommandSpec, oneOf, wholeNumber } from '../command.ts';

export const inspect: CommandSpec = {
  json: 'one object a line, for every row or the one that --row names (with --packed: every sequence, or the one with it)',
  examples: [
    'webgpu-sft inspect configs/lora_smollm2.yaml --row 3',
    'webgpu-sft inspect configs/lora_smollm2.yaml --split val --json > rows.jsonl',
    'webgpu-sft inspect configs/lora_smollm2.yaml --packed',
  ],
  addFlags: (command) =>
    void command
      .option('--split <NAME>', 'train, val or test', oneOf('--split', ['train', 'val', 'test']), 'train')
      .option('--row <N>', 'number of the row, from 0', wholeNumber('--row'))
      .option('--loss', 'the loss of each token too; loads the base model')
      .option('--adapter <DIR>', 'with --loss: an adapter to apply')
      .option('--packed', 'sequences of rows as train.packing makes them: the first one, or the one with --row'),
  action: () => import('../actions/inspect.ts'),
};
