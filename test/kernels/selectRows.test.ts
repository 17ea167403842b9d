import { describe } from 'vitest';
import { selectRows } from '../../src/kernels/selectRows.ts';
import { checkOp, type Precision, randomArray, testFamilies, testPrecisions, useGpu } from './harness.ts';

useGpu();

/** No row: padding. */
const NONE = 0xffffffff;

describe('selectRows', () => {
  for (const { T, C, rows } of [
    { T: 1, C: 1, rows: [0] },
    { T: 9, C: 5, rows: [1, 2, 5, 8, NONE, NONE] },
    // More rows than there are, in no order; the first and the last row of x are not chosen.
    { T: 6, C: 67, rows: [4, NONE, 1, 3, 6, NONE, 2, NONE] },
    { T: 3, C: 4, rows: [NONE, NONE] },
    { T: 5, C: 70, rows: [4, NONE, 1] },
    { T: 5, C: 68, rows: [2, 0, NONE, NONE] },
  ]) {
    const run = C % 2 === 0 ? testPrecisions : testFamilies;
    run(`${rows.length} of [${T}, ${C}]`, (traits, precision?: Precision) => {
      const inverse = Int32Array.from({ length: T }, (_, t) => rows.indexOf(t));
      return checkOp({
        op: selectRows,
        inputs: {
          x: { shape: [T, C], values: randomArray(T * C, 1), requiresGrad: true },
          rows: { shape: [rows.length], values: Uint32Array.from(rows), dtype: 'u32' },
          inverse: { shape: [T], values: inverse, dtype: 'i32' },
        },
        attributes: {},
        reference: ({ x = [] }) =>
          Float64Array.from(
            { length: rows.length * C },
            (_, i) => x[(rows[Math.floor(i / C)] ?? 0) * C + (i % C)] ?? 0,
          ),
        tolerance: 1e-6,
        traits,
        precision,
      });
    });
  }
});
