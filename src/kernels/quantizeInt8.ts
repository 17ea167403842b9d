/**
 * Quantisation to 8 bits, row by row: the weights of LLM.int8() without its split of outliers.
 *
 *     absmax[n] = max_k |x[n, k]|        code[n, k] = round(x[n, k] · (127 · (1 / absmax[n])))
 *
 * x: [E] f32, f16 or bf16, words as they lie in a checkpoint: whole rows. codes: i8 [E], two's complement; absmax: f32 [N].
 * `size` is u32 [2]: the elements to quantise and K, the length of a row, so that one program serves all matrices with up to
 * E elements and N rows. A row of zeros gets codes 0. Every operation is rounded to nearest, ties to even;
 * subnormal numbers count as zero. Words that are begun are written whole, with zeros. No gradient: only frozen weights are
 * quantised, while they are loaded.
 *
 * Source: Dettmers et al. 2022, arXiv:2208.07339; bitsandbytes, `int8_vectorwise_quant`.
 */
import { elementBits, RECIPROCAL } from './codebooks.ts';
import { type Dtype, defineKernel, type Step, type Tensor } from './define.ts';
import { linear, main, reductions, rowLanes, wgsl } from './wgsl.ts';

const maxima = defineKernel({
  name: 'quantizeInt8.absmax',
  uniforms: {},
  reads: (_: { from: Dtype }) => ({ x: 'u32', size: 'u32' }),
  writes: () => ({ absmax: 'f32' }),
  source: ({ from }, traits) => wgsl`
${elementBits(from)}
${reductions(traits, 'Max')}
${main(rowLanes(traits))} {
  let row = ${linear};
  // Workgroups beyond the rows stay for the reduction, which must be in uniform control flow.
  let inside = row < size[0] / size[1];
  let first = select(size[0], row * size[1], inside);
  var largest = 0.0;
  for (var e = first + lane; e < min(first + size[1], size[0]); e += ${rowLanes(traits)}u) {
    largest = max(largest, bitcast<f32>(bitsOf(e) & 0x7fffffffu));
  }
  largest = reduceMax(largest, lane);
  if (lane == 0u && inside) { absmax[row] = largest; }
}`,
});

const kernel = defineKernel({
  name: 'quantizeInt8',
  uniforms: {},
  reads: (_: { from: Dtype }) => ({ x: 'u32', size: 'u32', absmax: 'u32' }),
  writes: () => ({ codes: 'u32' }),
  source: ({ from }) => wgsl`
${elementBits(from)}
${RECIPROCAL}
${main(64)} {
  let word = (${linear}) * 64u + lane;
  if (word * 4u >= size[0]) { return; }
  var packed = 0u;
  for (var i = 0u; i < 4u && word * 4u + i < size[0]; i++) {
    let e = word * 4u + i;
    let largest = absmax[e / size[1]];
    if (largest > 0u) {
      let scale = reciprocal(largest);
      let code = i32(round(bitcast<f32>(bitsOf(e)) * scale.y * (scale.x * 127.0)));
      packed |= (bitcast<u32>(code) & 255u) << (8u * i);
    }
  }
  codes[word] = packed;
}`,
});

export interface QuantizeInt8 {
  readonly x: Tensor;
  readonly size: Tensor;
  readonly codes: Tensor;
  readonly absmax: Tensor;
}

/** Appends `codes, absmax = quantise(x)`. */
export function quantizeInt8(step: Step, { x, size, codes, absmax }: QuantizeInt8): void {
  const [rows = 0] = absmax.shape;
  const [elements = 0] = codes.shape;
  step.run(maxima, { from: x.dtype }, { x, size, absmax }, {}, [rows]);
  step.run(kernel, { from: x.dtype }, { x, size, absmax, codes }, {}, [Math.ceil(elements / 4 / 64)]);
}
