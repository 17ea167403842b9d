import { describe } from 'vitest';
import { rmsNorm } from '../../src/kernels/rmsNorm.ts';
import { checkOp, type Precision, randomArray, testFamilies, testPrecisions, useGpu } from './harness.ts';

useGpu();

const reference = (T: number, C: number, eps: number) => (values: Readonly<Record<string, ArrayLike<number>>>) => {
  const { x = [], w = [] } = values;
  const y = new Float64Array(T * C);
  for (let t = 0; t < T; t++) {
    let squares = 0;
    for (let c = 0; c < C; c++) squares += (x[t * C + c] ?? 0) ** 2;
    const r = 1 / Math.sqrt(squares / C + eps);
    for (let c = 0; c < C; c++) y[t * C + c] = (x[t * C + c] ?? 0) * r * (w[c] ?? 0);
  }
  return y;
};

describe('rmsNorm', () => {
  for (const [T, C] of [
    [1, 4],
    [5, 37],
    [3, 38],
    [9, 132],
  ] as const) {
    const run = C % 2 === 0 ? testPrecisions : testFamilies;
    run(`[${T}, ${C}]`, (traits, precision?: Precision) =>
      checkOp({
        op: rmsNorm,
        inputs: {
          x: { shape: [T, C], values: randomArray(T * C, 1, 2), requiresGrad: true },
          w: { shape: [C], values: randomArray(C, 2), requiresGrad: true, parameter: true },
        },
        attributes: { eps: 1e-5 },
        reference: reference(T, C, 1e-5),
        traits,
        precision,
      }),
    );
  }
});
