/**
 * Vocabulary head and cross-entropy in one, in chunks of rows, so that all logits are never in memory at once.
 *
 *     z = x · Wᵀ        losses[i] = log Σ_v exp z[i, v] − z[i, targets[i]], or 0 where targets[i] is no token (padding)
 *     g = scale · (softmax(z) − onehot(targets))        dx = g · W        dW += gᵀ · x
 *
 * x: [R, C] f32 or f16. W: [V, C] f32, f16, bf16, nf4 or i8, possibly split by rows. targets: [R] u32. scale: [1] f32, 1 ÷ the
 * trained tokens of the optimizer step, so that any split into micro-batches gives the same gradient. losses: [R] f32, not
 * scaled. `total` [1] f32 is added Σ_i losses[i]. Logits and sums are f32; the maximum is subtracted before exp.
 *
 * In training everything happens in the backward pass: a chunk's logits become its gradient in place and are used up before
 * the next chunk. Idea: Hsu et al. 2024, Liger Kernel, arXiv:2410.10989.
 */

import { invariant } from '../platform/errors.ts';
import {
  defineKernel,
  defineOp,
  expectShape,
  matrixShape,
  parameterGradient,
  type Step,
  shardsOf,
  type Tensor,
} from './define.ts';
import { matmul } from './matmul.ts';
import { linear, main, reductions, rowLanes, wgsl } from './wgsl.ts';

/** Bytes of logits that may be in memory at once, and the fewest rows of a chunk (a product needs some to be fast). */
const CHUNK_BYTES = 64 * 2 ** 20;
const CHUNK_ROWS = 32;

const crossEntropy = defineKernel({
  name: 'linearCrossEntropy.rows',
  uniforms: { rows: 'u32', V: 'u32', first: 'u32' },
  reads: (v: { gradient: boolean }) => ({ targets: 'u32', ...(v.gradient && { scale: 'f32' }) }),
  writes: () => ({ z: 'f32', losses: 'f32' }),
  source: ({ gradient }, traits) => wgsl`
${reductions(traits, 'Add', 'Max')}
${main(rowLanes(traits))} {
  let i = ${linear};
  let row = min(i, u.rows - 1u) * u.V;
  var top = -3.0e38;
  for (var v = lane; v < u.V; v += ${rowLanes(traits)}u) { top = max(top, z[row + v]); }
  top = reduceMax(top, lane);
  var sum = 0.0;
  for (var v = lane; v < u.V; v += ${rowLanes(traits)}u) { sum += exp(z[row + v] - top); }
  sum = reduceAdd(sum, lane);
  if (i >= u.rows) { return; }
  let token = targets[u.first + i];
  let trained = token < u.V;
  // The invocation that will overwrite the target's logit is the one that reads it.
  if (lane == select(0u, token % ${rowLanes(traits)}u, trained)) {
    losses[u.first + i] = select(0.0, log(sum) + top - z[row + min(token, u.V - 1u)], trained);
  }
  #if ${gradient}
  let factor = select(0.0, scale[0], trained);
  for (var v = lane; v < u.V; v += ${rowLanes(traits)}u) {
    z[row + v] = factor * (exp(z[row + v] - top) / sum - select(0.0, 1.0, v == token));
  }
  #endif
}`,
});

const addLosses = defineKernel({
  name: 'linearCrossEntropy.total',
  uniforms: { R: 'u32' },
  reads: () => ({ losses: 'f32' }),
  writes: () => ({ total: 'f32' }),
  source: (_: object, traits) => wgsl`
${reductions(traits, 'Add')}
${main(rowLanes(traits))} {
  var sum = 0.0;
  for (var i = lane; i < u.R; i += ${rowLanes(traits)}u) { sum += losses[i]; }
  sum = reduceAdd(sum, lane);
  if (lane == 0u) { total[0] += sum; }
}`,
});

interface Saved {
  readonly x: Tensor;
  readonly w: Tensor;
  readonly targets: Tensor;
  readonly scale: Tensor;
  readonly total: Tensor;
  readonly losses: Tensor;
}

