import { describe, expect, it } from 'vitest';
import { philox4x32, randomStream, shuffled } from '../../src/platform/random.ts';

const hex = (block: readonly number[]) => block.map((word) => word.toString(16).padStart(8, '0')).join(' ');
const ONES = 0xffffffff;

describe('Philox4x32-10', () => {
  // The known answers of Random123, the authors' own implementation.
  it.each([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[ONES, ONES, ONES, ONES], [ONES, ONES], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ] as const)('gives the known answer of %j', (counter, key, expected) => {
    expect(hex(philox4x32(counter, key))).toBe(expected);
  });

  it('streams depend on seed, stream and index alone', () => {
    const take = (seed: number, stream: number) => {
      const next = randomStream(seed, stream);
      return [...Array(9)].map(() => next());
    };
    expect(take(1, 2)).toEqual(take(1, 2));
    expect(take(1, 2)).not.toEqual(take(2, 1));
    expect(take(1, 2)).not.toEqual(take(1 + 2 ** 32, 2));
    expect(hex(take(0, 0).slice(0, 4))).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8');
  });
});

describe('shuffled', () => {
  it('holds every number once', () => {
    for (const n of [0, 1, 2, 3, 1000]) expect([...shuffled(n, 42, 0).toSorted()]).toEqual([...Array(n).keys()]);
  });

  it('puts every number everywhere about equally often', () => {
    const rounds = 6000;
    const counts = Array.from({ length: 16 }, () => 0);
    for (let stream = 0; stream < rounds; stream++) {
      for (const [place, value] of shuffled(4, 7, stream).entries()) counts[place * 4 + value]! += 1;
    }
    const expected = rounds / 4;
    const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(chiSquare).toBeLessThan(27.9); // 9 degrees of freedom, p = 0.001
  });
});
