/** How `webgpu-sft check` is called. */
import type { CommandSpec } from '../command.ts';

export const check: CommandSpec = {
  json: 'the resolved config, all problems, and what is worth a look in the data',
  examples: ['webgpu-sft check configs/lora_smollm2.yaml'],
  action: () => import('../actions/check.ts'),
};