/** Rows of a chunk for `R` rows and a vocabulary of `V`. */
export function chunkRows(R: number, V: number, bindingBytes: number): number {
  const limit = Math.min(CHUNK_BYTES, bindingBytes);
  const fitting = Math.max(CHUNK_ROWS, 2 ** Math.floor(Math.log2(limit / (V * 4))));
  return Math.max(1, Math.min(R, fitting, Math.floor(bindingBytes / (V * 4))));
}

function run(step: Step, { x, w, targets, scale, total, losses }: Saved, dx: Tensor | null, dw: Tensor | null): void {
  const [R, C] = matrixShape('linearCrossEntropy', 'x', x);
  const [V] = matrixShape('linearCrossEntropy', 'w', w);
  const gradient = dx !== null || dw !== null;
  const chunk = chunkRows(R, V, step.traits.limits.bindingBytes);
  for (let first = 0; first < R; first += chunk) {
    const rows = Math.min(chunk, R - first);
    const z = step.tensor('logits', [rows, V], { category: 'logits' });
    const part = { tensor: x, offset: first * C };
    for (const shard of shardsOf(w)) {
      matmul(step, {
        m: rows,
        n: shard.rows,
        k: C,
        a: part,
        b: { tensor: shard.tensor, first: shard.start },
        c: { tensor: z, offset: shard.start, stride: V },
      });
    }
    step.run(crossEntropy, { gradient }, { targets, scale, z, losses }, { rows, V, first }, [rows]);
    if (dx) {
      shardsOf(w).forEach((shard, index) => {
        const a = { tensor: z, offset: shard.start, stride: V };
        const b = { tensor: shard.tensor, layout: 'kn', first: shard.start } as const;
        matmul(step, {
          m: rows,
          n: C,
          k: shard.rows,
          a,
          b,
          c: { tensor: dx, offset: first * C },
          accumulate: index === 0 ? 0 : 1,
        });
      });
    }
    for (const shard of dw ? shardsOf(dw) : []) {
      const a = { tensor: z, layout: 'km', offset: shard.start, stride: V } as const;
      matmul(step, {
        m: shard.rows,
        n: C,
        k: rows,
        a,
        b: { ...part, layout: 'kn', stride: C },
        c: { tensor: shard.tensor },
        accumulate: 1,
      });
    }
  }
  step.run(addLosses, {}, { losses, total }, { R }, [1]);
}

/**
 * Cross-entropy of logits x · wᵀ, in chunks of rows: x [R, C], w [V, C], `targets` [R] u32 → [R], in nats; 0 for a target
 * that is no token. The gradient is that of scale · Σ losses, with `scale` [1]; `total` [1] is added Σ losses. With
 * `training` the losses are there only after the backward pass. Source: arXiv:2410.10989.
 */
export const linearCrossEntropy = defineOp({
  name: 'linearCrossEntropy',
  check(
    { x, w, targets }: { x: Tensor; w: Tensor; targets: Tensor; scale: Tensor; total: Tensor },
    _: { losses: Tensor | null; training: boolean },
  ) {
    const [R, C] = matrixShape('linearCrossEntropy', 'x', x);
    const [V] = matrixShape('linearCrossEntropy', 'w', w);
    expectShape('linearCrossEntropy', 'w', w, [V, C], 'to match x');
    expectShape('linearCrossEntropy', 'targets', targets, [R], 'to match x');
  },
  /** `losses` receives the loss of each row where given; with `training` the work is left to the backward pass. */
  forward(step, { x, w, targets, scale, total }, attributes) {
    const losses = attributes.losses ?? step.tensor('losses', [x.shape[0] ?? 0]);
    const saved = { x, w, targets, scale, total, losses };
    if (!attributes.training) run(step, saved, null, null);
    return { out: losses, saved };
  },
  backward(step, saved, _dOut, gradients) {
    const dw = parameterGradient(gradients.into('w'));
    const dx = gradients.into('x');
    invariant(!dx?.accumulate, 'linearCrossEntropy writes its gradient: x must have no other use');
    run(step, saved, dx?.tensor ?? null, dw);
  },
});
