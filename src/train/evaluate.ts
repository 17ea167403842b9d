/** Loss of a loaded model on rows. */
import type { LabelledTokens } from '../data/labels.ts';
import type { LanguageModel } from '../eval/languageModel.ts';
import { SftError } from '../platform/errors.ts';
import { Engine, largestShape, shapeOf } from './engine.ts';

export interface Evaluation {
  /** Mean over all trained tokens. */
  readonly loss: number;
  readonly perplexity: number;
  /** Tokens with a loss. */
  readonly tokens: number;
}

/** Runs rows through a model, its adapter included, `batchSize` at a time. Throws `DATA` when there are none. */
export async function evaluate(
  model: LanguageModel,
  rows: readonly LabelledTokens[],
  batchSize = 4,
): Promise<Evaluation> {
  if (rows.length === 0) throw new SftError('DATA', 'evaluate: expected at least one row, got none');
  const batches = Array.from({ length: Math.ceil(rows.length / batchSize) }, (_, n) =>
    rows.slice(n * batchSize, (n + 1) * batchSize),
  );
  const engine = lossEngine(model, batches);
  try {
    await engine.prepare(model.gpu);
    const { loss, tokens } = await engine.evaluate(model.gpu, batches);
    return { loss: loss / tokens, perplexity: Math.exp(loss / tokens), tokens };
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
