import { describe, expect, it } from 'vitest';
import { mixedRows } from '../../src/data/mix.ts';

describe('mixedRows', () => {
  const sides = (documents: number, others: number) =>
    Array.from({ length: documents + others }, (_, index) =>
      index % 2 === 0 ? index / 2 < documents : (index - 1) / 2 >= others,
    );
  const counts = (isDocument: readonly boolean[], ratio: number, seed = 1) => {
    const kept = mixedRows(isDocument, ratio, seed);
    const of = (side: boolean) => kept.filter((keep, index) => keep && isDocument[index] === side).length;
    return [of(true), of(false)];
  };

  it.each([
    [100, 100, 0.5, [100, 100]],
    [100, 30, 0.25, [10, 30]],
    [10, 100, 0.25, [10, 30]],
    [100, 100, 0.75, [100, 33]],
    [100, 5, 0, [0, 5]],
    [100, 5, 1, [100, 0]],
    [5, 0, 1, [5, 0]],
    [50, 1, 0.1, [1, 1]],
  ])('%i documents and %i others at %d', (documents, others, ratio, expected) => {
    const isDocument = [...Array<boolean>(documents).fill(true), ...Array<boolean>(others).fill(false)];
    expect(counts(isDocument, ratio)).toEqual(expected);
  });

  it('is the same for the same seed, and another for another', () => {
    const isDocument = sides(200, 60);
    expect(mixedRows(isDocument, 0.5, 3)).toEqual(mixedRows(isDocument, 0.5, 3));
    expect(mixedRows(isDocument, 0.5, 3)).not.toEqual(mixedRows(isDocument, 0.5, 4));
  });

  it('says which side is missing', () => {
    expect(() => mixedRows([true], 0.5, 1)).toThrow(
      'data.documents.mix_ratio: expected other rows for a share of 0.5, got none',
    );
    expect(() => mixedRows([false], 0.5, 1)).toThrow('expected document rows for a share of 0.5, got none');
    expect(() => mixedRows([], 0, 1)).toThrow('expected other rows for a share of 0, got none');
  });
});
