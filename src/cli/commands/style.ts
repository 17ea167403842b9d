/** `webgpu-sft style`: copies of rows with a system prompt of one's own. */
import { presentSplits, type Rewrite, styleRows } from '../../index.ts';
import { SftError } from '../../platform/errors.ts';
import { type CommandSpec, printJson, warn } from '../command.ts';
import { readDataConfig, showFiles, withRows } from '../dataFiles.ts';
import { counted } from '../format.ts';

const FOLDER = 'data/processed_with_style';

interface Options {
  readonly style?: string;
  readonly in?: string;
  readonly out?: string;
}

export const style: CommandSpec = {
  json: 'the files that were written',
  examples: [
    'webgpu-sft style configs/config_run.yaml --style "Answer concisely in 2 lines. No markdown."',
    'webgpu-sft style --style "Be friendly." --in data/processed/train.jsonl --out data/processed_with_style/train.jsonl',
  ],
  addFlags: (command) =>
    void command
      .option('--style <TEXT>', 'the system prompt; it replaces one that a row has')
      .option('--in <FILE>', 'file or folder of rows; all splits of the config if left out')
      .option('--out <FILE>', `the copy; ${FOLDER}/<name of the file> if left out`),
  async run(call) {
    const options = call.options as Options;
    const { style: system = '' } = options;
    if (system.trim() === '') {
      throw new SftError('ARGUMENT', 'style: expected --style TEXT, got none', {
        hint: 'give the system prompt that every row is to have, such as --style "Answer in two lines."',
      });
    }
    if (options.out !== undefined && options.in === undefined) {
      throw new SftError('ARGUMENT', '--out: expected --in too, got --out alone', {
        hint: `name the file to copy with --in; without both, all splits go to ${FOLDER}`,
      });
    }
    const config = await readDataConfig(call);
    const rewrites: Rewrite[] =
      options.in === undefined
        ? (await presentSplits(config)).map((rows) => ({ ...rows, out: `${FOLDER}/${rows.split}.jsonl` }))
        : [{ key: '--in', path: options.in, out: options.out ?? `${FOLDER}/${outputName(options.in)}` }];
    const report = await withRows(call, (rows) => styleRows(config, rewrites, system, rows));
    if (call.json) printJson(call, report);
    else showFiles(call, report);
    if (report.withoutRoles > 0) {
      warn(
        call,
        `${counted(report.withoutRoles, 'row')} without roles, which take no system prompt, copied as they are`,
      );
    }
    return 0;
  },
};

/** The name of a copy: always JSON Lines. */
function outputName(path: string): string {
  const name = path.split(/[\\/]/).findLast((part) => part !== '') ?? 'rows';
  return `${name.replace(/\.\w+$/, '')}.jsonl`;
}
