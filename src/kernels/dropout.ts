/**
 * The dropout mask as a function of position, so that the backward pass and a resumed run see the same one.
 *
 * `keep(i) = 0` with probability p, else `1 / (1 - p)`, from a hash of (seed of the micro-step, stream of the module, i).
 * Hash: PCG-RXS-M-XS-32, O'Neill 2014, as recommended for GPUs by Jarzynski & Olano 2020 (JCGT 9/3).
 */

/** Declares `keep`. The kernel binds `seed: array<u32>` and has uniforms `stream: u32`, `threshold: u32`, `keepScale: f32`. */
export const keepFunction = `
fn pcg(x: u32) -> u32 {
  let state = x * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (word >> 22u) ^ word;
}
fn keep(index: u32) -> f32 {
  let key = pcg(seed[0] + u.stream * 2654435769u);
  return select(0.0, u.keepScale, pcg(index ^ key) >= u.threshold);
}`;

export interface Dropout {
  /** Probability of zeroing an element, 0 < p < 1. */
  readonly p: number;
  /** Tells modules apart that share a seed. */
  readonly stream: number;
}

export function dropoutUniforms(dropout: Dropout | null): { stream: number; threshold: number; keepScale: number } {
  if (!dropout) return { stream: 0, threshold: 0, keepScale: 1 };
  return { stream: dropout.stream, threshold: Math.round(dropout.p * 2 ** 32), keepScale: 1 / (1 - dropout.p) };
}
