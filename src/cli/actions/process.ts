/** `webgpu-sft process`: raw files to training, validation and test rows. */
import { type ProcessReport, processRows } from '../../train/process.ts';
import { type Call, printJson, say, warn } from '../command.ts';
import { readDataConfig, withRows } from '../dataFiles.ts';
import { counted, places, shapesOf, shellQuote, table } from '../format.ts';
import { ownCommand } from '../ownCommand.ts';

interface Options {
  readonly dropDuplicates?: boolean;
}

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { dropDuplicates = false } = call.options as unknown as Options;
  const config = await readDataConfig(call);
  const report = await withRows(call, (options) => processRows(config, { dropDuplicates, ...options }));
  warnings(call, report);
  if (call.json) {
    printJson(call, report);
    return 0;
  }
  say(call, `read ${shapesOf(report.shapes, report.from)}${chunks(report)}`);
  if (report.notMeasured !== null && call.config.path !== undefined) {
    say(call, `lengths are not known, for want of a tokenizer: ${report.notMeasured}`);
  }
  const rows = report.splits.map(({ split, path, rows }) => [split, String(rows), rows > 0 ? (path ?? '') : 'no file']);
  for (const line of table(rows, [1])) call.terminal.line('out', line);
  const { path } = call.config;
  say(call, `look at one: ${ownCommand()} inspect ${path === undefined ? 'CONFIG' : shellQuote(path)} --row 0`);
  return 0;
}

/** Where documents were cut: into how many rows, and how many rows there are with the others. */
function chunks({ rows, shapes: { documents = 0, ...others } }: ProcessReport): string {
  if (documents === 0) return '';
  const other = Object.values(others).reduce((sum, count) => sum + count, 0);
  const cut = `; documents make ${counted(rows - other, 'chunk')}`;
  return other === 0 ? cut : `${cut}, ${counted(rows, 'row')} in all`;
}

function warnings(call: Call, { empty, tooLong, duplicates }: ProcessReport): void {
  if (empty.count > 0) {
    warn(call, `${counted(empty.count, 'row')} with an empty question or answer, kept: ${places(empty)}`);
  }
  if (tooLong && tooLong.count > 0) {
    const what = `${counted(tooLong.count, 'row')} with more tokens than model.max_seq_len`;
    warn(call, `${what}, kept (data.truncation says what training does with them): ${places(tooLong)}`);
  }
  if (duplicates.count === 0) return;
  const done = duplicates.dropped ? 'left out' : 'kept; --drop-duplicates leaves them out';
  const what = counted(duplicates.count, 'row');
  warn(call, `${what} of val and test that an earlier split has too, word for word (${done}): ${places(duplicates)}`);
}
