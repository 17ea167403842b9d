/** How `webgpu-sft infer` is called. */
import { type CommandSpec, wholeNumber } from '../command.ts';

export const infer: CommandSpec = {
  examples: [
    'webgpu-sft infer configs/lora_smollm2.yaml',
    'webgpu-sft infer --model models/base --adapter outputs/run/final_model --prompt "Hello!" --temperature 0',
    'webgpu-sft infer configs/lora_smollm2.yaml --input prompts.txt --out answers.jsonl',
  ],
  addFlags: (command) =>
    void command
      .option('--prompt <TEXT>', 'answer one user message; with stdout not a terminal, the answer and nothing else')
      .option('--input <FILE>', 'answer each line of a .txt file, or each row of a .jsonl file')
      .option('--out <FILE>', 'where the answers go: .jsonl (rows of prompt and prediction) or .txt (one line each)')
      .option('--adapter <DIR>', 'folder or hub id of the adapter; <output_dir>/final_model of the config if left out')
      .option('--seed <N>', 'seed of the sampling; train.seed of the config if left out', wholeNumber('--seed'))
      .option('--stream', 'show the answer while it is made (default)')
      .option('--no-stream', 'show the answer when it is whole'),
  action: () => import('../actions/infer.ts'),
};
