/**
 * Rows of a matrix by number. Only positions that are trained go through the vocabulary head.
 *
 *     y[i, c] = x[rows[i], c], or 0 where rows[i] ≥ T (padding)
 *     dx[t, c] = dy[inverse[t], c], or 0 where inverse[t] < 0
 *
 * x: [T, C], y: [R, C], f32 or f16. rows: [R] u32, each row at most once. inverse: [T] i32, needed for the gradient only.
 */

import { invariant } from '../platform/errors.ts';
import { accessors, type Storage, storageOf, widthOf } from './activation.ts';
import { defineKernel, defineOp, expectShape, matrixShape, type Tensor } from './define.ts';
import { linear, main, numbers, wgsl } from './wgsl.ts';

interface Variant {
  readonly type: Storage;
  /** Elements that an invocation takes at a time. */
  readonly n: 1 | 2 | 4;
}

const forward = defineKernel({
  name: 'selectRows.forward',
  uniforms: { R: 'u32', T: 'u32', C: 'u32' },
  reads: ({ type }: Variant) => ({ x: type, rows: 'u32' }),
  writes: ({ type }) => ({ y: type }),
  source: ({ type, n }) => wgsl`
${accessors({ x: type }, { y: type })}
${main(64)} {
  let i = ((${linear}) * 64u + lane) * ${n}u;
  if (i >= u.R * u.C) { return; }
  let row = rows[i / u.C];
  var value = ${numbers(n)}();
  if (row < u.T) { value = xLoad${n}(row * u.C + i % u.C); }
  yStore${n}(i, value);
}`,
});

const backward = defineKernel({
  name: 'selectRows.backward',
  uniforms: { T: 'u32', C: 'u32', accumulate: 'u32' },
  reads: ({ type }: Variant) => ({ dy: type, inverse: 'i32' }),
  writes: ({ type }) => ({ dx: type }),
  source: ({ type, n }) => wgsl`
${accessors({ dy: type }, { dx: type })}
${main(64)} {
  let i = ((${linear}) * 64u + lane) * ${n}u;
  if (i >= u.T * u.C) { return; }
  let row = inverse[i / u.C];
  var value = ${numbers(n)}();
  if (row >= 0) { value = dyLoad${n}(u32(row) * u.C + i % u.C); }
  if (u.accumulate == 1u) { value += dxLoad${n}(i); }
  dxStore${n}(i, value);
}`,
});

/**
 * Rows of x [T, C] by `rows` [R] u32 → [R, C]; a number of T or more reads as zeros. The gradient needs `inverse` [T] i32:
 * the place of each row in `rows`, or a negative number.
 */
export const selectRows = defineOp({
  name: 'selectRows',
  check({ x, inverse }: { x: Tensor; rows: Tensor; inverse: Tensor | undefined }, _: object) {
    const [T] = matrixShape('selectRows', 'x', x);
    if (inverse) expectShape('selectRows', 'inverse', inverse, [T], 'to match x');
  },
  forward(step, { x, rows, inverse }) {
    const [T, C] = matrixShape('selectRows', 'x', x);
    const [R = 0] = rows.shape;
    const n = widthOf(C);
    const variant = { type: storageOf(x, step.traits, n === 4), n };
    const y = step.tensor('selectRows', [R, C], { dtype: x.dtype });
    step.run(forward, variant, { x, rows, y }, { R, T, C }, [Math.ceil((R * C) / n / 64)]);
    return { out: y, saved: { inverse, T, C, variant } };
  },
  backward(step, { inverse, T, C, variant }, dy, gradients) {
    const dx = gradients.into('x');
    if (!dx) return;
    invariant(inverse, 'selectRows: the gradient needs inverse');
    step.run(backward, variant, { dy, inverse, dx: dx.tensor }, { T, C, accumulate: dx.accumulate }, [
      Math.ceil((T * C) / variant.n / 64),
    ]);
  },
});
