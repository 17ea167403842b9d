/** From a row to token ids and labels. */

import { SftError } from '../platform/errors.ts';
import type { LabelledTokens, Span } from './labels.ts';
import { countTrained, labelsFromSpans } from './labels.ts';
import type { MaskedText, MaskOptions } from './mask.ts';
import { maskRow } from './mask.ts';
import type { Row } from './rows.ts';
import { whereOf } from './rows.ts';
import type { Encoding, Tokenizer } from './tokenizer.ts';

/** `data.truncation`: what happens to a row with more than `maxSeqLen` tokens. */
export type Truncation = 'keep_start' | 'keep_end' | 'drop' | 'error';

export interface TokenizeOptions extends MaskOptions {
  /** In tokens. */
  readonly maxSeqLen: number;
  readonly truncation: Truncation;
}

/** A row ready for training. `text` and `spans` are of the whole row; ids, labels and tokens are after truncation. */
export interface TokenizedRow extends LabelledTokens {
  /** The row's number in its data, from 0. */
  readonly row: number;
  readonly file: string;
  readonly line: number;
  readonly source?: string;
  readonly text: string;
  /** UTF-16 offsets of what is trained. */
  readonly spans: readonly Span[];
  /** The vocabulary's spelling of each id. */
  readonly tokens: readonly string[];
  readonly truncated: boolean;
  /** Tokens before truncation. */
  readonly wholeLength: number;
}

/** Why a row cannot be trained on. */
export interface DroppedRow {
  readonly dropped: string;
  /** Tokens before truncation. */
  readonly wholeLength: number;
}

interface Labelled extends Encoding {
  readonly labels: Int32Array;
}

function label({ text, spans, addSpecialTokens }: MaskedText, tokenizer: Tokenizer): Labelled {
  const { ids, tokens, labels } = encodeLabelled(text, spans, tokenizer, addSpecialTokens);
  // Raw text has its end already; a tokenizer that adds one of its own would end it twice.
  const end = tokenizer.eosTokenId;
  if (!addSpecialTokens || ids.length < 2 || ids.at(-1) !== end || ids.at(-2) !== end) return { ids, tokens, labels };
  return { ids: ids.slice(0, -1), tokens: tokens.slice(0, -1), labels: labels.slice(0, -1) };
}

function encodeLabelled(
  text: string,
  spans: readonly Span[],
  tokenizer: Tokenizer,
  addSpecialTokens: boolean,
): Labelled {
  const [first] = spans;
  if (first !== undefined && first[0] === 0 && first[1] === text.length) {
    // Where all of the text is trained, so is what the tokenizer puts around it; no token has to be looked for.
    const encoding = tokenizer.encode(text, { addSpecialTokens });
    return { ...encoding, labels: Int32Array.from(encoding.ids) };
  }
  const { ids, tokens, offsets } = tokenizer.encodeWithOffsets(text, { addSpecialTokens });
  return { ids, tokens, labels: labelsFromSpans(ids, offsets, spans) };
}

/**
 * Renders, tokenises, labels and truncates one row; `row` is its number. Gives the reason instead when no trained token
 * is left or `truncation` is `drop`. Throws `DATA` for a row that is too long under `error`, and what `maskRow` throws.
 */
export function tokenizeRow(row: Row, number: number, options: TokenizeOptions): TokenizedRow | DroppedRow {
  const { tokenizer, maxSeqLen, truncation } = options;
  const masked = maskRow(row, options);
  const { text, spans } = masked;
  const { ids, tokens, labels: allLabels } = label(masked, tokenizer);
  const truncated = ids.length > maxSeqLen;
  if (truncated && truncation === 'error') {
    throw new SftError('DATA', `${whereOf(row)}: expected at most ${maxSeqLen} tokens, got ${ids.length}`, {
      hint: 'raise model.max_seq_len, shorten the row, or choose another data.truncation',
    });
  }
  if (truncated && truncation === 'drop') {
    return { dropped: `${ids.length} tokens are more than ${maxSeqLen}`, wholeLength: ids.length };
  }

  const whole = { inputIds: Int32Array.from(ids), labels: allLabels };
  const start = truncated && truncation === 'keep_end' ? ids.length - maxSeqLen : 0;
  const inputIds = whole.inputIds.slice(start, start + maxSeqLen);
  const labels = whole.labels.slice(start, start + maxSeqLen);
  if (countTrained({ inputIds, labels }) === 0) {
    const cause =
      countTrained(whole) > 0 ? `none of its first ${maxSeqLen} tokens is trained` : 'none of its tokens is trained';
    return { dropped: truncation === 'keep_end' ? cause.replace('first', 'last') : cause, wholeLength: ids.length };
  }
  return {
    row: number,
    file: row.file,
    line: row.line,
    ...(row.source === undefined ? {} : { source: row.source }),
    text,
    spans,
    inputIds,
    labels,
    tokens: tokens.slice(start, start + maxSeqLen),
    truncated,
    wholeLength: ids.length,
  };
}
