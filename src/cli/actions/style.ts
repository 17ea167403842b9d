/** `webgpu-sft style`: copies of rows with a system prompt of one's own. */
import { SftError } from '../../platform/errors.ts';
import { presentSplits, type Rewrite, styleRows } from '../../train/rewrite.ts';
import { type Call, printJson, warn } from '../command.ts';
import { readDataConfig, showFiles, withRows } from '../dataFiles.ts';
import { STYLED_FOLDER } from '../defaults.ts';
import { counted } from '../format.ts';

interface Options {
  readonly style?: string;
  readonly in?: string;
  readonly out?: string;
}

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const options = call.options as Options;
  const { style: system = '' } = options;
  if (system.trim() === '') {
    throw new SftError('ARGUMENT', 'style: expected --style TEXT, got none', {
      hint: 'give the system prompt that every row is to have, such as --style "Answer in two lines."',
    });
  }
  if (options.out !== undefined && options.in === undefined) {
    throw new SftError('ARGUMENT', '--out: expected --in too, got --out alone', {
      hint: `name the file to copy with --in; without both, all splits go to ${STYLED_FOLDER}`,
    });
  }
  const config = await readDataConfig(call);
  const rewrites: Rewrite[] =
    options.in === undefined
      ? (await presentSplits(config)).map((rows) => ({ ...rows, out: `${STYLED_FOLDER}/${rows.split}.jsonl` }))
      : [{ key: '--in', path: options.in, out: options.out ?? `${STYLED_FOLDER}/${outputName(options.in)}` }];
  const report = await withRows(call, (rows) => styleRows(config, rewrites, system, rows));
  if (call.json) printJson(call, report);
  else showFiles(call, report);
  if (report.withoutRoles > 0) {
    warn(call, `${counted(report.withoutRoles, 'row')} without roles, which take no system prompt, copied as they are`);
  }
  return 0;
}

/** The name of a copy: always JSON Lines. */
function outputName(path: string): string {
  const name = path.split(/[\\/]/).findLast((part) => part !== '') ?? 'rows';
  return `${name.replace(/\.\w+$/, '')}.jsonl`;
}
