import { describe, expect, it } from 'vitest';
import { bucketLength, flattenBatch, NONE } from '../../src/data/flatten.ts';
import type { LabelledTokens } from '../../src/data/labels.ts';

/** A row of (id, trained) pairs; a trained id is negative here. */
function row(...ids: number[]): LabelledTokens {
  return { inputIds: Int32Array.from(ids, Math.abs), labels: Int32Array.from(ids, (id) => (id < 0 ? -id : -100)) };
}

describe('flattenBatch', () => {
  const batch = flattenBatch([row(5, -7, -5), row(-9, 5, -7, 1)], 10, 5, 10);

  it('lays rows end to end and pads on the right', () => {
    expect(batch.tokens).toBe(7);
    expect([...batch.ids]).toEqual([5, 7, 5, 9, 5, 7, 1, 0, 0, 0]);
    expect([...batch.positions]).toEqual([0, 1, 2, 0, 1, 2, 3, 0, 0, 0]);
    expect([...batch.documentStart]).toEqual([0, 0, 0, 3, 3, 3, 3, 7, 8, 9]);
    expect([...batch.documentEnd]).toEqual([3, 3, 3, 7, 7, 7, 7, 8, 9, 10]);
  });

  it('takes a loss where the next token of the same row is trained', () => {
    expect(batch.trained).toBe(3);
    expect([...batch.trainedRows]).toEqual([0, 1, 4, NONE, NONE]);
    expect([...batch.targets]).toEqual([7, 5, 7, NONE, NONE]);
    expect([...batch.rowOfPosition]).toEqual([0, 1, -1, -1, 2, -1, -1, -1, -1, -1]);
  });

  it('groups positions by id, padding left out', () => {
    expect(batch.uniqueCount).toBe(4);
    expect([...batch.segmentIds]).toEqual([1, 5, 7, 9, NONE, NONE, NONE, NONE, NONE, NONE]);
    expect([...batch.segmentStarts]).toEqual([0, 1, 4, 6, 7, 7, 7, 7, 7, 7, 7]);
    expect([...batch.sortedPositions]).toEqual([6, 0, 2, 4, 1, 5, 3, NONE, NONE, NONE]);
  });

  it('agrees with counting by hand on a larger batch', () => {
    const rows = [17, 1, 40, 3].map((length, r) =>
      row(...Array.from({ length }, (_, t) => (((t * 31 + r * 7) % 13) + 1) * (t % 3 ? -1 : 1))),
    );
    const large = flattenBatch(rows, 64, 64, 14);
    const ids = rows.flatMap(({ inputIds }) => [...inputIds]);
    for (let u = 0; u < large.uniqueCount; u++) {
      const positions = [...large.sortedPositions.slice(large.segmentStarts[u], large.segmentStarts[u + 1])];
      expect(positions).toEqual(ids.flatMap((id, t) => (id === large.segmentIds[u] ? [t] : [])));
    }
    expect(large.uniqueCount).toBe(new Set(ids).size);
    expect(large.trained).toBe(
      rows.reduce((sum, { labels }) => sum + labels.slice(1).filter((label) => label !== -100).length, 0),
    );
    for (let r = 0; r < large.trained; r++) expect(large.rowOfPosition[large.trainedRows[r]!]).toBe(r);
  });

  it('refuses what does not fit', () => {
    expect(() => flattenBatch([row(1, 2, 3)], 2, 4)).toThrow('internal: a batch of 3 tokens does not fit into 2');
    expect(() => flattenBatch([row(1, -2, -3)], 4, 1)).toThrow(
      'internal: a batch of 2 trained tokens does not fit into 1',
    );
    expect(() => flattenBatch([row(1, 12)], 4, 4, 12)).toThrow(
      'internal: token id 12 is outside of a vocabulary of 12',
    );
  });
});

describe('bucketLength', () => {
  it('rounds up to quarters between powers of two, at least 32', () => {
    expect([1, 32, 33, 40, 41, 56, 57, 64, 65, 80, 81, 1000, 1024, 1025].map(bucketLength)).toEqual([
      32, 32, 40, 40, 48, 56, 64, 64, 80, 80, 96, 1024, 1024, 1280,
    ]);
  });

  it('pads by less than a quarter, in four lengths for each doubling', () => {
    const lengths = Array.from({ length: 4096 }, (_, i) => i + 1);
    for (const n of lengths) {
      expect(bucketLength(n)).toBeGreaterThanOrEqual(n);
      expect(bucketLength(n)).toBeLessThan(Math.max(33, 1.25 * n));
    }
    expect(new Set(lengths.map(bucketLength)).size).toBe(1 + 4 * Math.log2(4096 / 32));
  });
});
