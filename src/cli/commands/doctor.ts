/** How `webgpu-sft doctor` is called. */
import type { CommandSpec } from '../command.ts';
import { REPORT_FILE } from '../defaults.ts';

export const doctor: CommandSpec = {
  json: 'results, adapter and versions as one document',
  examples: ['webgpu-sft doctor', 'webgpu-sft doctor configs/config_run.yaml --report'],
  addFlags: (command) =>
    void command.option(
      '--report [FILE]',
      `writes what a bug report needs, with no private path or token; ${REPORT_FILE} if no file is named`,
    ),
  action: () => import('../actions/doctor.ts'),
};
