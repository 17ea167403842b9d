/**
 * From tokenised rows to one padding-free micro-batch: rows laid end to end, padded on the right as one, with the maps
 * that the engine's kernels read. All arrays are plain `Uint32Array`/`Int32Array`, ready for a GPU buffer.
 */

import { invariant } from '../platform/errors.ts';
import type { LabelledTokens } from './labels.ts';
import { countTrained, IGNORE_INDEX } from './labels.ts';

/** Marks an unused entry. */
export const NONE = 0xffffffff;

/** T = padded tokens, R = padded trained positions. */
export interface FlatBatch {
  /** Tokens of all rows, padding not counted. */
  readonly tokens: number;
  /** Positions with a loss, padding not counted. */
  readonly trained: number;
  /** [T] token ids; padding 0. */
  readonly ids: Uint32Array<ArrayBuffer>;
  /** [T] position in its row; padding 0. */
  readonly positions: Uint32Array<ArrayBuffer>;
  /** [T] flat index of the first token of its row; padding: its own index. */
  readonly documentStart: Uint32Array<ArrayBuffer>;
  /** [T] flat index after the last token of its row; padding: its own index + 1. */
  readonly documentEnd: Uint32Array<ArrayBuffer>;
  /** [R] flat positions whose next token in the same row is trained, ascending; padding `NONE`. */
  readonly trainedRows: Uint32Array<ArrayBuffer>;
  /** [R] id of that next token; padding `NONE`. */
  readonly targets: Uint32Array<ArrayBuffer>;
  /** [T] index into `trainedRows`, or -1. */
  readonly rowOfPosition: Int32Array<ArrayBuffer>;
  /** [T] flat positions by (token id, position); padding tokens are left out, the rest is `NONE`. */
  readonly sortedPositions: Uint32Array<ArrayBuffer>;
  /** [T+1] where each distinct id begins in `sortedPositions`; from `uniqueCount` on, `tokens`. */
  readonly segmentStarts: Uint32Array<ArrayBuffer>;
  /** [T] the distinct ids, ascending; from `uniqueCount` on, `NONE`. */
  readonly segmentIds: Uint32Array<ArrayBuffer>;
  readonly uniqueCount: number;
}

/**
 * Rounds up to {1, 1.25, 1.5, 1.75} × a power of two, at least 32: few program shapes, at most a quarter of padding.
 */
export function bucketLength(n: number): number {
  if (n <= 32) return 32;
  const power = 2 ** Math.floor(Math.log2(n));
  return Math.ceil(n / (power / 4)) * (power / 4);
}

/**
 * Lays `rows` end to end and pads to `paddedLength` tokens and `paddedTrained` trained positions. With `vocabSize`, ids
 * are checked against it.
 */
export function flattenBatch(
  rows: readonly LabelledTokens[],
  paddedLength: number,
  paddedTrained: number,
  vocabSize = Number.POSITIVE_INFINITY,
): FlatBatch {
  const tokens = rows.reduce((sum, row) => sum + row.inputIds.length, 0);
  const trained = rows.reduce((sum, row) => sum + countTrained(row), 0);
  invariant(tokens <= paddedLength, `a batch of ${tokens} tokens does not fit into ${paddedLength}`);
  invariant(trained <= paddedTrained, `a batch of ${trained} trained tokens does not fit into ${paddedTrained}`);

  const ids = new Uint32Array(paddedLength);
  const positions = new Uint32Array(paddedLength);
  const documentStart = Uint32Array.from({ length: paddedLength }, (_, t) => t);
  const documentEnd = Uint32Array.from({ length: paddedLength }, (_, t) => t + 1);
  const trainedRows = new Uint32Array(paddedTrained).fill(NONE);
  const targets = new Uint32Array(paddedTrained).fill(NONE);
  const rowOfPosition = new Int32Array(paddedLength).fill(-1);

  let start = 0;
  let r = 0;
  for (const { inputIds, labels } of rows) {
    const end = start + inputIds.length;
    for (let t = start; t < end; t++) {
      const id = inputIds[t - start]!;
      invariant(id >= 0 && id < vocabSize, `token id ${id} is outside of a vocabulary of ${vocabSize}`);
      ids[t] = id;
      positions[t] = t - start;
      documentStart[t] = start;
      documentEnd[t] = end;
      const next = t + 1 < end ? labels[t + 1 - start]! : IGNORE_INDEX;
      if (next === IGNORE_INDEX) continue;
      trainedRows[r] = t;
      targets[r] = next;
      rowOfPosition[t] = r;
      r += 1;
    }
    start = end;
  }
  return {
    tokens,
    trained,
    ids,
    positions,
    documentStart,
    documentEnd,
    trainedRows,
    targets,
    rowOfPosition,
    ...groupById(ids, tokens),
  };
}

/** Groups the first `tokens` positions by id, so that a gradient of the embedding needs no atomics. */
function groupById(
  ids: Uint32Array,
  tokens: number,
): Pick<FlatBatch, 'sortedPositions' | 'segmentStarts' | 'segmentIds' | 'uniqueCount'> {
  const paddedLength = ids.length;
  // One float holds (id, position) exactly: both are below 2^26. Sorting numbers natively is stable by construction.
  const keys = Float64Array.from({ length: tokens }, (_, t) => ids[t]! * 2 ** 26 + t).sort();
  const sortedPositions = new Uint32Array(paddedLength).fill(NONE);
  const segmentStarts = new Uint32Array(paddedLength + 1).fill(tokens);
  const segmentIds = new Uint32Array(paddedLength).fill(NONE);
  let uniqueCount = 0;
  for (const [i, key] of keys.entries()) {
    const position = key % 2 ** 26;
    const id = ids[position]!;
    sortedPositions[i] = position;
    if (uniqueCount > 0 && segmentIds[uniqueCount - 1] === id) continue;
    segmentIds[uniqueCount] = id;
    segmentStarts[uniqueCount] = i;
    uniqueCount += 1;
  }
  return { sortedPositions, segmentStarts, segmentIds, uniqueCount };
}
