import { describe, expect, it } from 'vitest';
import { assignSplits, findOverlaps, hashText, splitSizes, UNIQUE } from '../../src/data/split.ts';

const SHARES = [0.8, 0.1, 0.1];

describe('splitSizes', () => {
  it.each([
    [10, SHARES, [8, 1, 1]],
    [0, SHARES, [0, 0, 0]],
    [1, SHARES, [1, 0, 0]],
    [30, [0.7, 0.2, 0.1], [21, 6, 3]],
    [7, [1, 0, 0], [7, 0, 0]],
    [3, [1 / 3, 1 / 3, 1 / 3], [1, 1, 1]],
    [5, [0, 0.5, 0.5], [0, 3, 2]],
  ])('of %d rows by %j', (rows, shares, sizes) => expect(splitSizes(rows, shares)).toEqual(sizes));

  it('is less than one row from the shares and gives every row away', () => {
    for (let rows = 0; rows < 2000; rows++) {
      for (const shares of [SHARES, [0.98, 0.01, 0.01], [0.333333, 0.333333, 0.333334]]) {
        const sizes = splitSizes(rows, shares);
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(rows);
        for (const [i, size] of sizes.entries()) expect(Math.abs(size - rows * shares[i]!)).toBeLessThan(1 + 1e-6);
      }
    }
  });
});

describe('assignSplits', () => {
  it('gives each split its size, by the seed', () => {
    const splits = assignSplits(1000, SHARES, 42);
    expect([0, 1, 2].map((split) => splits.filter((one) => one === split).length)).toEqual([800, 100, 100]);
    expect(assignSplits(1000, SHARES, 42)).toEqual(splits);
    expect(assignSplits(1000, SHARES, 43)).not.toEqual(splits);
  });

  it('does not change from version to version', () => {
    expect([...assignSplits(20, [0.5, 0.25, 0.25], 7)].join('')).toBe('02101010001100220220');
  });
});

describe('findOverlaps', () => {
  it('names the first split with the same content, for rows of later splits only', () => {
    const hashes = ['a', 'b', 'a', 'c', 'b', 'c', 'a', 'd', 'd'].map(hashText);
    const splits = Uint8Array.of(0, 1, 2, 2, 2, 1, 1, 0, 0);
    expect([...findOverlaps(hashes, splits)]).toEqual([UNIQUE, UNIQUE, 0, 1, 1, UNIQUE, 0, UNIQUE, UNIQUE]);
  });
});

describe('hashText', () => {
  it('has the values of the published function', () => {
    // The lower 53 bits of its 64-bit form's: https://github.com/bryc/code/blob/master/jshash/experimental/cyrb53.js
    expect(hashText('a').toString(16)).toBe('1c2ba782c97901');
    expect(hashText('b').toString(16)).toBe('1eda5bc254d2bf');
  });

  it('tells 300 000 texts that are alike apart', () => {
    const hashes = new Set(Array.from({ length: 300_000 }, (_, i) => hashText(`{"user":"What is ${i}?"}`)));
    expect(hashes.size).toBe(300_000);
  });
});
