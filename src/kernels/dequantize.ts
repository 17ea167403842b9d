/**
 * A quantised matrix as numbers.
 *
 *     y[n, k] = NF4[code] · absmax[e / blockSize], or code · (absmax[n] / 127)        e = n · K + k
 *
 * w: nf4 or i8 [N, K], possibly split by rows, with its statistics (see `Quantization` in define.ts). y: [N, K] f32, not
 * split. No gradient. Products read weights without this: it shows what a matrix holds.
 */
import { invariant } from '../platform/errors.ts';
import { NESTED_BLOCK, NF4 } from './codebooks.ts';
import { defineKernel, expectShape, matrixShape, type Step, shardsOf, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

const kernel = defineKernel({
  name: 'dequantize',
  uniforms: { first: 'u32', count: 'u32', blockSize: 'u32', blocks: 'u32' },
  reads: (_: { dtype: 'nf4' | 'i8'; nested: boolean }) => ({ codes: 'u32', statistics: 'u32' }),
  writes: () => ({ y: 'f32' }),
  source: ({ dtype, nested }) => wgsl`
const NF4 = array<f32, 16>(${NF4.join(', ')});
fn number(i: u32) -> f32 { return bitcast<f32>(statistics[i]); }
fn absmax(i: u32) -> f32 {
  #if ${nested}
  let groups = (u.blocks + ${NESTED_BLOCK - 1}u) / ${NESTED_BLOCK}u;
  let code = (statistics[${NESTED_BLOCK + 1}u + groups + i / 4u] >> (8u * (i % 4u))) & 255u;
  return number(code) * number(${NESTED_BLOCK + 1}u + i / ${NESTED_BLOCK}u) + number(${NESTED_BLOCK}u);
  #else
  return number(i);
  #endif
}
${main(64)} {
  let i = (${linear}) * 64u + lane;
  if (i >= u.count) { return; }
  let scale = absmax((u.first + i) / u.blockSize);
  #if ${dtype === 'nf4'}
  let code = (codes[i / 8u] >> (4u * ((i % 8u) ^ 1u))) & 15u;
  y[u.first + i] = NF4[code] * scale;
  #else
  let code = extractBits(bitcast<i32>(codes[i / 4u]), 8u * (i % 4u), 8u);
  y[u.first + i] = f32(code) * (scale / 127.0);
  #endif
}`,
});

/** Appends `y = w`. */
export function dequantize(step: Step, w: Tensor, y: Tensor): void {
  const [N, K] = matrixShape('dequantize', 'w', w);
  const { dtype, quantization } = w;
  invariant(quantization && (dtype === 'nf4' || dtype === 'i8'), `${w.label} is not quantised`);
  expectShape('dequantize', 'y', y, [N, K], 'to match w');
  const { blockSize, nested, statistics } = quantization;
  const blocks = Math.ceil((N * K) / blockSize);
  for (const { tensor, start, rows } of shardsOf(w)) {
    const uniforms = { first: start * K, count: rows * K, blockSize, blocks };
    const grid = [Math.ceil(uniforms.count / 64)] as const;
    step.run(kernel, { dtype, nested }, { codes: tensor, statistics, y }, uniforms, grid);
  }
}
