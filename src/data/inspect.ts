/** One row as `inspect --json` prints it. */

import type { Span } from './labels.ts';
import type { TokenizedRow } from './tokenize.ts';

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
