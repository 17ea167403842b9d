/**
 * Causal attention without an S×S matrix (FlashAttention), over documents laid end to end.
 *
 *     s[i, j] = scale · q[i] · k[j]   for first(i) ≤ j ≤ i        o[i] = Σ_j softmax_j(s[i, j]) · v[j]
 *     first(i) = max(starts[i], i − window + 1)
 *
 * q, o: [T, H·D], k, v: [T, G·D], all f32 or all f16. Head h uses group ⌊h·G/H⌋ (grouped-query attention). starts, ends: [T]
 * u32, the first position of a token's document and the one after its last; padding tokens are documents of their own.
 * window: 0 for none. D a multiple of 4, up to 256. Sums in f32. Saved for backward: o, and the log-sum-exp of each row,
 * lse [T, H] f32.
 *
 *     P = exp(s − lse)     dV = Pᵀ · dO     dS = P ∘ (dO · Vᵀ − delta) · scale     delta[i] = Σ_d dO · O
 *     dQ = dS · K          dK = dSᵀ · Q
 *
 * dQ and dK, dV come from two kernels, each owning what it writes: WebGPU has no atomic addition of floats.
 * Source: Dao 2023, arXiv:2307.08691, algorithms 1 and 2.
 */
import type { GpuTraits } from '../gpu/device.ts';
import { SftError } from '../platform/errors.ts';
import { accessors, type Storage, storageOf } from './activation.ts';
import { attentionBroadcast } from './attentionBroadcast.ts';
import { attentionTiled } from './attentionTiled.ts';
import { defineKernel, defineOp, expectShape, matrixShape, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

export interface AttentionVariant {
  /** Head size. */
  readonly D: number;
  /** How results are bound, operands that are read four features at a time, and the others. */
  readonly type: Storage;
  readonly vectors: Storage;
  readonly rows: Storage;
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

/** Activations that each kernel reads and writes. What is read in both ways is bound a second time, as `<name>Elements`. */
const operands = {
  forward: ({ type, vectors, rows }: AttentionVariant) => ({
    reads: { q: rows, k: vectors, v: rows },
    writes: { o: type },
  }),
  backwardQ: ({ type, vectors, rows }: AttentionVariant) => ({
    reads: { q: rows, k: vectors, ...(rows !== vectors && { kElements: rows }), v: vectors, dO: rows },
    writes: { dQ: type },
  }),
  backwardKV: ({ type, vectors, rows }: AttentionVariant) => ({
    reads: {
      q: vectors,
      ...(rows !== vectors && { qElements: rows, dOElements: rows }),
      k: rows,
      v: rows,
      dO: vectors,
    },
    writes: { dK: type, dV: type },
  }),
};

/** The text of a kernel: functions on its operands, then its body for the adapter's family. */
function text(name: keyof typeof operands, variant: AttentionVariant, traits: GpuTraits): string {
  const { reads, writes } = operands[name](variant);
  return `${accessors(reads, writes)}\n${bodies(traits)[name](variant.D, traits.subgroupSize)}`;
}

const forward = defineKernel({
  name: 'attention.forward',
  uniforms,
  reads: (v: AttentionVariant) => ({ ...operands.forward(v).reads, starts: 'u32' }),
  writes: (v) => ({ ...operands.forward(v).writes, lse: 'f32' }),
  source: (v, traits) => text('forward', v, traits),
});

/** Puts what the backward kernels need of a row in one place: stats[i, h] = (lse, delta). */
const rowStats = defineKernel({
  name: 'attention.rowStats',
  uniforms: { count: 'u32', D: 'u32' },
  reads: ({ vectors }: AttentionVariant) => ({ o: vectors, dO: vectors, lse: 'f32' }),
  writes: () => ({ stats: 'vec2<f32>' }),
  source: ({ vectors }) => wgsl`
${accessors({ o: vectors, dO: vectors })}
${main(64)} {
  let i = (${linear}) * 64u + lane;
  if (i >= u.count) { return; }
  var delta = 0.0;
  for (var d = i * u.D; d < (i + 1u) * u.D; d += 4u) { delta += dot(oLoad4(d), dOLoad4(d)); }
  stats[i] = vec2(lse[i], delta);
}`,
});

const backwardQ = defineKernel({
  name: 'attention.backwardQ',
  uniforms,
  reads: (v: AttentionVariant) => ({ ...operands.backwardQ(v).reads, stats: 'vec2<f32>', starts: 'u32' }),
  writes: (v) => operands.backwardQ(v).writes,
  source: (v, traits) => text('backwardQ', v, traits),
});

const backwardKV = defineKernel({
  name: 'attention.backwardKV',
  uniforms,
  reads: (v: AttentionVariant) => ({ ...operands.backwardKV(v).reads, stats: 'vec2<f32>', ends: 'u32' }),
  writes: (v) => operands.backwardKV(v).writes,
  source: (v, traits) => text('backwardKV', v, traits),
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
  /** Heads of q. Each group of k and v serves heads ÷ groups of them. */
  readonly heads: number;
  readonly groups: number;
  /** Factor of q · k, usually 1/√D. */
  readonly scale: number;
  /** Tokens that a token may look back to, itself included; 0 for all. */
  readonly window: number;
}

/**
 * Causal attention over documents laid end to end (FlashAttention, arXiv:2307.08691): q [T, heads · D], k and v
 * [T, groups · D] → [T, heads · D]. `starts` and `ends` [T] u32: the first position of a token's document, and the one after its last.
 * Throws `MODEL` where D is no multiple of 4 or above 256, and where `heads` is no multiple of `groups`.
 */
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
    const { traits } = step;
    const [type, vectors] = [storageOf(q, traits, false), storageOf(q, traits, true)];
    const variant = { D, type, vectors, rows: traits.family === 'broadcast' ? type : vectors };
    const o = step.tensor('attention', [T, W], { dtype: q.dtype });
    const lse = step.tensor('attention.lse', [T, H]);
    const sizes = { T, H, G, window, scale };
    // A causal row sees half of the keys on average; two products of 2·D each.
    const flops = 2 * T * T * W;
    const uniforms = { ...sizes, accumulate: 0, accumulateV: 0 };
    step.run(forward, variant, { q, k, v, starts, o, lse }, uniforms, bodies(traits).grid(T, H, D), flops);
    return { out: o, saved: { q, k, v, starts, ends, o, lse, sizes, variant, flops } };
  },
  backward(step, { q, k, v, starts, ends, o, lse, sizes, variant, flops }, dO, gradients) {
    const { T, H, G } = sizes;
    const { D } = variant;
    const { grid } = bodies(step.traits);
    const stats = step.tensor('attention.stats', [T, H, 2]);
    step.run(rowStats, variant, { o, dO, lse, stats }, { count: T * H, D }, [Math.ceil((T * H) / 64)]);
    const dQ = gradients.into('q');
    if (dQ) {
      const tensors = { q, k, kElements: k, v, dO, stats, starts, dQ: dQ.tensor };
      const values = { ...sizes, accumulate: dQ.accumulate, accumulateV: 0 };
      step.run(backwardQ, variant, tensors, values, grid(T, H, D), 1.5 * flops);
    }
    const dK = gradients.into('k');
    const dV = gradients.into('v');
    if (!dK && !dV) return;
    const unused = (label: string) => ({
      tensor: step.tensor(label, k.shape, { dtype: k.dtype }),
      accumulate: 0 as const,
    });
    const [toK, toV] = [dK ?? unused('d k'), dV ?? unused('d v')];
    const tensors = { q, qElements: q, k, v, dO, dOElements: dO, stats, ends, dK: toK.tensor, dV: toV.tensor };
    const values = { ...sizes, accumulate: toK.accumulate, accumulateV: toV.accumulate };
    step.run(backwardKV, variant, tensors, values, grid(T, G, D), 2 * flops);
  },
});
