/**
 * Conversion between storage types.
 *
 *     y[i] = x[i], rounded to the nearest value of y's type, ties to even
 *
 * x, y: f32, f16 or bf16 (packed two to a u32), of one shape; an odd last element is followed by a zero. No gradient: only
 * frozen weights are cast, while a model is loaded.
 */
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
// Rounds the bits of |value| by hand: the rounding of pack2x16float is not specified.
fn roundF16(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let magnitude = bits & 0x7fffffffu;
  var half = 0u;
  if (magnitude >= 0x47800000u) { half = 0x7c00u; }
  else if (magnitude >= 0x38800000u) { half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u; }
  else if (magnitude >= 0x33000000u) {
    let shift = 126u - (magnitude >> 23u);
    let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    half = mantissa >> shift;
    let rest = mantissa & ((1u << shift) - 1u);
    let middle = 1u << (shift - 1u);
    if (rest > middle || (rest == middle && (half & 1u) == 1u)) { half += 1u; }
  }
  return half | ((bits >> 16u) & 0x8000u);
}
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
  y[i] = roundF16(low) | (roundF16(high) << 16u);
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
