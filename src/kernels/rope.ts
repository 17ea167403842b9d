/**
 * Rotary position embedding, the "half" layout of Hugging Face (`rotate_half`).
 *
 *     y[t, h, i]       = x[t, h, i] · cos[p, i] − x[t, h, i + D/2] · sin[p, i]        i < D/2, p = positions[t]
 *     y[t, h, i + D/2] = x[t, h, i + D/2] · cos[p, i] + x[t, h, i] · sin[p, i]
 *
 * x, y: [T, heads · D] f32 or f16. positions: [T] u32. table: [P, D] f32, a row being D/2 cosines and D/2 sines, with whatever
 * scaling the model wants (`src/model/rope.ts`). Backward is the same rotation by the negative angle.
 * Source: Su et al. 2021, arXiv:2104.09864.
 */
import { SftError } from '../platform/errors.ts';
import { accessors, type Storage, storageOf, storageOfF32, widthOf } from './activation.ts';
import { defineKernel, defineOp, matrixShape, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

const kernel = defineKernel({
  name: 'rope',
  uniforms: { count: 'u32', W: 'u32', D: 'u32', sign: 'f32', accumulate: 'u32' },
  reads: ({ type, n }: { type: Storage; n: 1 | 2 | 4 }) => ({ x: type, positions: 'u32', table: storageOfF32(n) }),
  writes: ({ type }) => ({ y: type }),
  source: ({ type, n }) => wgsl`
${accessors({ x: type, table: storageOfF32(n) }, { y: type })}
${main(64)} {
  let i = ((${linear}) * 64u + lane) * ${n}u;
  if (i >= u.count) { return; }
  let half = u.D / 2u;
  let t = i / (u.W / 2u);
  let pair = i % (u.W / 2u);
  let first = t * u.W + (pair / half) * u.D + pair % half;
  let angle = positions[t] * u.D + pair % half;
  let c = tableLoad${n}(angle);
  let s = tableLoad${n}(angle + half) * u.sign;
  let x0 = xLoad${n}(first);
  let x1 = xLoad${n}(first + half);
  var low = x0 * c - x1 * s;
  var high = x1 * c + x0 * s;
  if (u.accumulate == 1u) {
    low += yLoad${n}(first);
    high += yLoad${n}(first + half);
  }
  yStore${n}(first, low);
  yStore${n}(first + half, high);
}`,
});

/**
 * Rotary positions in the half layout of Hugging Face (arXiv:2104.09864): x [T, heads · D] → the same shape, turned by row
 * `positions[t]` of `table` [P, D], D/2 cosines and D/2 sines. `positions` is [T] u32.
 */
export const rope = defineOp({
  name: 'rope',
  check({ x, table }: { x: Tensor; positions: Tensor; table: Tensor }, _: object) {
    const [, W] = matrixShape('rope', 'x', x);
    const [, D] = matrixShape('rope', 'table', table);
    if (W % D !== 0 || D % 2 !== 0 || (x.dtype === 'f16' && D % 4 !== 0))
      throw new SftError('INTERNAL', `[rope] x ${x.dtype} [.., ${W}] must be whole heads of an even size, got ${D}`);
  },
  forward(step, { x, positions, table }) {
    const [T, W] = matrixShape('rope', 'x', x);
    const D = table.shape[1] ?? 0;
    const count = (T * W) / 2;
    const n = widthOf(D / 2);
    const variant = { type: storageOf(x, step.traits, n === 4), n };
    const grid = [Math.ceil(count / n / 64)] as const;
    const y = step.tensor('rope', x.shape, { dtype: x.dtype });
    step.run(kernel, variant, { x, positions, table, y }, { count, W, D, sign: 1, accumulate: 0 }, grid);
    return { out: y, saved: { positions, table, W, D, count, variant, grid } };
  },
  backward(step, { positions, table, W, D, count, variant, grid }, dy, gradients) {
    const dx = gradients.into('x');
    if (!dx) return;
    const uniforms = { count, W, D, sign: -1, accumulate: dx.accumulate };
    step.run(kernel, variant, { x: dy, positions, table, y: dx.tensor }, uniforms, grid);
  },
});
