/**
 * Attention of new tokens over a cache of keys and values, for generation. No gradient.
 *
 *     o[b] = Σ_j softmax_j(scale · q[b] · K[j]) · V[j]        first(b) ≤ j ≤ slots[b]
 *     first(b) = max(firsts[b], slots[b] − window + 1)
 *
 * q, o: [B, H·D] f32. k, v: [B, G·D], written to rows slots[b] of the caches K, V [N, G·D] before. firsts, slots: [B] u32, rows
 * of the cache; a slot outside the cache (padding) is not written. The key of a token lies in the cache row of its slot.
 */
import { defineKernel, defineOp, expectShape, matrixShape, type Step, type Tensor } from './define.ts';
import { each, linear, main, reductions, rowLanes, wgsl } from './wgsl.ts';

const write = defineKernel({
  name: 'cachedAttention.write',
  uniforms: { count: 'u32', W: 'u32', N: 'u32' },
  reads: () => ({ x: 'f32', slots: 'u32' }),
  writes: () => ({ cache: 'f32' }),
  source: () => wgsl`
${main(64)} {
  let i = (${linear}) * 64u + lane;
  if (i >= u.count) { return; }
  let slot = slots[i / u.W];
  if (slot < u.N) { cache[slot * u.W + i % u.W] = x[i]; }
}`,
});

/** Appends: rows of x [T, W] go to rows `slots` of `cache` [N, W]. */
export function writeCache(step: Step, x: Tensor, slots: Tensor, cache: Tensor): void {
  const [T, W] = matrixShape('writeCache', 'x', x);
  const [N] = matrixShape('writeCache', 'cache', cache);
  step.run(write, {}, { x, slots, cache }, { count: T * W, W, N }, [Math.ceil((T * W) / 64)]);
}

const attend = defineKernel({
  name: 'cachedAttention',
  uniforms: { N: 'u32', H: 'u32', G: 'u32', window: 'u32', scale: 'f32' },
  reads: (_: { D: number }) => ({ q: 'f32', k: 'f32', v: 'f32', firsts: 'u32', slots: 'u32' }),
  writes: () => ({ o: 'f32' }),
  source({ D }, traits) {
    const lanes = rowLanes(traits);
    const parts = Math.ceil(D / lanes);
    return wgsl`
${reductions(traits, 'Add', 'Max')}
var<workgroup> weights: array<f32, ${lanes}>;
${main(lanes)} {
  let b = wg.x;
  let h = wg.y;
  let g = h * u.G / u.H;
  let query = (b * u.H + h) * ${D}u;
  let last = min(slots[b], u.N - 1u);
  let first = max(firsts[b], select(0u, last + 1u - u.window, u.window > 0u && last + 1u > u.window));
  var top = -3.0e38;
  var total = 0.0;
  ${each(parts, (c) => `var o${c} = 0.0;`, ' ')}
  for (var j0 = first; j0 <= last; j0 += ${lanes}u) {
    let j = j0 + lane;
    let key = (min(j, last) * u.G + g) * ${D}u;
    var s = 0.0;
    for (var d = 0u; d < ${D}u; d++) { s = fma(q[query + d], k[key + d], s); }
    let score = select(-3.0e38, s * u.scale, j <= last);
    let next = max(top, reduceMax(score, lane));
    let weight = select(0.0, exp(score - next), j <= last);
    let shrink = exp(top - next);
    total = total * shrink + reduceAdd(weight, lane);
    top = next;
    workgroupBarrier();
    weights[lane] = weight;
    workgroupBarrier();
    ${each(parts, (c) => `o${c} *= shrink;`, ' ')}
    for (var n = 0u; n < min(${lanes}u, last + 1u - j0); n++) {
      let row = ((j0 + n) * u.G + g) * ${D}u;
      ${each(parts, (c) => `o${c} = fma(weights[n], v[row + min(${c * lanes}u + lane, ${D - 1}u)], o${c});`)}
    }
  }
  ${each(parts, (c) => `if (${c * lanes}u + lane < ${D}u) { o[query + ${c * lanes}u + lane] = o${c} / total; }`)}
}`;
  },
});

export interface CachedAttentionInputs {
  readonly [name: string]: Tensor;
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly cacheK: Tensor;
  readonly cacheV: Tensor;
  readonly firsts: Tensor;
  readonly slots: Tensor;
}

/**
 * Attention of B new tokens over a cache: q [B, heads · D] f32 → [B, heads · D]. k and v [B, groups · D] are written to rows
 * `slots` of `cacheK` and `cacheV` [N, groups · D] first; then token b sees rows `firsts[b]` to `slots[b]`, of which
 * `window` at most (0 for all). No gradient.
 */
export const cachedAttention = defineOp({
  name: 'cachedAttention',
  check(
    { q, k, v, cacheK, cacheV }: CachedAttentionInputs,
    { heads, groups }: { heads: number; groups: number; scale: number; window: number },
  ) {
    const [B, W] = matrixShape('cachedAttention', 'q', q);
    const width = (W / heads) * groups;
    expectShape('cachedAttention', 'k', k, [B, width], 'to match q');
    expectShape('cachedAttention', 'v', v, [B, width], 'to match q');
    expectShape('cachedAttention', 'cacheK', cacheK, [cacheK.shape[0] ?? 0, width], 'to match q');
    expectShape('cachedAttention', 'cacheV', cacheV, cacheK.shape, 'to match cacheK');
  },
  forward(step, { q, k, v, cacheK, cacheV, firsts, slots }, { heads: H, groups: G, scale, window }) {
    const [B, W] = matrixShape('cachedAttention', 'q', q);
    const [N] = matrixShape('cachedAttention', 'cacheK', cacheK);
    writeCache(step, k, slots, cacheK);
    writeCache(step, v, slots, cacheV);
    const o = step.tensor('cachedAttention', [B, W]);
    step.run(attend, { D: W / H }, { q, k: cacheK, v: cacheV, firsts, slots, o }, { N, H, G, window, scale }, [B, H]);
    return { out: o, saved: null };
  },
  backward: null,
});
