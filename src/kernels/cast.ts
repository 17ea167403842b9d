/**
 * Conversion between storage types.
 *
 *     y[i] = x[i], rounded to the nearest value of y's type, ties to even
 *
 * x, y: f32, f16 or bf16 (packed two to a u32), of one shape; an odd last element is followed by a zero. What is too large
 * for f16, infinite or no number becomes an infinity of it. No gradient: only frozen weights are cast, while a model is loaded.
 */
import { PACKING } from './activation.ts';
import { bytesOf, type Dtype, defineKernel, defineOp, type Step, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

const kernel = defineKernel({
  name: 'cast',
  uniforms: { pairs: 'u32', count: 'u32' },
  reads: (v: { from: Dtype; to: Dtype }) => ({ x: v.from === 'f32' ? 'f32' : 'u32' }),
  writes: (v) => ({ y: v.to === 'f32' ? 'f32' : 'u32' }),
  source: ({ from, to }) => wgsl`
fn roundBf16(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}
${PACKING}
${main(64)} {
  let i = (${linear}) * 64u + lane;
  if (i >= u.pairs) { return; }
  #if ${from === 'f32'}
  let low = x[2u * i];
  var high = 0.0;
  if (2u * i + 1u < u.count) { high = x[2u * i + 1u]; }
  #elif ${from === 'f16'}
  let low = unpack2x16float(x[i]).x;
  let high = unpack2x16float(x[i]).y;
  #else
  let low = bitcast<f32>(x[i] << 16u);
  let high = bitcast<f32>(x[i] & 0xffff0000u);
  #endif
  #if ${to === 'f32'}
  y[2u * i] = low;
  if (2u * i + 1u < u.count) { y[2u * i + 1u] = high; }
  #elif ${to === 'f16'}
  y[i] = packF16(vec2(low, high));
  #else
  y[i] = roundBf16(low) | (roundBf16(high) << 16u);
  #endif
}`,
});

/** Appends `y = x` in y's type. */
export function castInto(step: Step, x: Tensor, y: Tensor): void {
  const wide = [x, y].find(({ dtype }) => dtype === 'f32');
  const count = wide ? bytesOf(wide) / 4 : bytesOf(x) / 2;
  const pairs = Math.ceil(count / 2);
  step.run(kernel, { from: x.dtype, to: y.dtype }, { x, y }, { pairs, count }, [Math.ceil(pairs / 64)]);
}

/**
 * x in another storage type: f32, f16 or bf16, rounded to nearest, ties to even. What f16 cannot hold becomes an infinity.
 * No gradient.
 */
export const cast = defineOp({
  name: 'cast',
  check: (_: { x: Tensor }, __: { dtype: Dtype }) => {},
  forward(step, { x }, { dtype }) {
    const out = step.tensor('cast', x.shape, { dtype });
    castInto(step, x, out);
    return { out, saved: null };
  },
  backward: null,
});
