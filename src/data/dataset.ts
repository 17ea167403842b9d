/** A whole data set: every row of every source, tokenised, with a report of what was left out. */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';
import { attempt } from './jsonl.ts';
import { countTrained } from './labels.ts';
import type { RowOptions } from './rows.ts';
import { readRows, whereOf } from './rows.ts';
import type { TokenizedRow, TokenizeOptions } from './tokenize.ts';
import { tokenizeRow } from './tokenize.ts';

export interface DatasetOptions extends TokenizeOptions, RowOptions {
  /** Stops after so many rows. */
  readonly limit?: number;
  readonly signal?: AbortSignal;
  /** Told now and then how many rows are read. */
  readonly onProgress?: (rowsRead: number) => void;
}

export interface DatasetReport {
  /** Rows read. */
  readonly read: number;
  /** Rows that are trained on. */
  readonly kept: number;
  /** `file:line` and the reason, for each row left out. */
  readonly dropped: readonly { readonly where: string; readonly why: string }[];
  /** Rows that lost tokens to `truncation`. */
  readonly truncated: number;
  /** Input tokens of the rows kept. */
  readonly tokens: number;
  /** Tokens with a loss. */
  readonly trainedTokens: number;
  /** Tokens of the longest row kept. */
  readonly longest: number;
}

export interface Dataset {
  readonly rows: readonly TokenizedRow[];
  readonly report: DatasetReport;
}

/**
 * How many rows pass between calls of `onProgress`; the event loop gets a turn there too, so that a page stays alive.
 */
const ROWS_PER_PROGRESS = 256;

/**
 * Reads and tokenises `sources` in order. Throws `DATA` for a bad row (never skipped) and when no row is left to train
 * on, `TEMPLATE` and `MODEL` as the parts do, and the signal's reason when it is aborted.
 */
export async function loadDataset(sources: readonly ReadableSource[], options: DatasetOptions): Promise<Dataset> {
  const rows: TokenizedRow[] = [];
  const dropped: { where: string; why: string }[] = [];
  let read = 0;
  reading: for (const source of sources) {
    for await (const row of readRows(source, options)) {
      if (read === options.limit) break reading;
      const result = attempt(() => tokenizeRow(row, read, options), options.onProblem);
      if (result && 'dropped' in result) dropped.push({ where: whereOf(row), why: result.dropped });
      else if (result) rows.push(result);
      read += 1;
      if (read % ROWS_PER_PROGRESS === 0) {
        options.onProgress?.(read);
        await new Promise((resolve) => setTimeout(resolve, 0));
        options.signal?.throwIfAborted();
      }
    }
  }
  if (rows.length === 0) {
    const first = dropped[0];
    const got = first === undefined ? 'no rows' : `${read} that are not: ${first.where}: ${first.why}`;
    throw new SftError(
      'DATA',
      `${sources.map(({ name }) => name).join(', ')}: expected a row that can be trained on, got ${got}`,
      {
        hint: 'look at a row with `webgpu-sft inspect`; check data.train_on, data.truncation and model.max_seq_len',
      },
    );
  }
  options.onProgress?.(read);
  return { rows, report: report(rows, dropped, read) };
}

function report(rows: readonly TokenizedRow[], dropped: DatasetReport['dropped'], read: number): DatasetReport {
  const lengths = rows.map(({ inputIds }) => inputIds.length);
  return {
    read,
    kept: rows.length,
    dropped,
    truncated: rows.filter(({ truncated }) => truncated).length,
    tokens: lengths.reduce((sum, length) => sum + length, 0),
    trainedTokens: rows.reduce((sum, row) => sum + countTrained(row), 0),
    longest: lengths.reduce((longest, length) => Math.max(longest, length), 0),
  };
}
