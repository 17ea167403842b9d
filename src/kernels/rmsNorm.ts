/**
 * Root mean square layer normalisation.
 *
 *     y[t, c] = x[t, c] · r[t] · w[c]        r[t] = 1 / √(mean_c x[t, c]² + eps)
 *     dx[t, c] = r[t] · (g[t, c] − x[t, c] · r[t]² · mean_c(g[t, c] · x[t, c]))        g = dy · w
 *     dw[c] = Σ_t dy[t, c] · x[t, c] · r[t]
 *
 * x, y: [T, C] f32 or f16. w: [C] f32. Sums in f32. Saved for backward: r [T]. Backward writes or adds to dx and adds to dw.
 * Source: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4.
 */
import { accessors, type Storage, storageOf, storageOfF32, widthOf } from './activation.ts';
import { defineKernel, defineOp, expectShape, matrixShape, parameterGradient, type Tensor } from './define.ts';
import { linear, main, numbers, reductions, rowLanes, total, wgsl } from './wgsl.ts';

interface Variant {
  readonly type: Storage;
  /** Elements that an invocation takes at a time. */
  readonly n: 1 | 2 | 4;
}

const forward = defineKernel({
  name: 'rmsNorm.forward',
  uniforms: { T: 'u32', C: 'u32', eps: 'f32' },
  reads: ({ type, n }: Variant) => ({ x: type, w: storageOfF32(n) }),
  writes: ({ type }) => ({ y: type, r: 'f32' }),
  source: ({ type, n }, traits) => wgsl`
${accessors({ x: type, w: storageOfF32(n) }, { y: type })}
${reductions(traits, 'Add')}
${main(rowLanes(traits))} {
  let t = ${linear};
  let row = min(t, u.T - 1u) * u.C;
  var squares = ${numbers(n)}();
  for (var c = lane * ${n}u; c < u.C; c += ${rowLanes(traits) * n}u) { let x = xLoad${n}(row + c); squares = fma(x, x, squares); }
  let scale = 1.0 / sqrt(reduceAdd(${total(n, 'squares')}, lane) / f32(u.C) + u.eps);
  if (t >= u.T) { return; }
  for (var c = lane * ${n}u; c < u.C; c += ${rowLanes(traits) * n}u) { yStore${n}(row + c, xLoad${n}(row + c) * scale * wLoad${n}(c)); }
  if (lane == 0u) { r[t] = scale; }
}`,
});

const backwardX = defineKernel({
  name: 'rmsNorm.backwardX',
  uniforms: { T: 'u32', C: 'u32', accumulate: 'u32' },
  reads: ({ type, n }: Variant) => ({ x: type, w: storageOfF32(n), r: 'f32', dy: type }),
  writes: ({ type }) => ({ dx: type }),
  source: ({ type, n }, traits) => wgsl`
${accessors({ x: type, w: storageOfF32(n), dy: type }, { dx: type })}
${reductions(traits, 'Add')}
${main(rowLanes(traits))} {
  let t = ${linear};
  let row = min(t, u.T - 1u) * u.C;
  var dot = ${numbers(n)}();
  for (var c = lane * ${n}u; c < u.C; c += ${rowLanes(traits) * n}u) { dot = fma(dyLoad${n}(row + c) * wLoad${n}(c), xLoad${n}(row + c), dot); }
  let scale = r[min(t, u.T - 1u)];
  let mean = reduceAdd(${total(n, 'dot')}, lane) / f32(u.C) * scale * scale;
  if (t >= u.T) { return; }
  for (var c = lane * ${n}u; c < u.C; c += ${rowLanes(traits) * n}u) {
    var value = scale * (dyLoad${n}(row + c) * wLoad${n}(c) - xLoad${n}(row + c) * mean);
    if (u.accumulate == 1u) { value += dxLoad${n}(row + c); }
    dxStore${n}(row + c, value);
  }
}`,
});

const backwardW = defineKernel({
  name: 'rmsNorm.backwardW',
  uniforms: { T: 'u32', C: 'u32' },
  reads: ({ type }: { type: Storage }) => ({ x: type, r: 'f32', dy: type }),
  writes: () => ({ dw: 'f32' }),
  source: ({ type }) => wgsl`
${accessors({ x: type, dy: type })}
${main(64)} {
  let c = wg.x * 64u + lane;
  if (c >= u.C) { return; }
  var sum = 0.0;
  for (var t = 0u; t < u.T; t++) { sum = fma(dyLoad1(t * u.C + c), xLoad1(t * u.C + c) * r[t], sum); }
  dw[c] += sum;
}`,
});

/** x / √(mean of x² over a row + eps) · w (arXiv:1910.07467): x [T, C], w [C] → [T, C]. */
export const rmsNorm = defineOp({
  name: 'rmsNorm',
  check({ x, w }: { x: Tensor; w: Tensor }, _: { eps: number }) {
    const [, C] = matrixShape('rmsNorm', 'x', x);
    expectShape('rmsNorm', 'w', w, [C], 'to match x');
  },
  forward(step, { x, w }, { eps }) {
    const [T, C] = matrixShape('rmsNorm', 'x', x);
    const n = widthOf(C);
    const variant = { type: storageOf(x, step.traits, n === 4), n };
    const y = step.tensor('rmsNorm', x.shape, { dtype: x.dtype });
    const r = step.tensor('rmsNorm.r', [T]);
    step.run(forward, variant, { x, w, y, r }, { T, C, eps }, [T]);
    return { out: y, saved: { x, w, r, T, C, variant } };
  },
  backward(step, { x, w, r, T, C, variant }, dy, gradients) {
    const dw = parameterGradient(gradients.into('w'));
    if (dw)
      step.run(backwardW, { type: storageOf(x, step.traits, false) }, { x, r, dy, dw }, { T, C }, [Math.ceil(C / 64)]);
    const dx = gradients.into('x');
    if (dx) step.run(backwardX, variant, { x, w, r, dy, dx: dx.tensor }, { T, C, accumulate: dx.accumulate }, [T]);
  },
});
