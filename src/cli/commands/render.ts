/** `webgpu-sft render`: rows as the text that the model gets and the answer that it should give. */
import { openText, presentSplits, renderRows, type Split } from '../../index.ts';
import { type CommandSpec, oneOf, printJson, readConfig } from '../command.ts';
import { showFiles, withRows } from '../dataFiles.ts';
import { showSources } from '../downloads.ts';

const FOLDER = 'data/rendered';

export const render: CommandSpec = {
  json: 'the files that were written',
  examples: ['webgpu-sft render configs/config_run.yaml --split test'],
  addFlags: (command) =>
    void command.option(
      '--split <NAME>',
      'train, val or test; all that there are if left out',
      oneOf('--split', ['train', 'val', 'test']),
    ),
  async run(call) {
    const { config } = await readConfig(call);
    const { template } = await openText(config, showSources(call));
    const splits = await presentSplits(config, call.options.split as Split | undefined);
    const rewrites = splits.map(({ split, ...rows }) => ({ ...rows, out: `${FOLDER}/${split}.jsonl` }));
    const report = await withRows(call, (options) => renderRows(config, rewrites, template, options));
    if (call.json) printJson(call, report);
    else showFiles(call, report);
    return 0;
  },
};
