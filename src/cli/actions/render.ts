/** `webgpu-sft render`: rows as the text that the model gets and the answer that it should give. */
import type { Split } from '../../data/split.ts';
import { openText } from '../../train/openText.ts';
import { presentSplits, renderRows } from '../../train/rewrite.ts';
import { type Call, printJson } from '../command.ts';
import { showFiles, withRows } from '../dataFiles.ts';
import { showSources } from '../downloads.ts';
import { readConfig } from '../readConfig.ts';

const FOLDER = 'data/rendered';

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { config } = await readConfig(call);
  const { template } = await openText(config, showSources(call));
  const splits = await presentSplits(config, call.options.split as Split | undefined);
  const rewrites = splits.map(({ split, ...rows }) => ({ ...rows, out: `${FOLDER}/${split}.jsonl` }));
  const report = await withRows(call, (options) => renderRows(config, rewrites, template, options));
  if (call.json) printJson(call, report);
  else showFiles(call, report);
  return 0;
}
