/** `webgpu-sft process`: raw files to training, validation and test rows. */
import { type Found, type ProcessReport, processRows } from '../../index.ts';
import { type Call, type CommandSpec, printJson, say, warn } from '../command.ts';
import { readDataConfig, rowProgress } from '../dataFiles.ts';
import { counted, shellQuote, table } from '../format.ts';

interface Options {
  readonly dropDuplicates?: boolean;
}

export const processCommand: CommandSpec = {
  json: 'what was recognised and written',
  examples: [
    'webgpu-sft process configs/config_run.yaml',
    'webgpu-sft process --set data.raw_path=questions.jsonl --set "data.split=[0.9, 0.05, 0.05]"',
  ],
  addFlags: (command) =>
    void command.option('--drop-duplicates', 'leave rows out of val and test that an earlier split has too'),
  async run(call) {
    const { dropDuplicates = false } = call.options as unknown as Options;
    const config = await readDataConfig(call);
    const report = await processRows(config, { dropDuplicates, ...rowProgress(call) });
    call.terminal.setStatus('err', null);
    warnings(call, report);
    if (call.json) {
      printJson(call, report);
      return 0;
    }
    const kinds = Object.entries(report.kinds).map(([kind, rows]) => `${rows} × ${kind}`);
    say(call, `read ${counted(report.rows, 'row')} of ${config.data.raw_path}: ${kinds.join(', ')}`);
    const rows = report.splits.map(({ split, path, rows }) => [
      split,
      String(rows),
      rows > 0 ? (path ?? '') : 'no file',
    ]);
    for (const line of table(rows, [1])) call.terminal.line('out', line);
    const { path } = call.config;
    say(call, `look at one: webgpu-sft inspect ${path === undefined ? 'CONFIG' : shellQuote(path)} --row 0`);
    return 0;
  },
};

function warnings(call: Call, { empty, duplicates }: ProcessReport): void {
  if (empty.count > 0) {
    warn(call, `${counted(empty.count, 'row')} with an empty question or answer, kept: ${places(empty)}`);
  }
  if (duplicates.count === 0) return;
  const done = duplicates.dropped ? 'left out' : 'kept; --drop-duplicates leaves them out';
  const what = counted(duplicates.count, 'row');
  warn(call, `${what} of val and test that an earlier split has too, word for word (${done}): ${places(duplicates)}`);
}

function places({ count, first }: Found): string {
  return `${first.join(', ')}${count > first.length ? ` and ${count - first.length} more` : ''}`;
}
