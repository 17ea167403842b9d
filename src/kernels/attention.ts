/**
 * Causal attention without an S×S matrix (FlashAttention), over documents laid end to end.
 *
 *     s[i, j] = scale · q[i] · k[j]   for first(i) ≤ j ≤ i        o[i] = Σ_j softmax_j(s[i, j]) · v[j]
 *     first(i) = max(starts[i], i − window + 1)
 *
 * q, o: [T, H·D] f32. k, v: [T, G·D] f32, head h uses group ⌊h·G/H⌋ (grouped-query attention). starts, ends: [T] u32, the
 * first position of a token's document and the one after its last; padding tokens are documents of their own. window: 0 for
 * none. D a multiple of 4, up to 256. Sums in f32. Saved for backward: the log-sum-exp of each row, lse [T, H].
 *
 *     P = exp(s − lse)     dV = Pᵀ · dO     dS = P ∘ (dO · Vᵀ − delta) · scale     delta[i] = Σ_d dO · O
 *     dQ = dS · K          dK = dSᵀ · Q
 *
 * dQ and dK, dV come from two kernels, each owning what it writes: WebGPU has no atomic addition of floats.
 * Source: Dao 2023, arXiv:2307.08691, algorithms 1 and 2.
 */
import type { GpuTraits } from '../gpu/device.ts';
import { SftError } from '../platform/errors.ts';
import { attentionBroadcast } from './attentionBroadcast.ts';
import { attentionTiled } from './attentionTiled.ts';
import { defineKernel, defineOp, expectShape, matrixShape, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

export interface AttentionVariant {
  /** Head size. */
  readonly D: number;
  /** Whether one lane reads four features of a row at once: those operands are bound as vectors (and once more as floats). */
  readonly vectors: boolean;
}

const uniforms = {
  T: 'u32',
  H: 'u32',
  G: 'u32',
  window: 'u32',
  scale: 'f32',
  accumulate: 'u32',
  accumulateV: 'u32',
} as const;

const bodies = ({ family }: GpuTraits) => (family === 'broadcast' ? attentionBroadcast : attentionTiled);
const lane = (v: AttentionVariant) => (v.vectors ? 'vec4<f32>' : 'f32');

const forward = defineKernel({
  name: 'attention.forward',
  uniforms,
  reads: (v: AttentionVariant) => ({ q: 'f32', k: lane(v), v: 'f32', starts: 'u32' }),
  writes: () => ({ o: 'f32', lse: 'f32' }),
  source: ({ D }, traits) => bodies(traits).forward(D, traits.subgroupSize),
});

/** Puts what the backward kernels need of a row in one place: stats[i, h] = (lse, delta). */
const rowStats = defineKernel({
  name: 'attention.rowStats',
  uniforms: { count: 'u32', D: 'u32' },
  reads: () => ({ o: 'f32', dO: 'f32', lse: 'f32' }),
  writes: () => ({ stats: 'vec2<f32>' }),
  source: () => wgsl`
${main(64)} {
  let i = (${linear}) * 64u + lane;
  if (i >= u.count) { return; }
  var delta = 0.0;
  for (var d = i * u.D; d < (i + 1u) * u.D; d++) { delta = fma(o[d], dO[d], delta); }
  stats[i] = vec2(lse[i], delta);
}`,
});

const backwardQ = defineKernel({
  name: 'attention.backwardQ',
  uniforms,
  reads: (v: AttentionVariant) => ({
    q: 'f32',
    k: lane(v),
    ...(v.vectors && { kElements: 'f32' }),
    v: lane(v),
    dO: 'f32',
    stats: 'vec2<f32>',
    starts: 'u32',
  }),
  writes: () => ({ dQ: 'f32' }),
  source: ({ D }, traits) => bodies(traits).backwardQ(D, traits.subgroupSize),
});

const backwardKV = defineKernel({
  name: 'attention.backwardKV',
  uniforms,
  reads: (v: AttentionVariant) => ({
    q: lane(v),
    ...(v.vectors && { qElements: 'f32', dOElements: 'f32' }),
    k: 'f32',
    v: 'f32',
    dO: lane(v),
    stats: 'vec2<f32>',
    ends: 'u32',
  }),
  writes: () => ({ dK: 'f32', dV: 'f32' }),
  source: ({ D }, traits) => bodies(traits).backwardKV(D, traits.subgroupSize),
});

export interface AttentionInputs {
  readonly [name: string]: Tensor;
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly starts: Tensor;
  readonly ends: Tensor;
}

export interface AttentionAttributes {
  readonly heads: number;
  readonly groups: number;
  readonly scale: number;
  /** Tokens that a token may look back to, itself included; 0 for all. */
  readonly window: number;
}

export const attention = defineOp({
  name: 'attention',
  check({ q, k, v }: AttentionInputs, { heads, groups }: AttentionAttributes) {
    const [T, W] = matrixShape('attention', 'q', q);
    const D = W / heads;
    if (!Number.isInteger(D) || D % 4 !== 0 || D > 256 || heads % groups !== 0) {
      throw new SftError(
        'MODEL',
        `[attention] expected heads of a size divisible by 4, at most 256, got ${W} over ${heads} heads (${groups} groups)`,
      );
    }
    expectShape('attention', 'k', k, [T, groups * D], 'to match q');
    expectShape('attention', 'v', v, [T, groups * D], 'to match q');
  },
  forward(step, { q, k, v, starts, ends }, { heads: H, groups: G, scale, window }) {
    const [T, W] = matrixShape('attention', 'q', q);
    const D = W / H;
    const variant = { D, vectors: step.traits.family === 'broadcast' };
    const o = step.tensor('attention', [T, W]);
    const lse = step.tensor('attention.lse', [T, H]);
    const sizes = { T, H, G, window, scale };
    // A causal row sees half of the keys on average; two products of 2·D each.
    const flops = 2 * T * T * W;
    const uniforms = { ...sizes, accumulate: 0, accumulateV: 0 };
    step.run(forward, variant, { q, k, v, starts, o, lse }, uniforms, bodies(step.traits).grid(T, H, D), flops);
    return { out: o, saved: { q, k, v, starts, ends, o, lse, sizes, variant, flops } };
  },
  backward(step, { q, k, v, starts, ends, o, lse, sizes, variant, flops }, dO, gradients) {
    const { T, H, G } = sizes;
    const { D } = variant;
    const { grid } = bodies(step.traits);
    const stats = step.tensor('attention.stats', [T, H, 2]);
    step.run(rowStats, {}, { o, dO, lse, stats }, { count: T * H, D }, [Math.ceil((T * H) / 64)]);
    const dQ = gradients.into('q');
    if (dQ) {
      const tensors = { q, k, kElements: k, v, dO, stats, starts, dQ: dQ.tensor };
      const values = { ...sizes, accumulate: dQ.accumulate, accumulateV: 0 };
      step.run(backwardQ, variant, tensors, values, grid(T, H, D), 1.5 * flops);
    }
    const dK = gradients.into('k');
    const dV = gradients.into('v');
    if (!dK && !dV) return;
    const unused = (label: string) => ({ tensor: step.tensor(label, k.shape), accumulate: 0 as const });
    const [toK, toV] = [dK ?? unused('d k'), dV ?? unused('d v')];
    const tensors = { q, qElements: q, k, v, dO, dOElements: dO, stats, ends, dK: toK.tensor, dV: toV.tensor };
    const values = { ...sizes, accumulate: toK.accumulate, accumulateV: toV.accumulate };
    step.run(backwardKV, variant, tensors, values, grid(T, G, D), 2 * flops);
  },
});
