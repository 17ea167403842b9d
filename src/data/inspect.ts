/** One row, or one packed sequence of rows, as `inspect --json` prints it. */

import { IGNORE_INDEX, type Span } from './labels.ts';
import type { TokenizedRow } from './tokenize.ts';

/**
 * A tokenised row in JSON, as `inspect --json` prints it. `row` counts from 0; `spans`: what is trained, in UTF-16 offsets
 * of `text`.
 */
export interface InspectedRow {
  readonly row: number;
  readonly text: string;
  readonly input_ids: readonly number[];
  /** Unshifted; -100 where not trained. */
  readonly labels: readonly number[];
  readonly tokens: readonly string[];
  readonly spans: readonly Span[];
  readonly truncated: boolean;
}

/** `text` and `spans` are of the whole row; ids, labels and tokens are after truncation. */
export function inspectRow({ row, text, inputIds, labels, tokens, spans, truncated }: TokenizedRow): InspectedRow {
  return { row, text, input_ids: [...inputIds], labels: [...labels], tokens, spans, truncated };
}

/** The rows of a packed sequence in JSON, as `inspect --packed --json` prints it; `sequence` counts from 0. */
export interface InspectedSequence {
  readonly sequence: number;
  /** The numbers of its rows. */
  readonly rows: readonly number[];
  readonly input_ids: readonly number[];
  /** Unshifted; -100 where not trained, and at the first token of each row, which is predicted from nothing. */
  readonly labels: readonly number[];
  /** From 0 in each row. */
  readonly position_ids: readonly number[];
  /** Where each row begins. */
  readonly document_starts: readonly number[];
}

/** The rows of a packed sequence end to end; `sequence` is its number. */
export function inspectSequence(sequence: number, rows: readonly TokenizedRow[]): InspectedSequence {
  const input_ids: number[] = [];
  const labels: number[] = [];
  const position_ids: number[] = [];
  const document_starts: number[] = [];
  for (const row of rows) {
    document_starts.push(input_ids.length);
    for (const [position, id] of row.inputIds.entries()) {
      input_ids.push(id);
      labels.push(position === 0 ? IGNORE_INDEX : row.labels[position]!);
      position_ids.push(position);
    }
  }
  return { sequence, rows: rows.map(({ row }) => row), input_ids, labels, position_ids, document_starts };
}
