/**
 * Rows of a matrix by number. Only positions that are trained go through the vocabulary head.
 *
 *     y[i, c] = x[rows[i], c], or 0 where rows[i] ≥ T (padding)
 *     dx[t, c] = dy[inverse[t], c], or 0 where inverse[t] < 0
 *
 * x: [T, C] f32. rows: [R] u32, each row at most once. inverse: [T] i32, needed for the gradient only. y: [R, C] f32.
 */

import { invariant } from '../platform/errors.ts';
import { defineKernel, defineOp, expectShape, matrixShape, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

const forward = defineKernel({
  name: 'selectRows.forward',
  uniforms: { R: 'u32', T: 'u32', C: 'u32' },
  reads: () => ({ x: 'f32', rows: 'u32' }),
  writes: () => ({ y: 'f32' }),
  source: () => wgsl`
${main(64)} {
  let i = (${linear}) * 64u + lane;
  if (i >= u.R * u.C) { return; }
  let row = rows[i / u.C];
  if (row < u.T) { y[i] = x[row * u.C + i % u.C]; } else { y[i] = 0.0; }
}`,
});

const backward = defineKernel({
  name: 'selectRows.backward',
  uniforms: { T: 'u32', C: 'u32', accumulate: 'u32' },
  reads: () => ({ dy: 'f32', inverse: 'i32' }),
  writes: () => ({ dx: 'f32' }),
  source: () => wgsl`
${main(64)} {
  let i = (${linear}) * 64u + lane;
  if (i >= u.T * u.C) { return; }
  let row = inverse[i / u.C];
  var value = 0.0;
  if (row >= 0) { value = dy[u32(row) * u.C + i % u.C]; }
  if (u.accumulate == 1u) { value += dx[i]; }
  dx[i] = value;
}`,
});

export const selectRows = defineOp({
  name: 'selectRows',
  check({ x, inverse }: { x: Tensor; rows: Tensor; inverse: Tensor | undefined }, _: object) {
    const [T] = matrixShape('selectRows', 'x', x);
    if (inverse) expectShape('selectRows', 'inverse', inverse, [T], 'to match x');
  },
  forward(step, { x, rows, inverse }) {
    const [T, C] = matrixShape('selectRows', 'x', x);
    const [R = 0] = rows.shape;
    const y = step.tensor('selectRows', [R, C]);
    step.run(forward, {}, { x, rows, y }, { R, T, C }, [Math.ceil((R * C) / 64)]);
    return { out: y, saved: { inverse, T, C } };
  },
  backward(step, { inverse, T, C }, dy, gradients) {
    const dx = gradients.into('x');
    if (!dx) return;
    invariant(inverse, 'selectRows: the gradient needs inverse');
    step.run(backward, {}, { dy, inverse, dx: dx.tensor }, { T, C, accumulate: dx.accumulate }, [
      Math.ceil((T * C) / 64),
    ]);
  },
});
