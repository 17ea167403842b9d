/** How `webgpu-sft train` is called. */
import type { CommandSpec } from '../command.ts';

export const train: CommandSpec = {
  examples: [
    'webgpu-sft train configs/lora_smollm2.yaml --max-steps 100 --lr 1e-4',
    'webgpu-sft train configs/lora_smollm2.yaml --resume-from last',
  ],
  addFlags: (command) =>
    void command
      .option('--resume-from <DIR>', 'continue from a checkpoint folder; `last` is the newest one of output_dir')
      .option('--dry-run', 'everything but the steps: data, plan, one compiled step on zeros; writes nothing'),
  action: () => import('../actions/train.ts'),
};
