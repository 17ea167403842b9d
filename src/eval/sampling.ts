/**
 * The next token from logits, with the definitions of transformers (`generation/logits_process.py`), in its order:
 * repetition penalty, temperature, top-k, top-p.
 */
import { randomStream } from '../platform/random.ts';

/** How the next token is drawn from logits, by the names and definitions of transformers. */
export interface SamplingOptions {
  /** 0 takes the likeliest token. */
  readonly temperature: number;
  /** Likeliest tokens that are sampled from; 0 for all. */
  readonly topK: number;
  /** Probability that the sampled tokens must cover; 1 for all. */
  readonly topP: number;
  /** Factor against tokens that were used; 1 for none. */
  readonly repetitionPenalty: number;
  /** Of the random numbers: the same seed draws the same tokens from the same logits. */
  readonly seed: number;
}

export const GREEDY: SamplingOptions = { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1, seed: 0 };

/** Index of the largest value, the first of equal ones. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

/** Logits of tokens that were used are divided by the penalty where positive and multiplied where negative. */
function penalize(logits: Float32Array, used: Iterable<number>, penalty: number): void {
  if (penalty === 1) return;
  for (const id of new Set(used)) {
    const value = logits[id];
    if (value !== undefined) logits[id] = value < 0 ? value * penalty : value / penalty;
  }
}

export class Sampler {
  private readonly options: SamplingOptions;
  private readonly next: () => number;

  constructor(options: SamplingOptions) {
    this.options = options;
    this.next = randomStream(options.seed, 0);
  }

  /** Picks a token. `logits` may be changed; `used` are the ids so far, the prompt included. */
  pick(logits: Float32Array, used: Iterable<number>): number {
    const { ids, weights } = distribution(logits, used, this.options);
    let left = (this.next() / 2 ** 32) * weights.reduce((sum, weight) => sum + weight, 0);
    const drawn = weights.findIndex((weight) => {
      left -= weight;
      return left < 0;
    });
    return (drawn === -1 ? ids.at(-1) : ids[drawn]) as number;
  }
}

/** The tokens that may come next, the likeliest first, and how likely they are to each other. `logits` may be changed. */
export function distribution(
  logits: Float32Array,
  used: Iterable<number>,
  { temperature, topK, topP, repetitionPenalty }: SamplingOptions,
): { ids: readonly number[]; weights: readonly number[] } {
  penalize(logits, used, repetitionPenalty);
  if (temperature === 0) return { ids: [argmax(logits)], weights: [1] };
  const ids = candidates(logits, topK);
  const top = logits[ids[0] as number] as number;
  const weights = ids.map((id) => Math.exp(((logits[id] as number) - top) / temperature));
  const kept = nucleus(weights, topP);
  return { ids: ids.slice(0, kept), weights: weights.slice(0, kept) };
}

/** Ids by falling logit: all of them, or those not below the k-th. */
function candidates(logits: Float32Array, topK: number): number[] {
  const byLogit = (a: number, b: number) => (logits[b] as number) - (logits[a] as number) || a - b;
  if (topK <= 0 || topK >= logits.length) return Array.from(logits, (_, id) => id).sort(byLogit);
  const threshold = Float32Array.from(logits).sort()[logits.length - topK] as number;
  const ids: number[] = [];
  logits.forEach((value, id) => {
    if (value >= threshold) ids.push(id);
  });
  return ids.sort(byLogit);
}

/** How many of the first weights are needed so that they cover the share `topP`; at least one. */
function nucleus(weights: readonly number[], topP: number): number {
  if (topP >= 1) return weights.length;
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let covered = 0;
  for (let i = 0; i < weights.length; i++) {
    covered += (weights[i] as number) / total;
    if (covered >= topP) return i + 1;
  }
  return weights.length;
}
