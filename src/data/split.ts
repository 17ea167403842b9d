/** Which row goes to training, validation and test, and which rows are in more than one of them. */
import { shuffled } from '../platform/random.ts';

export const SPLITS = ['train', 'val', 'test'] as const;
/** A part of the data: rows to train on, to evaluate on during a run (`val`), and to test on after it. */
export type Split = (typeof SPLITS)[number];

/** Of `train.seed`, epochs use the streams from 0, adapters those from 2^32 and dropout those from 2^40. */
const SPLIT_STREAM = 2 ** 39;

/**
 * Rows of each share: whole numbers that add up to `rows`, each less than one row from `rows` × its share (largest
 * remainders; of equal ones the first).
 */
export function splitSizes(rows: number, shares: readonly number[]): number[] {
  const total = shares.reduce((sum, share) => sum + share, 0);
  // 0.1 × 30 / 1 is a little more than 3, and 0.7 × 10 a little less than 7: a billionth of a row is none.
  const exact = shares.map((share) => Math.round(((rows * share) / total) * 1e9) / 1e9);
  const sizes = exact.map(Math.floor);
  const left = rows - sizes.reduce((sum, size) => sum + size, 0);
  const byRemainder = exact.map((value, index) => ({ index, rest: value - Math.floor(value) }));
  byRemainder.sort((a, b) => b.rest - a.rest || a.index - b.index);
  for (const { index } of byRemainder.slice(0, left)) sizes[index]! += 1;
  return sizes;
}

/** The split of each row, as an index into `shares`: the same for the same seed on every machine. */
export function assignSplits(rows: number, shares: readonly number[], seed: number): Uint8Array {
  const order = shuffled(rows, seed, SPLIT_STREAM);
  const splits = new Uint8Array(rows);
  let start = 0;
  for (const [split, size] of splitSizes(rows, shares).entries()) {
    for (const row of order.subarray(start, start + size)) splits[row] = split;
    start += size;
  }
  return splits;
}

/** Marks a row that no earlier split has. */
export const UNIQUE = 0xff;

/** For each row the first split that has its content, where that is an earlier one than its own; else `UNIQUE`. */
export function findOverlaps(hashes: readonly number[], splits: Uint8Array): Uint8Array {
  const first = new Map<number, number>();
  for (const [row, hash] of hashes.entries()) {
    const split = splits[row]!;
    if (split < (first.get(hash) ?? UNIQUE)) first.set(hash, split);
  }
  return splits.map((split, row) => (first.get(hashes[row]!)! < split ? first.get(hashes[row]!)! : UNIQUE));
}

/**
 * 53 bits of a text (cyrb53 by bryc, public domain). Of a million different texts, two have the same bits with a chance of
 * 1 in 18 000.
 */
export function hashText(text: string): number {
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 2654435761);
    b = Math.imul(b ^ unit, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return 4294967296 * (2097151 & b) + (a >>> 0);
}
