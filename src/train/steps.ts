/** Small rules of the training loop. */
import { randomStream } from '../platform/random.ts';

/** Draws of the micro-step's dropout seed come from this stream of `train.seed`, one for each micro-batch. */
const DROPOUT_STREAM = 2 ** 40;

/** The seed of a micro-step's dropout masks. `step` is from 1, `microBatch` from 0. */
export function dropoutSeed(seed: number, step: number, microBatch: number): number {
  return randomStream(seed, DROPOUT_STREAM + step * 2 ** 12 + microBatch)();
}

/** Whether something that a strategy asks for is due after `step`. */
export function isDue(strategy: 'no' | 'steps' | 'epoch', every: number, step: number, endOfEpoch: boolean): boolean {
  if (strategy === 'no') return false;
  return strategy === 'steps' ? step % every === 0 : endOfEpoch;
}

/** Cuts rows into batches of `size`, the last one with what is left. */
export function* inBatches<T>(rows: readonly T[], size: number): Generator<readonly T[]> {
  for (let start = 0; start < rows.length; start += size) yield rows.slice(start, start + size);
}
