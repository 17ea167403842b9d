import { describe, expect, it } from 'vitest';
import type { BatchOptions } from '../../src/data/batches.ts';
import { createCursor } from '../../src/data/batches.ts';

const options: BatchOptions = { rows: 11, batchSize: 2, gradientAccumulationSteps: 2, shuffle: false, seed: 42 };

describe('order', () => {
  it('takes rows in file order; the last group of an epoch may be smaller', () => {
    const cursor = createCursor(options);
    expect(cursor.stepsPerEpoch).toBe(3);
    expect([...Array(4)].map(() => cursor.next())).toEqual([
      {
        epoch: 0,
        stepInEpoch: 0,
        microBatches: [
          [0, 1],
          [2, 3],
        ],
      },
      {
        epoch: 0,
        stepInEpoch: 1,
        microBatches: [
          [4, 5],
          [6, 7],
        ],
      },
      { epoch: 0, stepInEpoch: 2, microBatches: [[8, 9], [10]] },
      {
        epoch: 1,
        stepInEpoch: 0,
        microBatches: [
          [0, 1],
          [2, 3],
        ],
      },
    ]);
  });

  it.each([
    [1, 1, 1],
    [7, 4, 8],
    [16, 4, 4],
    [17, 4, 4],
    [33, 3, 5],
    [100, 7, 1],
  ])('has ⌈⌈rows / batch⌉ / accumulation⌉ steps for %i, %i, %i', (rows, batchSize, gradientAccumulationSteps) => {
    const cursor = createCursor({ ...options, rows, batchSize, gradientAccumulationSteps });
    expect(cursor.stepsPerEpoch).toBe(Math.ceil(Math.ceil(rows / batchSize) / gradientAccumulationSteps));
    const groups = [...Array(cursor.stepsPerEpoch)].map(() => cursor.next());
    expect(groups.every(({ epoch }) => epoch === 0)).toBe(true);
    expect(groups.flatMap(({ microBatches }) => microBatches.flat())).toEqual([...Array(rows).keys()]);
    expect(groups.every(({ microBatches }) => microBatches.length <= gradientAccumulationSteps)).toBe(true);
  });

  it('shuffles each epoch anew, the same for the same seed', () => {
    const epochs = (seed: number) => {
      const cursor = createCursor({ ...options, rows: 100, shuffle: true, seed });
      return [0, 1].map(() => [...Array(cursor.stepsPerEpoch)].flatMap(() => cursor.next().microBatches.flat()));
    };
    const [first, second] = epochs(42);
    expect(first).not.toEqual(second);
    expect(first!.toSorted((a, b) => a - b)).toEqual([...Array(100).keys()]);
    expect(second!.toSorted((a, b) => a - b)).toEqual([...Array(100).keys()]);
    expect(epochs(42)).toEqual([first, second]);
    expect(epochs(43)[0]).not.toEqual(first);
  });

  it('is the same for every split of a step into micro-batches', () => {
    const rows = (batchSize: number, gradientAccumulationSteps: number) => {
      const cursor = createCursor({ ...options, shuffle: true, batchSize, gradientAccumulationSteps });
      return [...Array(9)].map(() => cursor.next().microBatches.flat());
    };
    expect(rows(4, 1)).toEqual(rows(2, 2));
    expect(rows(1, 4)).toEqual(rows(2, 2));
  });
});

describe('resuming', () => {
  it('continues exactly, from every step, through JSON', () => {
    const shuffling = { ...options, shuffle: true };
    const whole = createCursor(shuffling);
    const groups = [...Array(10)].map(() => whole.next());
    for (let done = 0; done < 10; done++) {
      const before = createCursor(shuffling);
      for (let step = 0; step < done; step++) before.next();
      const after = createCursor(shuffling, JSON.parse(JSON.stringify(before.state())));
      expect([...Array(10 - done)].map(() => after.next())).toEqual(groups.slice(done));
    }
  });

  it('refuses another order', () => {
    const state = createCursor(options).state();
    expect(() => createCursor({ ...options, rows: 12 }, state)).toThrow(
      'data order: expected rows 11 as in the checkpoint, got 12',
    );
    expect(() => createCursor({ ...options, seed: 1 }, state)).toThrow('expected seed 42');
    expect(() => createCursor({ ...options, shuffle: true }, state)).toThrow('expected shuffle false');
    expect(() => createCursor({ ...options, batchSize: 3 }, state)).toThrow('expected rows_per_step 4');
    expect(createCursor({ ...options, batchSize: 4, gradientAccumulationSteps: 1 }, state).stepsPerEpoch).toBe(3);
  });

  it('refuses sizes that are none', () => {
    expect(() => createCursor({ ...options, rows: 0 })).toThrow('internal: rows must be a positive integer, got 0');
    expect(() => createCursor({ ...options, batchSize: 1.5 })).toThrow('internal: batchSize');
  });
});
