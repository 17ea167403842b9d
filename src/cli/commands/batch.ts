/** How `webgpu-sft batch` is called. */
import type { CommandSpec } from '../command.ts';

export const batch: CommandSpec = {
  arguments: [['<file>', 'YAML file with datasets, configs and styles']],
  json: 'one row for each run',
  examples: [
    'webgpu-sft batch experiments.yaml',
    '',
    'experiments.yaml:',
    '  datasets: {support: data/raw/support.jsonl, legal: data/raw/legal}',
    '  configs: [configs/small.yaml, configs/large.yaml]',
    '  styles: {plain: null, short: Answer in one sentence.}',
  ],
  action: () => import('../actions/batch.ts'),
};
