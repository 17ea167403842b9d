/**
 * The numbers that codes of quantised weights stand for, and what the kernels that make such codes share.
 *
 * Source: bitsandbytes, functional.py (`get_4bit_type`, `create_dynamic_map`) and csrc/kernels.cu (`dQuantizeNF4`).
 */
import type { Dtype } from './define.ts';

/** The 16 values of NF4, by code. Dettmers et al. 2023, arXiv:2305.14314. */
export const NF4: readonly number[] = [
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
];

/** A scaled number gets the code that is the number of these bounds below it. */
export const NF4_BOUNDS: readonly number[] = [
  -0.8480964004993439, -0.6106329262256622, -0.4599952697753906, -0.33967943489551544, -0.23460740596055984,
  -0.13791173323988914, -0.045525018125772476, 0.03979014977812767, 0.1202552504837513, 0.2035212516784668,
  0.2920137718319893, 0.3893125355243683, 0.5016634166240692, 0.6427869200706482, 0.8614784178118011,
];

/** Blocks of NF4's absmax that share a scale of their own. */
export const NESTED_BLOCK = 256;

/**
 * The dynamic map: 256 float32 numbers in ascending order, of seven magnitudes, with finer steps in the larger ones. The
 * signed one is not symmetric: it ends with 1 and has no −1. The unsigned one has twice the steps and begins with 0.
 */
export function dynamicMap(signed = true): Float32Array<ArrayBuffer> {
  const { fround } = Math;
  const values = [0, 1];
  for (let magnitude = 0; magnitude < 7; magnitude++) {
    const steps = 2 ** (signed ? magnitude : magnitude + 1);
    const step = fround(fround(1 - fround(0.1)) / steps);
    // As torch.linspace: counted from both ends to the middle, each product and sum rounded once.
    const boundary = (i: number) =>
      i < Math.floor((steps + 1) / 2) ? fround(fround(0.1) + step * i) : fround(1 - step * (steps - i));
    for (let i = 0; i < steps; i++) {
      const middle = fround(fround(boundary(i) + boundary(i + 1)) / 2);
      const value = fround(fround(10 ** (magnitude - 6)) * middle);
      values.push(value);
      if (signed) values.push(-value);
    }
  }
  return Float32Array.from(values).sort();
}

/**
 * Declares `bitsOf(i) -> u32`: element i of `x` (words as in a checkpoint) as the bits of a float32, subnormal ones as zero.
 * WGSL may or may not take those for zero, and bitsandbytes is compiled to do so.
 */
export function elementBits(from: Dtype): string {
  const wide = {
    f32: 'let bits = x[i];',
    bf16: 'let bits = ((x[i >> 1u] >> (16u * (i & 1u))) & 0xffffu) << 16u;',
    // By hand: an adapter may take subnormal halves for zero.
    f16: `let half = (x[i >> 1u] >> (16u * (i & 1u))) & 0xffffu;
  let small = bitcast<u32>(f32(half & 0x3ffu) * 0x1p-24);
  let magnitude = select(small, ((half & 0x7fffu) << 13u) + 0x38000000u, (half & 0x7c00u) != 0u);
  let bits = ((half & 0x8000u) << 16u) | magnitude;`,
  }[from as 'f32' | 'f16' | 'bf16'];
  return `fn bitsOf(i: u32) -> u32 {
  ${wide}
  return select(0u, bits, (bits & 0x7f800000u) != 0u);
}`;
}

/**
 * Declares `reciprocal(bits: u32) -> vec2<f32>`: 1 ÷ the positive normal float32 with these bits, rounded to nearest. WGSL's
 * own division may be 2.5 units in the last place off, so it is done in whole numbers. The result is `.x · .y` with a power of
 * two `.y`, which is 1 but where the reciprocal, or its product with 127, may be too large or too small for a float32.
 */
export const RECIPROCAL = `fn reciprocal(bits: u32) -> vec2<f32> {
  let exponent = i32(bits >> 23u);
  let mantissa = (bits & 0x7fffffu) | 0x800000u;
  var rest = 0x400000u;
  var quotient = 0u;
  var power = 128 - exponent;
  while (quotient < 0x800000u && power > -149) {
    rest <<= 1u;
    quotient <<= 1u;
    if (rest >= mantissa) { rest -= mantissa; quotient += 1u; }
    power -= 1;
  }
  if (2u * rest > mantissa) { quotient += 1u; }
  let aside = select(0, 32, exponent > 200) - select(0, 32, exponent < 50);
  return vec2(f32(quotient) * bitcast<f32>(u32(power + aside + 127) << 23u), bitcast<f32>(u32(127 - aside) << 23u));
}`;
