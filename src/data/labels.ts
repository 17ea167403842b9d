/** Labels: which tokens are learnt. */

/** A half-open range of UTF-16 offsets in a text. */
export type Span = readonly [start: number, end: number];

/** The label of a token that is not trained, as in PyTorch's cross-entropy. */
export const IGNORE_INDEX = -100;

/** Token ids and their labels, unshifted: `labels[t]` is `inputIds[t]` where trained, else -100. */
export interface LabelledTokens {
  readonly inputIds: Int32Array;
  readonly labels: Int32Array;
}

/** How many positions have a loss. Each token is predicted from the one before, so the first label never counts. */
export function countTrained(row: LabelledTokens): number {
  let count = 0;
  for (let t = 1; t < row.labels.length; t++) if (row.labels[t] !== IGNORE_INDEX) count += 1;
  return count;
}

/** Trains each token that shares at least one character with a span. Offsets and spans ascend. */
export function labelsFromSpans(ids: readonly number[], offsets: readonly Span[], spans: readonly Span[]): Int32Array {
  const labels = new Int32Array(ids.length).fill(IGNORE_INDEX);
  let s = 0;
  for (const [t, [start, end]] of offsets.entries()) {
    while (s < spans.length && spans[s]![1] <= start) s += 1;
    const span = spans[s];
    if (span !== undefined && Math.max(start, span[0]) < Math.min(end, span[1])) labels[t] = ids[t]!;
  }
  return labels;
}

/** Sorts spans, joins those that touch, and drops empty ones. */
export function mergeSpans(spans: readonly Span[]): Span[] {
  const merged: [number, number][] = [];
  for (const [start, end] of spans.toSorted((a, b) => a[0] - b[0])) {
    if (start >= end) continue;
    const last = merged.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
}
