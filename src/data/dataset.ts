/** A whole data set: every row of every source, tokenised, with a report of what was left out. */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';
import { type DocumentSizes, documentRows } from './chunks.ts';
import { attempt } from './jsonl.ts';
import { countTrained, type LabelledTokens } from './labels.ts';
import { mixedRows } from './mix.ts';
import type { Row, RowOptions } from './rows.ts';
import { readRows, whereOf } from './rows.ts';
import { ShapeCounter, type ShapeCounts } from './shapes.ts';
import type { DroppedRow, TokenizedRow, TokenizeOptions } from './tokenize.ts';
import { tokenizeRow } from './tokenize.ts';

/** What makes documents of text rows: each is cut into chunks, and each chunk is a row. */
export interface DocumentOptions extends DocumentSizes {
  /** Share of document rows among all rows, the larger side sampled down; null keeps every row. */
  readonly mixRatio: number | null;
  /** Chooses the rows that a mix keeps. */
  readonly seed: number;
}

/** How the rows of a data set are read and tokenised. */
export interface DatasetOptions extends TokenizeOptions, RowOptions {
  /** With it text rows are documents; rows of other shapes stay what they are. */
  readonly documents?: DocumentOptions;
  /** Stops after so many rows; then nothing is mixed. */
  readonly limit?: number;
  readonly signal?: AbortSignal;
  /** Told now and then how many rows are read. */
  readonly onProgress?: (rowsRead: number) => void;
}

/** How many rows and tokens were read, kept, cut and left out. */
export interface DatasetReport {
  /** Rows read; of a document, its chunks. */
  readonly read: number;
  /** How many rows of the files were taken for what; a document is one. */
  readonly shapes: ShapeCounts;
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
  /** With `mixRatio`: the rows of each side that are kept, and how many of the larger one were not chosen. */
  readonly mix?: { readonly documents: number; readonly others: number; readonly leftOut: number };
}

/** As much of a tokenised row as a report needs. */
export interface MeasuredRow extends LabelledTokens {
  readonly truncated: boolean;
}

/** Rows that are trained on, in the order of their files, and what was left out of them. */
export interface Dataset<T extends MeasuredRow = TokenizedRow> {
  readonly rows: readonly T[];
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
export function loadDataset(sources: readonly ReadableSource[], options: DatasetOptions): Promise<Dataset> {
  return readDataset(sources, options, (_row, result) => ('dropped' in result ? null : result));
}

/** The same, which keeps of each row that can be trained on what `take` returns for it: all rows may be more than memory holds. */
export async function readDataset<T extends MeasuredRow>(
  sources: readonly ReadableSource[],
  options: DatasetOptions,
  take: (row: Row, result: TokenizedRow | DroppedRow) => T | null,
): Promise<Dataset<T>> {
  const rows: T[] = [];
  const isDocument: boolean[] = [];
  const dropped: { where: string; why: string }[] = [];
  const { counts: shapes, onShape } = new ShapeCounter();
  let read = 0;
  reading: for (const source of sources) {
    for await (const whole of readRows(source, { ...options, onShape })) {
      for (const row of attempt(() => chunksOf(whole, options), options.onProblem) ?? []) {
        if (read === options.limit) break reading;
        const result = attempt(() => tokenizeRow(row, read, options), options.onProblem);
        const taken = result && take(row, result);
        if (result && 'dropped' in result) dropped.push({ where: whereOf(row), why: result.dropped });
        else if (taken) {
          rows.push(taken);
          isDocument.push(row.kind === 'text');
        }
        read += 1;
        if (read % ROWS_PER_PROGRESS === 0) {
          options.onProgress?.(read);
          await new Promise((resolve) => setTimeout(resolve, 0));
          options.signal?.throwIfAborted();
        }
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
  const { mixRatio = null, seed = 0 } = options.documents ?? {};
  if (mixRatio === null || options.limit !== undefined) return { rows, report: report(rows, dropped, read, shapes) };
  const kept = mixedRows(isDocument, mixRatio, seed);
  const mixed = rows.filter((_, index) => kept[index]);
  const documents = isDocument.filter((yes, index) => yes && kept[index]).length;
  const mix = { documents, others: mixed.length - documents, leftOut: rows.length - mixed.length };
  return { rows: mixed, report: { ...report(mixed, dropped, read, shapes), mix } };
}

function chunksOf(row: Row, { documents, tokenizer }: DatasetOptions): readonly Row[] {
  return documents ? documentRows(row, documents, tokenizer) : [row];
}

function report(
  rows: readonly MeasuredRow[],
  dropped: DatasetReport['dropped'],
  read: number,
  shapes: ShapeCounts,
): DatasetReport {
  const lengths = rows.map(({ inputIds }) => inputIds.length);
  return {
    read,
    shapes,
    kept: rows.length,
    dropped,
    truncated: rows.filter(({ truncated }) => truncated).length,
    tokens: lengths.reduce((sum, length) => sum + length, 0),
    trainedTokens: rows.reduce((sum, row) => sum + countTrained(row), 0),
    longest: lengths.reduce((longest, length) => Math.max(longest, length), 0),
  };
}
