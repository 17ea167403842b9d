/** `webgpu-sft inspect`: what the model sees of a row, and what is trained of it. */
import type { Dataset } from '../../data/dataset.ts';
import { inspectRow, inspectSequence } from '../../data/inspect.ts';
import { packingReport, packRows } from '../../data/packing.ts';
import type { Split } from '../../data/split.ts';
import type { Tokenizer } from '../../data/tokenizer.ts';
import { SftError } from '../../platform/errors.ts';
import { openRows } from '../../train/openRows.ts';
import { openText } from '../../train/openText.ts';
import { type Call, say } from '../command.ts';
import { showDownloadStage, showSources } from '../downloads.ts';
import { counted, howFull } from '../format.ts';
import { readConfig } from '../readConfig.ts';
import { type DataRow, type Losses, lossSummary, rowTitle, textLines, tokenLines } from '../tokenView.ts';

interface Options {
  readonly split: Split;
  readonly row?: number;
  readonly packed?: boolean;
  readonly loss?: boolean;
  readonly adapter?: string;
}

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { split, row, packed, loss } = call.options as unknown as Options;
  if (packed && loss) {
    throw new SftError('ARGUMENT', '--packed: expected no --loss, got both', {
      hint: 'the loss of a row is the same in a sequence: leave --packed out',
    });
  }
  const { config } = await readConfig(call);
  const sources = showSources(call);
  const text = await openText(config, sources);
  const number = row ?? (call.json || packed ? undefined : 0);
  const limit = number === undefined || packed ? {} : { limit: number + 1 };
  const data = await openRows(config, split, text, { ...sources, onProgress: showDownloadStage(call), ...limit });
  if (!data) {
    throw new SftError('CONFIG', `data.${split}_path: expected a file of rows, got null`, {
      hint: 'choose another --split',
    });
  }
  const rows = chooseRows(call, data, number);
  if (packed) {
    showPacked(call, data, rows, config.model.max_seq_len, text.tokenizer);
    return 0;
  }
  if (!loss) {
    for (const one of rows) show(call, one, text.tokenizer, null);
    return 0;
  }
  const { rowLosses } = await import('../rowLosses.ts');
  for await (const { row: one, losses } of rowLosses(call, config, rows)) show(call, one, text.tokenizer, losses);
  return 0;
}

/** All rows, or the one with this number. Throws `DATA` for one that is left out of training, `ARGUMENT` for none. */
function chooseRows(call: Call, { rows, report }: Dataset, number: number | undefined): readonly DataRow[] {
  if (number === undefined) {
    for (const { where, why } of report.dropped) say(call, `left out: ${where}: ${why}`);
    return rows;
  }
  const found = rows.find(({ row }) => row === number);
  if (found) return [found];
  if (report.read <= number) {
    throw new SftError('ARGUMENT', `--row: expected 0 to ${report.read - 1}, got ${number}`, {
      hint: `the split has ${counted(report.read, 'row')}`,
    });
  }
  const keptBefore = rows.filter(({ row }) => row < number).length;
  const { where, why } = report.dropped[number - keptBefore] ?? {
    where: `row ${number}`,
    why: 'it cannot be trained on',
  };
  throw new SftError('DATA', `${where}: the row is left out: ${why}`, {
    hint: 'check data.train_on, data.truncation and model.max_seq_len',
  });
}

/** The sequences with the chosen rows: all as JSON, or the first as text. */
function showPacked(
  call: Call,
  data: Dataset,
  chosen: readonly DataRow[],
  maxSeqLen: number,
  tokenizer: Tokenizer,
): void {
  const { terminal } = call;
  const packed = packRows(data.rows, maxSeqLen);
  const wanted = new Set(chosen);
  const found = [...packed.entries()].filter(([, rows]) => rows.some((row) => wanted.has(row)));
  if (call.json) {
    for (const [number, rows] of found) terminal.line('out', JSON.stringify(inspectSequence(number, rows)));
    say(call, howFull(packingReport(packed, maxSeqLen), maxSeqLen));
    return;
  }
  for (const [number, rows] of found.slice(0, 1)) {
    const tokens = rows.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
    const head = `sequence ${number}: ${counted(rows.length, 'row')}, ${tokens} of ${maxSeqLen} tokens`;
    terminal.line('out', terminal.colors.out.bold(head));
    for (const row of rows) showRow(call, row, tokenizer, null);
  }
  terminal.line('out', howFull(packingReport(packed, maxSeqLen), maxSeqLen));
}

function show(call: Call, row: DataRow, tokenizer: Tokenizer, losses: Losses | null): void {
  const { terminal } = call;
  if (call.json) {
    terminal.line('out', JSON.stringify({ ...inspectRow(row), ...(losses && { loss: losses }) }));
    return;
  }
  showRow(call, row, tokenizer, losses);
}

/** A title, a line for each token, and the text. */
function showRow({ terminal }: Call, row: DataRow, tokenizer: Tokenizer, losses: Losses | null): void {
  const colors = terminal.colors.out;
  const lines = [
    colors.bold(rowTitle(row)),
    ...tokenLines(row, tokenizer, losses, colors),
    ...(losses ? [lossSummary(losses)] : []),
    '',
    ...textLines(row, tokenizer, colors),
  ];
  for (const line of lines) terminal.line('out', line);
}
