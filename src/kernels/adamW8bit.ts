/**
 * AdamW with both moments in 8 bits, on a chunk of parameters.
 *
 *     g ← clip · g        m ← β1 · m + (1−β1) · g        v ← β2 · v + (1−β2) · g²        c = √(1−β2ᵗ)
 *     p ← (p − lr · c / (1−β1ᵗ) · m / (√v + c · eps)) · (1 − lr · λ)
 *
 * p, g: f32 [n], n a multiple of 256. m, v: u32 [n / 4], codes packed four to a word, the first in the lowest bits; each stands
 * for an entry of the dynamic map times the largest magnitude of its block of 256. absmax: f32 [n / 256, 2], that of m and of v.
 * clip and hyper as in adamW.ts, but hyper goes on with the signed map of m and the unsigned map of v: f32 [8 + 512].
 * `decay` 0 leaves λ out.
 *
 * As bitsandbytes: the new moments are used before they are rounded; decay comes after the update, unlike in torch; the
 * code is the nearest entry, except that a negative m never becomes zero; where g is infinite or no number, p stays and both
 * moments become zero. Blocks of zeros differ in their codes, which mean nothing there.
 * Source: Dettmers et al. 2022, arXiv:2110.02861; bitsandbytes, csrc, `kOptimizerStatic8bit2StateBlockwise`, `quantize_2D`.
 */
import { dynamicMap } from './codebooks.ts';
import { bytesOf, defineKernel, type Step, type Tensor } from './define.ts';
import { linear, main, reductions, rowLanes, wgsl } from './wgsl.ts';

/** Elements that share a largest magnitude. */
export const MOMENT_BLOCK = 256;
/** Smaller tensors keep their moments in f32. */
export const MOMENT_MIN_ELEMENTS = 4096;
/** The codes of zero. */
export const MOMENT_ZERO = { m: 127, v: 0 };
/** Floats of `hyper`. */
export const HYPER_8BIT = 8 + 512;

const kernel = defineKernel({
  name: 'adamW8bit',
  uniforms: { blocks: 'u32', decay: 'f32' },
  reads: () => ({ g: 'f32', clip: 'f32', hyper: 'f32' }),
  writes: () => ({ p: 'f32', m: 'u32', v: 'u32', absmax: 'vec2<f32>' }),
  source: (_: object, traits) => {
    const lanes = rowLanes(traits);
    const words = MOMENT_BLOCK / 4 / lanes;
    return wgsl`
${reductions(traits, 'Max')}
// The nearest entry of the map at 'base'; 'lowest' is what lies below its first.
fn codeOf(x: f32, base: u32, lowest: f32) -> u32 {
  var pivot = 127u;
  var below = 0u;
  var above = 255u;
  var lower = lowest;
  var upper = 1.0;
  var value = hyper[base + pivot];
  for (var step = 64u; step > 0u; step >>= 1u) {
    if (x > value) { below = pivot; lower = value; pivot += step; }
    else { above = pivot; upper = value; pivot -= step; }
    value = hyper[base + pivot];
  }
  if (x > value) { return select(pivot, above, x > (upper + value) * 0.5); }
  return select(pivot, below, x < (lower + value) * 0.5);
}
${main(lanes)} {
  if (clip[1] == 0.0) { return; }
  let block = ${linear};
  let first = min(block, u.blocks - 1u) * ${MOMENT_BLOCK / 4}u + lane * ${words}u;
  let scale = absmax[min(block, u.blocks - 1u)];
  var moments: array<vec4<f32>, ${words}>;
  var squares: array<vec4<f32>, ${words}>;
  var top = vec2(0.0);
  for (var w = 0u; w < ${words}u; w++) {
    for (var j = 0u; j < 4u; j++) {
      let gradient = g[(first + w) * 4u + j];
      var pair = vec2(0.0);
      if ((bitcast<u32>(gradient) & 0x7f800000u) != 0x7f800000u) {
        let clipped = gradient * clip[1];
        let s = hyper[8u + ((m[first + w] >> (8u * j)) & 255u)] * scale.x;
        let q = hyper[264u + ((v[first + w] >> (8u * j)) & 255u)] * scale.y;
        pair = vec2(hyper[1] * s + hyper[2] * clipped, hyper[3] * q + hyper[4] * clipped * clipped);
      }
      moments[w][j] = pair.x;
      squares[w][j] = pair.y;
      top = max(top, abs(pair));
    }
  }
  top = vec2(reduceMax(top.x, lane), reduceMax(top.y, lane));
  if (block >= u.blocks) { return; }
  if (lane == 0u) { absmax[block] = top; }
  let shrink = 1.0 - hyper[0] * u.decay;
  for (var w = 0u; w < ${words}u; w++) {
    var codes = vec2(0u);
    for (var j = 0u; j < 4u; j++) {
      let e = (first + w) * 4u + j;
      let pair = vec2(moments[w][j], squares[w][j]);
      if ((bitcast<u32>(g[e]) & 0x7f800000u) != 0x7f800000u) {
        p[e] = (p[e] - hyper[6] * hyper[7] * (pair.x / (sqrt(pair.y) + hyper[7] * hyper[5]))) * shrink;
      }
      var code = codeOf(select(pair.x / top.x, 0.0, top.x == 0.0), 8u, -1.0);
      if (pair.x < 0.0 && hyper[8u + code] >= 0.0) { code -= 1u; }
      let square = codeOf(select(pair.y / top.y, 0.0, top.y == 0.0), 264u, 0.0);
      codes |= vec2(code, square) << vec2(8u * j);
    }
    m[first + w] = codes.x;
    v[first + w] = codes.y;
  }
}`;
  },
});

export interface AdamW8bitTensors {
  readonly p: Tensor;
  readonly g: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  readonly absmax: Tensor;
  readonly clip: Tensor;
  readonly hyper: Tensor;
}

/** Appends the update of one chunk. */
export function adamW8bit(step: Step, tensors: AdamW8bitTensors, decay: boolean): void {
  const blocks = bytesOf(tensors.p) / 4 / MOMENT_BLOCK;
  step.run(kernel, {}, { ...tensors }, { blocks, decay: decay ? 1 : 0 }, [blocks]);
}

/** What `hyper` holds after its first eight numbers. */
export function momentMaps(): Float32Array<ArrayBuffer> {
  return new Float32Array([...dynamicMap(), ...dynamicMap(false)]);
}
