/** How `webgpu-sft process` is called. */
import type { CommandSpec } from '../command.ts';

export const processCommand: CommandSpec = {
  json: 'what was recognised and written',
  examples: [
    'webgpu-sft process configs/config_run.yaml',
    'webgpu-sft process --set data.raw_path=questions.jsonl --set "data.split=[0.9, 0.05, 0.05]"',
  ],
  addFlags: (command) =>
    void command.option('--drop-duplicates', 'leave rows out of val and test that an earlier split has too'),
  action: () => import('../actions/process.ts'),
};
