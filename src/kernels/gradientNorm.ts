/**
 * Global norm of all gradients and the factor that clips them.
 *
 *     norm = √(Σ g²) / scale        clip = min(1, maxNorm / (norm + 1e-6)) / scale, or 1 / scale where maxNorm is 0
 *
 * Gradients: f32 chunks. result: [2] f32 = (norm, clip). The order of summation depends on sizes alone. The factor stays on
 * the GPU: AdamW reads it there. Where the norm is not finite, it is 0, and nothing is updated. scale is 1, or that of
 * `scaler` (lossScale.ts), which is updated. Source: torch.nn.utils.clip_grad_norm_.
 */
import { bytesOf, defineKernel, type Step, type Tensor } from './define.ts';
import { updateScaler } from './lossScale.ts';
import { linear, main, reductions, rowLanes, wgsl } from './wgsl.ts';

/** Elements that one workgroup sums. */
const SPAN = 16384;

const sumSquares = defineKernel({
  name: 'gradientNorm.sumSquares',
  uniforms: { count: 'u32', first: 'u32' },
  reads: () => ({ g: 'f32' }),
  writes: () => ({ partial: 'f32' }),
  source: (_: object, traits) => wgsl`
${reductions(traits, 'Add')}
${main(rowLanes(traits))} {
  let group = ${linear};
  var sum = 0.0;
  for (var i = group * ${SPAN}u + lane; i < min((group + 1u) * ${SPAN}u, u.count); i += ${rowLanes(traits)}u) { sum = fma(g[i], g[i], sum); }
  sum = reduceAdd(sum, lane);
  if (lane == 0u && group * ${SPAN}u < u.count) { partial[u.first + group] = sum; }
}`,
});

const finish = defineKernel({
  name: 'gradientNorm.finish',
  uniforms: { count: 'u32', maxNorm: 'f32' },
  reads: (_: { scaled: boolean }) => ({ partial: 'f32' }),
  writes: ({ scaled }) => ({ result: 'f32', ...(scaled && { scaler: 'f32' }) }),
  source: ({ scaled }, traits) => wgsl`
${reductions(traits, 'Add')}
${main(rowLanes(traits))} {
  var sum = 0.0;
  for (var i = lane; i < u.count; i += ${rowLanes(traits)}u) { sum += partial[i]; }
  sum = reduceAdd(sum, lane);
  if (lane == 0u) {
    let scale = ${scaled ? 'scaler[0]' : '1.0'};
    let norm = sqrt(sum) / scale;
    // By its bits: compilers may take for granted that numbers are finite.
    let finite = (bitcast<u32>(norm) & 0x7f800000u) != 0x7f800000u;
    let clip = select(1.0, min(1.0, u.maxNorm / (norm + 1e-6)), u.maxNorm > 0.0) / scale;
    result[0] = norm;
    result[1] = select(0.0, clip, finite);
    ${scaled ? updateScaler : ''}
  }
}`,
});

/** Appends the norm of all chunks together. With `scaler`, the gradients are those of a scaled loss. */
export function gradientNorm(
  step: Step,
  chunks: readonly Tensor[],
  result: Tensor,
  maxNorm: number,
  scaler: Tensor | null = null,
): void {
  const groups = chunks.map((chunk) => Math.ceil(bytesOf(chunk) / 4 / SPAN));
  const total = groups.reduce((sum, count) => sum + count, 0);
  const partial = step.tensor('gradientNorm.partial', [Math.max(1, total)]);
  let first = 0;
  chunks.forEach((g, index) => {
    const count = groups[index] ?? 0;
    step.run(sumSquares, {}, { g, partial }, { count: bytesOf(g) / 4, first }, [count]);
    first += count;
  });
  step.run(
    finish,
    { scaled: scaler !== null },
    { partial, result, scaler: scaler ?? undefined },
    { count: total, maxNorm },
    [1],
  );
}
