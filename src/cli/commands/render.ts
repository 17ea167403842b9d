/** How `webgpu-sft render` is called. */
import { type CommandSpec, oneOf } from '../command.ts';

export const render: CommandSpec = {
  json: 'the files that were written',
  examples: ['webgpu-sft render configs/config_run.yaml --split test'],
  addFlags: (command) =>
    void command.option(
      '--split <NAME>',
      'train, val or test; all that there are if left out',
      oneOf('--split', ['train', 'val', 'test']),
    ),
  action: () => import('../actions/render.ts'),
};
