/**
 * AdamW with decoupled weight decay, on a chunk of parameters.
 *
 *     g ← clip · g        p ← p · (1 − lr · λ)        m ← β1·m + (1−β1)·g        v ← β2·v + (1−β2)·g²
 *     p ← p − lr / (1−β1ᵗ) · m / (√v / √(1−β2ᵗ) + eps)
 *
 * p, g, m, v: f32 of one length. clip: [2] f32, the second element being the factor; where that is 0, nothing changes.
 * hyper: [8] f32 = (lr · λ, β1, 1−β1, β2, 1−β2, eps, lr / (1−β1ᵗ), √(1−β2ᵗ)), written by the host before each step: nothing
 * that changes is part of the program. The host computes them in float64, as 1 − β2 loses five digits in f32. `decay` 0
 * leaves λ out (biases and norm weights).
 * Source: Loshchilov & Hutter 2019, arXiv:1711.05101; order as torch.optim.AdamW.
 */
import { bytesOf, defineKernel, type Step, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

const kernel = defineKernel({
  name: 'adamW',
  uniforms: { count: 'u32', decay: 'f32' },
  reads: () => ({ g: 'f32', clip: 'f32', hyper: 'f32' }),
  writes: () => ({ p: 'f32', m: 'f32', v: 'f32' }),
  source: () => wgsl`
${main(64)} {
  let i = (${linear}) * 64u + lane;
  if (i >= u.count || clip[1] == 0.0) { return; }
  let gradient = g[i] * clip[1];
  let first = hyper[1] * m[i] + hyper[2] * gradient;
  let second = hyper[3] * v[i] + hyper[4] * gradient * gradient;
  m[i] = first;
  v[i] = second;
  p[i] = p[i] * (1.0 - hyper[0] * u.decay) - hyper[6] * first / (sqrt(second) / hyper[7] + hyper[5]);
}`,
});

export interface AdamWTensors {
  readonly p: Tensor;
  readonly g: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  readonly clip: Tensor;
  readonly hyper: Tensor;
}

/** Appends the update of one chunk. */
export function adamW(step: Step, tensors: AdamWTensors, decay: boolean): void {
  const count = bytesOf(tensors.p) / 4;
  step.run(kernel, {}, { ...tensors }, { count, decay: decay ? 1 : 0 }, [Math.ceil(count / 64)]);
}

/** The contents of `hyper` for optimizer step `t` (from 1). */
export function adamWHyper(options: {
  t: number;
  learningRate: number;
  weightDecay: number;
  beta1: number;
  beta2: number;
  epsilon: number;
}): Float32Array<ArrayBuffer> {
  const { t, learningRate, weightDecay, beta1, beta2, epsilon } = options;
  const moments = [beta1, 1 - beta1, beta2, 1 - beta2, epsilon];
  return new Float32Array([
    learningRate * weightDecay,
    ...moments,
    learningRate / (1 - beta1 ** t),
    Math.sqrt(1 - beta2 ** t),
  ]);
}
