/**
 * Root mean square layer normalisation.
 *
 *     y[t, c] = x[t, c] · r[t] · w[c]        r[t] = 1 / √(mean_c x[t, c]² + eps)
 *     dx[t, c] = r[t] · (g[t, c] − x[t, c] · r[t]² · mean_c(g[t, c] · x[t, c]))        g = dy · w
 *     dw[c] = Σ_t dy[t, c] · x[t, c] · r[t]
 *
 * x, y: [T, C] f32. w: [C] f32. Sums in f32. Saved for backward: r [T]. Backward writes or adds to dx and adds to dw.
 * Source: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4.
 */
import { defineKernel, defineOp, expectShape, matrixShape, parameterGradient, type Tensor } from './define.ts';
import { linear, main, reductions, rowLanes, wgsl } from './wgsl.ts';

const forward = defineKernel({
  name: 'rmsNorm.forward',
  uniforms: { T: 'u32', C: 'u32', eps: 'f32' },
  reads: () => ({ x: 'f32', w: 'f32' }),
  writes: () => ({ y: 'f32', r: 'f32' }),
  source: (_: object, traits) => wgsl`
${reductions(traits, 'Add')}
${main(rowLanes(traits))} {
  let t = ${linear};
  let row = min(t, u.T - 1u) * u.C;
  var squares = 0.0;
  for (var c = lane; c < u.C; c += ${rowLanes(traits)}u) { squares = fma(x[row + c], x[row + c], squares); }
  let scale = 1.0 / sqrt(reduceAdd(squares, lane) / f32(u.C) + u.eps);
  if (t >= u.T) { return; }
  for (var c = lane; c < u.C; c += ${rowLanes(traits)}u) { y[row + c] = x[row + c] * scale * w[c]; }
  if (lane == 0u) { r[t] = scale; }
}`,
});

const backwardX = defineKernel({
  name: 'rmsNorm.backwardX',
  uniforms: { T: 'u32', C: 'u32', accumulate: 'u32' },
  reads: () => ({ x: 'f32', w: 'f32', r: 'f32', dy: 'f32' }),
  writes: () => ({ dx: 'f32' }),
  source: (_: object, traits) => wgsl`
${reductions(traits, 'Add')}
${main(rowLanes(traits))} {
  let t = ${linear};
  let row = min(t, u.T - 1u) * u.C;
  var dot = 0.0;
  for (var c = lane; c < u.C; c += ${rowLanes(traits)}u) { dot = fma(dy[row + c] * w[c], x[row + c], dot); }
  let scale = r[min(t, u.T - 1u)];
  let mean = reduceAdd(dot, lane) / f32(u.C) * scale * scale;
  if (t >= u.T) { return; }
  for (var c = lane; c < u.C; c += ${rowLanes(traits)}u) {
    var value = scale * (dy[row + c] * w[c] - x[row + c] * mean);
    if (u.accumulate == 1u) { value += dx[row + c]; }
    dx[row + c] = value;
  }
}`,
});

const backwardW = defineKernel({
  name: 'rmsNorm.backwardW',
  uniforms: { T: 'u32', C: 'u32' },
  reads: () => ({ x: 'f32', r: 'f32', dy: 'f32' }),
  writes: () => ({ dw: 'f32' }),
  source: () => wgsl`
${main(64)} {
  let c = wg.x * 64u + lane;
  if (c >= u.C) { return; }
  var sum = 0.0;
  for (var t = 0u; t < u.T; t++) { sum = fma(dy[t * u.C + c], x[t * u.C + c] * r[t], sum); }
  dw[c] += sum;
}`,
});

export const rmsNorm = defineOp({
  name: 'rmsNorm',
  check({ x, w }: { x: Tensor; w: Tensor }, _: { eps: number }) {
    const [, C] = matrixShape('rmsNorm', 'x', x);
    expectShape('rmsNorm', 'w', w, [C], 'to match x');
  },
  forward(step, { x, w }, { eps }) {
    const [T, C] = matrixShape('rmsNorm', 'x', x);
    const y = step.tensor('rmsNorm', x.shape);
    const r = step.tensor('rmsNorm.r', [T]);
    step.run(forward, {}, { x, w, y, r }, { T, C, eps }, [T]);
    return { out: y, saved: { x, w, r, T, C } };
  },
  backward(step, { x, w, r, T, C }, dy, gradients) {
    const dw = parameterGradient(gradients.into('w'));
    if (dw) step.run(backwardW, {}, { x, r, dy, dw }, { T, C }, [Math.ceil(C / 64)]);
    const dx = gradients.into('x');
    if (dx) step.run(backwardX, {}, { x, w, r, dy, dx: dx.tensor }, { T, C, accumulate: dx.accumulate }, [T]);
  },
});
