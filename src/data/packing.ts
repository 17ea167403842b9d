/**
 * Packing: which rows share a sequence, by best-fit decreasing. The longest row comes first, and each goes where the least
 * space is left after it. Rows stay whole; attention, positions and losses stay within each (`flatten.ts`).
 */

import { SftError } from '../platform/errors.ts';
import type { LabelledTokens } from './labels.ts';

/** Rows that go through the model together: packed ones, or a single one. */
export type Sequence = readonly LabelledTokens[];

/** How full packed sequences are. */
export interface PackingReport {
  readonly sequences: number;
  /** Tokens of all rows. */
  readonly tokens: number;
  /** Tokens ÷ (sequences × `max_seq_len`). */
  readonly efficiency: number;
}

/**
 * Groups rows into sequences of at most `maxSeqLen` tokens, in O(n log n). Every row is in exactly one sequence; rows keep
 * their order within it, and sequences are in the order of their first rows, so that rows that do not pack stay in file
 * order. The same rows give the same sequences. Throws `DATA` for a row that is longer.
 */
export function packRows<T extends LabelledTokens>(rows: readonly T[], maxSeqLen: number): T[][] {
  const lengths = rows.map(({ inputIds }) => inputIds.length);
  return packLengths(lengths, maxSeqLen).map((indices) => indices.map((index) => rows[index]!));
}

/** The same for lengths alone: the indices of each sequence. */
export function packLengths(lengths: readonly number[], maxSeqLen: number): number[][] {
  const longestFirst = lengths.map((_, index) => index).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const [longest = 0] = longestFirst;
  if (lengths.length > 0 && lengths[longest]! > maxSeqLen) {
    throw new SftError('DATA', `row ${longest}: expected at most ${maxSeqLen} tokens, got ${lengths[longest]}`, {
      hint: 'raise model.max_seq_len or shorten the row',
    });
  }
  const spaces = new Spaces(maxSeqLen);
  /** The sequences that have so much space left. */
  const open = new Map<number, number[][]>();
  const sequences: number[][] = [];
  for (const index of longestFirst) {
    const length = lengths[index]!;
    const space = spaces.atLeast(length);
    const sequence = space === null ? [] : open.get(space)!.pop()!;
    if (space === null) sequences.push(sequence);
    else spaces.add(space, -1);
    sequence.push(index);
    const left = (space ?? maxSeqLen) - length;
    spaces.add(left, 1);
    const others = open.get(left);
    if (others) others.push(sequence);
    else open.set(left, [sequence]);
  }
  for (const sequence of sequences) sequence.sort((a, b) => a - b);
  return sequences.sort((a, b) => a[0]! - b[0]!);
}

/** How full these sequences are. */
export function packingReport(sequences: readonly Sequence[], maxSeqLen: number): PackingReport {
  const tokens = sequences.flat().reduce((sum, { inputIds }) => sum + inputIds.length, 0);
  return { sequences: sequences.length, tokens, efficiency: tokens / (sequences.length * maxSeqLen) };
}

/** A multiset of numbers from 0 to `largest` that finds the next one upwards: a binary tree of counts. */
class Spaces {
  private readonly leaves: number;
  private readonly counts: Uint32Array;

  constructor(largest: number) {
    this.leaves = 2 ** Math.ceil(Math.log2(largest + 1));
    this.counts = new Uint32Array(2 * this.leaves);
  }

  add(space: number, count: 1 | -1): void {
    for (let node = this.leaves + space; node > 0; node >>>= 1) this.counts[node]! += count;
  }

  /** The smallest member that is not below `space`; null where there is none. */
  atLeast(space: number): number | null {
    let node = this.leaves + space;
    // Upwards to the first part to the right that has members, then down to its first.
    while (this.counts[node] === 0) {
      while (node % 2 === 1) node >>>= 1;
      if (node === 0) return null;
      node += 1;
    }
    while (node < this.leaves) node = 2 * node + (this.counts[2 * node] === 0 ? 1 : 0);
    return node - this.leaves;
  }
}
