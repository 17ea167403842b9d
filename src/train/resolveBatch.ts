/** How a step's rows are split into batches: what `auto` means in `train.batch_size` and its neighbours. */
import type { Config } from './config.ts';

/** Rows at once and batches per optimizer step. */
export interface Batch {
  readonly batchSize: number;
  readonly accumulation: number;
}

/** A batch and whether layers are run again in the backward pass. */
export interface Split extends Batch {
  readonly checkpointing: boolean;
}

/** Rows at once that `auto` takes where no budget is known: few enough for short rows of a small model on any adapter. */
const AUTO_BATCH = 4;

/**
 * Replaces `auto` in `train.batch_size` and `train.gradient_accumulation_steps` so that their product is
 * `train.effective_batch_size`: exactly when both are `auto`, as near as whole numbers allow when one is given.
 */
export function resolveBatch(options: Config['train']): Batch {
  const [most] = possibleBatches(options);
  return possibleBatches(options).find(({ batchSize }) => batchSize <= AUTO_BATCH) ?? most;
}

/** The splits that a configuration allows, the largest batch first. */
function possibleBatches(options: Config['train']): readonly [Batch, ...Batch[]] {
  const { batch_size: batch, gradient_accumulation_steps: accumulation, effective_batch_size: effective } = options;
  if (batch !== 'auto') {
    return [{ batchSize: batch, accumulation: accumulation === 'auto' ? share(effective, batch) : accumulation }];
  }
  if (accumulation !== 'auto') return [{ batchSize: share(effective, accumulation), accumulation }];
  const smaller = splitsOf(effective).filter(({ batchSize }) => batchSize < effective);
  return [{ batchSize: effective, accumulation: 1 }, ...smaller];
}

/**
 * The largest batch that fits, without checkpointing where that is left to `auto`; with it only when not even the smallest
 * batch fits without. Where nothing fits, the smallest there is. `fits` is asked a few times only.
 */
export function chooseSplit(
  options: Config['train'],
  fits: (batchSize: number, checkpointing: boolean) => boolean,
): Split {
  const batches = possibleBatches(options);
  const asked = options.gradient_checkpointing;
  const ways = asked === 'auto' ? [false, true] : [asked];
  for (const checkpointing of ways) {
    // The larger the batch, the more it takes: halve the range of those that may fit.
    let [low, high] = [0, batches.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (fits(batches[middle]?.batchSize ?? 1, checkpointing)) high = middle;
      else low = middle + 1;
    }
    const best = batches[low];
    if (best) return { ...best, checkpointing };
  }
  const [first] = batches;
  return { ...(batches.at(-1) ?? first), checkpointing: ways.at(-1) ?? false };
}

/** The same rows per step in batches of half the size or, where that is no whole number, less. Null for a single row. */
export function halve({ batchSize, accumulation }: Batch): Batch | null {
  return splitsOf(batchSize * accumulation).find((split) => split.batchSize <= batchSize / 2) ?? null;
}

/** All ways to take `rows` rows in equal batches, the largest batch first. */
function splitsOf(rows: number): Batch[] {
  const sizes: number[] = [];
  for (let size = 1; size * size <= rows; size++) if (rows % size === 0) sizes.push(size, rows / size);
  sizes.sort((a, b) => b - a);
  return [...new Set(sizes)].map((batchSize) => ({ batchSize, accumulation: rows / batchSize }));
}

function share(effective: number, part: number): number {
  return Math.max(1, Math.round(effective / part));
}
