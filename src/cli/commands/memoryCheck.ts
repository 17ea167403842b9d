/** How `webgpu-sft memory-check` is called. */
import type { CommandSpec } from '../command.ts';

export const memoryCheck: CommandSpec = {
  json: 'the plan as one document',
  examples: ['webgpu-sft memory-check configs/lora_smollm2.yaml --set train.batch_size=8 --set memory.budget_gib=6'],
  action: () => import('../actions/memoryCheck.ts'),
};
