/** How `webgpu-sft push` is called. */
import type { CommandSpec } from '../command.ts';

export const push: CommandSpec = {
  arguments: [['[folder]', 'adapter or merged model, or the YAML file of a run; <output_dir>/final_model if left out']],
  json: 'where it is, its commit and its files',
  examples: [
    'webgpu-sft push outputs/run/final_model --repo me/my-adapter --private',
    'webgpu-sft push outputs/run/merged --repo me/my-model --message "First try"',
    'webgpu-sft push outputs/run/final_model --repo me/my-adapter --dry-run',
  ],
  addFlags: (command) =>
    void command
      .option('--repo <ID>', 'where to: owner/name; made if it is not there')
      .option('--private', 'a repository that is made now is for you alone')
      .option('--message <TEXT>', 'first line of the commit')
      .option('--base-model <ID>', 'hub id of the base, where the files name a folder')
      .option('--dry-run', 'show the files and the model card, and send nothing'),
  action: () => import('../actions/push.ts'),
};
