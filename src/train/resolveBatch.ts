import type { Config } from './config.ts';

/** Rows at once and batches per optimizer step. */
export interface Batch {
  readonly batchSize: number;
  readonly accumulation: number;
}

/** Rows at once that `auto` takes at most: small enough for short rows of a small model on any adapter. */
const AUTO_BATCH = 4;

/**
 * Replaces `auto` in `train.batch_size` and `train.gradient_accumulation_steps` so that their product is
 * `train.effective_batch_size`: exactly when both are `auto`, as near as whole numbers allow when one is given.
 */
export function resolveBatch(options: Config['train']): Batch {
  const { batch_size: batch, gradient_accumulation_steps: accumulation, effective_batch_size: effective } = options;
  if (batch !== 'auto') {
    return { batchSize: batch, accumulation: accumulation === 'auto' ? share(effective, batch) : accumulation };
  }
  if (accumulation !== 'auto') return { batchSize: share(effective, accumulation), accumulation };
  let batchSize = Math.min(effective, AUTO_BATCH);
  while (effective % batchSize !== 0) batchSize--;
  return { batchSize, accumulation: effective / batchSize };
}

function share(effective: number, part: number): number {
  return Math.max(1, Math.round(effective / part));
}
