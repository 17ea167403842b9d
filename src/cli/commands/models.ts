/** How `webgpu-sft models` is called. */
import type { CommandSpec } from '../command.ts';

export const models: CommandSpec = {
  arguments: [
    ['[action]', 'list (default), download or remove', ['list', 'download', 'remove']],
    ['[id]', 'owner/name of a hub, as the list shows it'],
  ],
  json: 'what is there, or what was brought or removed',
  examples: [
    'webgpu-sft models list',
    'webgpu-sft models download Qwen/Qwen2.5-0.5B-Instruct',
    'webgpu-sft models remove Qwen/Qwen2.5-0.5B-Instruct',
  ],
  addFlags: (command) =>
    void command
      .option('--revision <R>', 'branch, tag or commit: to download (main if left out), or to remove (all if left out)')
      .option('--yes', 'remove without asking'),
  action: () => import('../actions/models.ts'),
};
