/** How `webgpu-sft style` is called. */
import type { CommandSpec } from '../command.ts';
import { STYLED_FOLDER } from '../defaults.ts';

export const style: CommandSpec = {
  json: 'the files that were written',
  examples: [
    'webgpu-sft style configs/config_run.yaml --style "Answer concisely in 2 lines. No markdown."',
    'webgpu-sft style --style "Be friendly." --in data/processed/train.jsonl --out data/processed_with_style/train.jsonl',
  ],
  addFlags: (command) =>
    void command
      .option('--style <TEXT>', 'the system prompt; it replaces one that a row has')
      .option('--in <FILE>', 'file or folder of rows; all splits of the config if left out')
      .option('--out <FILE>', `the copy; ${STYLED_FOLDER}/<name of the file> if left out`),
  action: () => import('../actions/style.ts'),
};
