/** How `webgpu-sft eval` is called. */
import { type CommandSpec, oneOf, wholeNumber } from '../command.ts';

export const evalCommand: CommandSpec = {
  json: 'what metrics.json holds',
  examples: [
    'webgpu-sft eval configs/lora_smollm2.yaml --quick --compare-base',
    'webgpu-sft eval configs/lora_smollm2.yaml --split val --limit 50 --set eval.metrics=[rouge_lsum,loss]',
    'webgpu-sft eval --model models/base --adapter outputs/run/final_model --set data.test_path=rows.jsonl --json',
  ],
  addFlags: (command) =>
    void command
      .option('--split <NAME>', 'train, val or test', oneOf('--split', ['train', 'val', 'test']), 'test')
      .option('--quick', 'the first eval.quick_limit rows only')
      .option('--limit <N>', 'the first N rows only', wholeNumber('--limit'))
      .option('--compare-base', 'the model without what was trained, too')
      .option('--adapter <DIR>', 'folder or hub id of the adapter; <output_dir>/final_model of the config if left out'),
  action: () => import('../actions/eval.ts'),
};
