/**
 * Double quantisation: NF4's block maxima in 8 bits.
 *
 *     offset = mean(absmax)        nestedAbsmax[j] = max |absmax − offset| over 256 blocks
 *     code[i] = the entry of the dynamic map nearest to (absmax[i] − offset) · (1 / nestedAbsmax[i / 256])
 *
 * absmax: f32 [B], of which the first `size` (u32 [1]) count, so that one program serves matrices of any size up to B.
 * statistics: u32, in the layout of `Quantization` in define.ts; the caller has put the map into its first 256 words, the
 * rest is written. The mean is summed in whole numbers, exactly but for bits more than 40 places below the largest number's
 * first, and rounded once: the same on every adapter. The nearest entry is found as bitsandbytes finds it, which decides
 * ties. Blocks that differ from the mean by nothing get codes 0.
 *
 * Source: bitsandbytes, functional.py, `quantize_4bit` with compress_statistics; csrc/kernels.cu, `dQuantize`.
 */
import { NESTED_BLOCK, RECIPROCAL } from './codebooks.ts';
import { defineKernel, type Step, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

const LANES = 64;

/** 64-bit sums of fixed-point numbers whose top bit is that of the largest, then a division bit by bit. */
const mean = defineKernel({
  name: 'quantizeAbsmax.mean',
  uniforms: {},
  reads: () => ({ absmax: 'u32', size: 'u32' }),
  writes: () => ({ statistics: 'u32' }),
  source: () => wgsl`
var<workgroup> largest: atomic<u32>;
var<workgroup> high: array<u32, ${LANES}>;
var<workgroup> low: array<u32, ${LANES}>;
${main(LANES)} {
  let n = size[0];
  var own = 0u;
  for (var i = lane; i < n; i += ${LANES}u) { own = max(own, absmax[i]); }
  atomicMax(&largest, own);
  workgroupBarrier();
  let top = atomicLoad(&largest) >> 23u;
  var sum = vec2(0u);
  for (var i = lane; i < n; i += ${LANES}u) {
    let bits = absmax[i];
    let mantissa = (bits & 0x7fffffu) | 0x800000u;
    let behind = top - (bits >> 23u);
    if (bits >= 0x800000u && behind < 40u) {
      // mantissa · 2^16 / 2^behind as two words.
      var upper = mantissa >> 16u;
      var lower = mantissa << 16u;
      if (behind >= 32u) { lower = upper >> (behind - 32u); upper = 0u; }
      else if (behind > 0u) { lower = (lower >> behind) | (upper << (32u - behind)); upper >>= behind; }
      sum.y += lower;
      sum.x += upper + select(0u, 1u, sum.y < lower);
    }
  }
  high[lane] = sum.x;
  low[lane] = sum.y;
  workgroupBarrier();
  if (lane != 0u) { return; }
  for (var i = 1u; i < ${LANES}u; i++) {
    sum.y += low[i];
    sum.x += high[i] + select(0u, 1u, sum.y < low[i]);
  }
  if (sum.x == 0u && sum.y == 0u) { statistics[${NESTED_BLOCK}] = 0u; return; }
  var exponent = i32(top) + 24;
  while (sum.x < 0x80000000u) {
    sum = vec2((sum.x << 1u) | (sum.y >> 31u), sum.y << 1u);
    exponent -= 1;
  }
  var quotient = vec2(0u);
  var rest = 0u;
  for (var i = 0u; i < 64u; i++) {
    rest = (rest << 1u) | (sum.x >> 31u);
    sum = vec2((sum.x << 1u) | (sum.y >> 31u), sum.y << 1u);
    quotient = vec2((quotient.x << 1u) | (quotient.y >> 31u), quotient.y << 1u);
    if (rest >= n) { rest -= n; quotient.y |= 1u; }
  }
  while (quotient.x < 0x80000000u) {
    quotient = vec2((quotient.x << 1u) | (quotient.y >> 31u), quotient.y << 1u);
    exponent -= 1;
  }
  var mantissa = quotient.x >> 8u;
  let below = quotient.x & 255u;
  let more = quotient.y != 0u || rest != 0u || (mantissa & 1u) == 1u;
  if (below > 128u || (below == 128u && more)) { mantissa += 1u; }
  if (mantissa == 0x1000000u) { mantissa >>= 1u; exponent += 1; }
  statistics[${NESTED_BLOCK}] = select(0u, (u32(exponent) << 23u) | (mantissa & 0x7fffffu), exponent > 0);
}`,
});

const codes = defineKernel({
  name: 'quantizeAbsmax.codes',
  uniforms: {},
  reads: () => ({ absmax: 'f32', size: 'u32' }),
  writes: () => ({ statistics: 'u32' }),
  source: () => wgsl`
${RECIPROCAL}
fn entry(i: u32) -> f32 { return bitcast<f32>(statistics[i]); }
fn difference(i: u32) -> f32 {
  let value = absmax[i] - entry(${NESTED_BLOCK}u);
  return select(0.0, value, abs(value) >= 0x1p-126);
}
fn nearest(x: f32) -> u32 {
  var pivot = 127u;
  var above = 255u;
  var below = 0u;
  for (var i = 64u; i > 0u; i >>= 1u) {
    if (x > entry(pivot)) { below = pivot; pivot += i; } else { above = pivot; pivot -= i; }
  }
  let here = entry(pivot);
  if (x > here) { return select(pivot, above, x > (entry(above) + here) * 0.5); }
  return select(pivot, below, x < (entry(below) + here) * 0.5);
}
var<workgroup> largest: atomic<u32>;
${main(LANES)} {
  let n = size[0];
  let block = ${linear};
  let end = min((block + 1u) * ${NESTED_BLOCK}u, n);
  let first = block * ${NESTED_BLOCK}u + lane * 4u;
  for (var i = first; i < min(first + 4u, end); i++) { atomicMax(&largest, bitcast<u32>(abs(difference(i)))); }
  workgroupBarrier();
  let bits = atomicLoad(&largest);
  let blocks = (n + ${NESTED_BLOCK - 1}u) / ${NESTED_BLOCK}u;
  if (lane == 0u && block < blocks) { statistics[${NESTED_BLOCK + 1}u + block] = bits; }
  if (first >= end) { return; }
  var packed = 0u;
  if (bits > 0u) {
    let scale = reciprocal(bits);
    for (var i = 0u; i < 4u && first + i < end; i++) {
      packed |= nearest(difference(first + i) * scale.y * scale.x) << (8u * i);
    }
  }
  statistics[${NESTED_BLOCK + 1}u + blocks + first / 4u] = packed;
}`,
});

export interface QuantizeAbsmax {
  readonly absmax: Tensor;
  readonly size: Tensor;
  readonly statistics: Tensor;
}

/** Appends `statistics = quantise(absmax)`. At most 2²⁴ blocks. */
export function quantizeAbsmax(step: Step, tensors: QuantizeAbsmax): void {
  const [blocks = 0] = tensors.absmax.shape;
  step.run(mean, {}, tensors, {}, [1]);
  step.run(codes, {}, tensors, {}, [Math.ceil(blocks / NESTED_BLOCK)]);
}

/** Words of `statistics` of so many blocks (see `Quantization`). */
export function statisticsWords(blocks: number, nested: boolean): number {
  return nested ? NESTED_BLOCK + 1 + Math.ceil(blocks / NESTED_BLOCK) + Math.ceil(blocks / 4) : blocks;
}
