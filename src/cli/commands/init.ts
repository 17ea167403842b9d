/** How `webgpu-sft init` is called. */
import type { CommandSpec } from '../command.ts';

export const init: CommandSpec = {
  arguments: [['[dir]', 'folder of the project; this one if left out']],
  examples: [
    'webgpu-sft init my-project',
    'webgpu-sft init --yes',
    'webgpu-sft init --yes --model Qwen/Qwen2.5-0.5B-Instruct --data chats.jsonl',
  ],
  addFlags: (command) =>
    void command
      .option('--yes', 'ask nothing: the sample data and the small model of this package')
      .option('--model <NAME>', 'folder or hub id of a model')
      .option('--data <PATH>', 'rows or documents of your own, seen from the folder of the project'),
  action: () => import('../actions/init.ts'),
};
