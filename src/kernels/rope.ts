/**
 * Rotary position embedding, the "half" layout of Hugging Face (`rotate_half`).
 *
 *     y[t, h, i]       = x[t, h, i] · cos[p, i] − x[t, h, i + D/2] · sin[p, i]        i < D/2, p = positions[t]
 *     y[t, h, i + D/2] = x[t, h, i + D/2] · cos[p, i] + x[t, h, i] · sin[p, i]
 *
 * x, y: [T, heads · D] f32. positions: [T] u32. table: [P, D] f32, a row being D/2 cosines and D/2 sines, with whatever
 * scaling the model wants (`src/model/rope.ts`). Backward is the same rotation by the negative angle.
 * Source: Su et al. 2021, arXiv:2104.09864.
 */
import { SftError } from '../platform/errors.ts';
import { defineKernel, defineOp, matrixShape, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

const kernel = defineKernel({
  name: 'rope',
  uniforms: { count: 'u32', W: 'u32', D: 'u32', sign: 'f32', accumulate: 'u32' },
  reads: () => ({ x: 'f32', positions: 'u32', table: 'f32' }),
  writes: () => ({ y: 'f32' }),
  source: () => wgsl`
${main(64)} {
  let i = (${linear}) * 64u + lane;
  if (i >= u.count) { return; }
  let half = u.D / 2u;
  let t = i / (u.W / 2u);
  let pair = i % (u.W / 2u);
  let first = t * u.W + (pair / half) * u.D + pair % half;
  let angle = positions[t] * u.D + pair % half;
  let c = table[angle];
  let s = table[angle + half] * u.sign;
  var low = x[first] * c - x[first + half] * s;
  var high = x[first + half] * c + x[first] * s;
  if (u.accumulate == 1u) {
    low += y[first];
    high += y[first + half];
  }
  y[first] = low;
  y[first + half] = high;
}`,
});

export const rope = defineOp({
  name: 'rope',
  check({ x, table }: { x: Tensor; positions: Tensor; table: Tensor }, _: object) {
    const [, W] = matrixShape('rope', 'x', x);
    const [, D] = matrixShape('rope', 'table', table);
    if (W % D !== 0 || D % 2 !== 0)
      throw new SftError('INTERNAL', `[rope] x [.., ${W}] must be whole heads of an even size, got ${D}`);
  },
  forward(step, { x, positions, table }) {
    const [T, W] = matrixShape('rope', 'x', x);
    const D = table.shape[1] ?? 0;
    const count = (T * W) / 2;
    const y = step.tensor('rope', x.shape);
    step.run(kernel, {}, { x, positions, table, y }, { count, W, D, sign: 1, accumulate: 0 }, [Math.ceil(count / 64)]);
    return { out: y, saved: { positions, table, W, D, count } };
  },
  backward(step, { positions, table, W, D, count }, dy, gradients) {
    const dx = gradients.into('x');
    if (!dx) return;
    const uniforms = { count, W, D, sign: -1, accumulate: dx.accumulate };
    step.run(kernel, {}, { x: dy, positions, table, y: dx.tensor }, uniforms, [Math.ceil(count / 64)]);
  },
});
