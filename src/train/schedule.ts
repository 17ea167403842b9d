/**
 * Learning rate by step, with the formulas and defaults of transformers 5 (`optimization.py`, `get_scheduler`).
 *
 * T: all optimizer steps. w: steps of warm-up, over which the rate rises from 0. p: progress, 0 after the warm-up and 1
 * at T. Where transformers has no default, ours: `cosine_with_min_lr` ends at a tenth of the learning rate,
 * `warmup_stable_decay` falls during the last tenth of the steps.
 */
import type { Config } from './config.ts';

export type ScheduleOptions = Pick<Config['train'], 'learning_rate' | 'lr_scheduler' | 'warmup_ratio' | 'warmup_steps'>;

/** Where `polynomial` ends; the learning rate must lie above it. */
export const POLYNOMIAL_END = 1e-7;
const MIN_RATE = 0.1;
const DECAY_SHARE = 0.1;

/** Steps of warm-up out of `totalSteps`: `warmup_steps` when above 0, else `warmup_ratio` rounded up to a step. */
export function warmupSteps(options: ScheduleOptions, totalSteps: number): number {
  return options.warmup_steps > 0 ? options.warmup_steps : Math.ceil(options.warmup_ratio * totalSteps);
}

/**
 * The learning rate of each optimizer step.
 *
 * @param totalSteps optimizer steps of the whole run.
 * @returns a function of the number of optimizer steps that were finished before: the first step has 0.
 */
export function createSchedule(options: ScheduleOptions, totalSteps: number): (step: number) => number {
  const factor = factors[options.lr_scheduler](totalSteps, warmupSteps(options, totalSteps), options.learning_rate);
  return (step) => options.learning_rate * factor(step);
}

/** What the learning rate is multiplied by at a step. */
type Factor = (step: number) => number;

/** Rises from 0 to 1 over `w` steps, then does as `then` says, which is given the progress from 0 to 1. */
function warmThen(T: number, w: number, then: (p: number, step: number) => number): Factor {
  return (step) => (step < w ? step / w : then((step - w) / Math.max(1, T - w), step));
}

function halfCosine(p: number): number {
  return 0.5 * (1 + Math.cos(Math.PI * p));
}

const factors: Record<ScheduleOptions['lr_scheduler'], (T: number, w: number, rate: number) => Factor> = {
  linear: (T, w) => warmThen(T, w, (_, step) => Math.max(0, (T - step) / Math.max(1, T - w))),
  cosine: (T, w) => warmThen(T, w, halfCosine),
  cosine_with_restarts: (T, w) => warmThen(T, w, (p) => (p >= 1 ? 0 : halfCosine(p))), // one cycle
  polynomial(T, w, rate) {
    return warmThen(T, w, (p) => (p > 1 ? POLYNOMIAL_END : (rate - POLYNOMIAL_END) * (1 - p) + POLYNOMIAL_END) / rate);
  },
  constant: () => () => 1,
  constant_with_warmup: (T, w) => warmThen(T, w, () => 1),
  inverse_sqrt(T, w) {
    const timescale = w || 10_000;
    return warmThen(T, w, (_, step) => 1 / Math.sqrt((step + timescale - w) / timescale));
  },
  cosine_with_min_lr: (T, w) => warmThen(T, w, (p) => halfCosine(p) * (1 - MIN_RATE) + MIN_RATE),
  warmup_stable_decay(T, w) {
    const decay = Math.ceil(DECAY_SHARE * T);
    const start = T - decay;
    return warmThen(T, w, (_, step) => (step < start ? 1 : step < T ? halfCosine((step - start) / decay) : 0));
  },
};
