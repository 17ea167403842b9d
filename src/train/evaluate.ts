/** Loss of a loaded model on rows. */
import type { LabelledTokens } from '../data/labels.ts';
import type { LanguageModel } from '../eval/languageModel.ts';
import { SftError } from '../platform/errors.ts';
import { Engine, largestShape, shapeOf } from './engine.ts';
import { inBatches } from './steps.ts';

/** How well a model predicts rows. */
export interface Evaluation {
  /** Mean over all trained tokens. */
  readonly loss: number;
  /** e to the loss, which is in nats. */
  readonly perplexity: number;
  /** Tokens with a loss. */
  readonly tokens: number;
}

export interface EvaluateOptions {
  /** Rows that go through the model at once; 4 if left out. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal | undefined;
  /** Told how many rows are done. */
  readonly onProgress?: ((rows: number) => void) | undefined;
}

/**
 * Runs rows through a model, its adapter included. Throws `DATA` when there are none, and the signal's reason when it is aborted.
 */
export async function evaluate(
  model: LanguageModel,
  rows: readonly LabelledTokens[],
  { batchSize = 4, signal, onProgress }: EvaluateOptions = {},
): Promise<Evaluation> {
  if (rows.length === 0) throw new SftError('DATA', 'evaluate: expected at least one row, got none');
  const batches = [...inBatches(rows, batchSize)];
  const engine = lossEngine(model, batches);
  try {
    await engine.prepare(model.gpu);
    const total = { loss: 0, tokens: 0, rows: 0 };
    for (const batch of batches) {
      signal?.throwIfAborted();
      const { loss, tokens } = await engine.evaluate(model.gpu, [batch]);
      total.loss += loss;
      total.tokens += tokens;
      total.rows += batch.length;
      onProgress?.(total.rows);
    }
    const loss = total.loss / total.tokens;
    return { loss, perplexity: Math.exp(loss), tokens: total.tokens };
  } finally {
    engine.close(model.gpu);
  }
}

/** The loss of each token of a row, as `inspect --loss` shows it: null where the token is not trained. */
export async function tokenLosses(model: LanguageModel, row: LabelledTokens): Promise<(number | null)[]> {
  const engine = lossEngine(model, [[row]]);
  try {
    await engine.prepare(model.gpu);
    return spreadLosses(row, await engine.tokenLosses(model.gpu, [row]));
  } finally {
    engine.close(model.gpu);
  }
}

/** The losses of the trained tokens of a row at the places of these tokens, null elsewhere. */
export function spreadLosses({ labels }: LabelledTokens, losses: Float32Array): (number | null)[] {
  let next = 0;
  return Array.from(labels, (label, t) => (t > 0 && label >= 0 ? (losses[next++] ?? null) : null));
}

function lossEngine({ model, gpu }: LanguageModel, batches: readonly (readonly LabelledTokens[])[]): Engine {
  const evalShape = largestShape(batches.map(shapeOf));
  return new Engine(model, gpu, { maxGradNorm: 0, checkpointing: false, trainShape: null, evalShape });
}
