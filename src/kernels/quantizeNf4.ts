/**
 * Quantisation to 4 bits (NF4), block by block.
 *
 *     absmax[i] = max |x| over block i        code[e] = number of bounds below x[e] · (1 / absmax[e / blockSize])
 *
 * x: [E] f32, f16 or bf16, words as they lie in a checkpoint. codes: nf4 [E]; absmax: f32 [⌈E / blockSize⌉]. A block is
 * `blockSize` consecutive elements, the last one may be shorter; a block of zeros gets codes 0. `size` is u32 [1], the
 * elements to quantise, so that one program serves slices of any size up to E. The product and the reciprocal are rounded
 * to nearest, each once; subnormal numbers count as zero. Where the elements end in the middle of a byte, its other half is
 * the code of a zero; words that are begun are written whole. No gradient: only frozen weights are quantised, while they
 * are loaded.
 *
 * Source: bitsandbytes, csrc/kernels.cu, `kQuantizeBlockwise` and `dQuantizeNF4`.
 */
import { elementBits, NF4_BOUNDS, RECIPROCAL } from './codebooks.ts';
import { type Dtype, defineKernel, type Step, type Tensor } from './define.ts';
import { each, linear, main, wgsl } from './wgsl.ts';

const kernel = defineKernel({
  name: 'quantizeNf4',
  uniforms: {},
  reads: (_: { from: Dtype; blockSize: number }) => ({ x: 'u32', size: 'u32' }),
  writes: () => ({ codes: 'u32', absmax: 'u32' }),
  source: ({ from, blockSize }) => wgsl`
${elementBits(from)}
${RECIPROCAL}
${main(64)} {
  let block = (${linear}) * 64u + lane;
  let first = block * ${blockSize}u;
  if (first >= size[0]) { return; }
  let end = min(first + ${blockSize}u, size[0]);
  var largest = 0u;
  for (var e = first; e < end; e++) { largest = max(largest, bitsOf(e) & 0x7fffffffu); }
  absmax[block] = largest;
  var scale = vec2(0.0);
  if (largest > 0u) { scale = reciprocal(largest); }
  for (var word = first; word < end; word += 8u) {
    var packed = 0u;
    for (var i = 0u; i < 8u && word + i < end + (end & 1u); i++) {
      var value = 0.0;
      if (word + i < end) { value = bitcast<f32>(bitsOf(word + i)) * scale.y * scale.x; }
      var code = 0u;
      ${each(NF4_BOUNDS.length, (b) => `code += select(0u, 1u, value > ${NF4_BOUNDS[b]});`)}
      packed |= select(0u, code, largest > 0u) << (4u * (i ^ 1u));
    }
    codes[word / 8u] = packed;
  }
}`,
});

export interface QuantizeNf4 {
  readonly x: Tensor;
  readonly size: Tensor;
  readonly codes: Tensor;
  readonly absmax: Tensor;
}

/** Appends `codes, absmax = quantise(x)`. `blockSize`: a power of two from 32 to 4096. */
export function quantizeNf4(step: Step, { x, size, codes, absmax }: QuantizeNf4, blockSize: number): void {
  const [blocks = 0] = absmax.shape;
  step.run(kernel, { from: x.dtype, blockSize }, { x, size, codes, absmax }, {}, [Math.ceil(blocks / 64)]);
}
