/** How `webgpu-sft clean` is called. */
import type { CommandSpec } from '../command.ts';

export const clean: CommandSpec = {
  json: 'what was removed',
  examples: ['webgpu-sft clean configs/config_run.yaml', 'webgpu-sft clean configs/config_run.yaml --yes'],
  addFlags: (command) => void command.option('--yes', 'do not ask'),
  action: () => import('../actions/clean.ts'),
};
