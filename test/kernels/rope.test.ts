import { describe } from 'vitest';
import { rope } from '../../src/kernels/rope.ts';
import { checkOp, type Precision, randomArray, testFamilies, testPrecisions, useGpu } from './harness.ts';

useGpu();

describe('rope', () => {
  for (const { T, heads, D, positions } of [
    { T: 1, heads: 1, D: 2, positions: [3] },
    // Two documents and padding: positions start anew.
    { T: 7, heads: 3, D: 6, positions: [0, 1, 2, 3, 0, 1, 0] },
    { T: 3, heads: 2, D: 20, positions: [0, 1, 2] },
    { T: 5, heads: 2, D: 64, positions: [10, 2, 0, 9, 5] },
  ]) {
    const run = D % 4 === 0 ? testPrecisions : testFamilies;
    run(`[${T}, ${heads} x ${D}]`, (traits, precision?: Precision) => {
      const P = 11;
      const half = D / 2;
      return checkOp({
        op: rope,
        inputs: {
          x: { shape: [T, heads * D], values: randomArray(T * heads * D, 1, 3), requiresGrad: true },
          positions: { shape: [T], values: Uint32Array.from(positions), dtype: 'u32' },
          table: { shape: [P, D], values: randomArray(P * D, 2) },
        },
        attributes: {},
        reference({ x = [], positions: p = [], table = [] }) {
          const y = new Float64Array(x.length);
          for (let t = 0; t < T; t++) {
            for (let h = 0; h < heads; h++) {
              for (let i = 0; i < half; i++) {
                const at = t * heads * D + h * D + i;
                const [cos, sin] = [table[p[t]! * D + i]!, table[p[t]! * D + half + i]!];
                y[at] = x[at]! * cos - x[at + half]! * sin;
                y[at + half] = x[at + half]! * cos + x[at]! * sin;
              }
            }
          }
          return y;
        },
        tolerance: 1e-6,
        traits,
        precision,
      });
    });
  }
});
