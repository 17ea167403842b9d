/** How far apart the predictions of two models with one vocabulary are. */
import { SftError } from '../platform/errors.ts';
import { Generator } from './generator.ts';
import type { LanguageModel } from './languageModel.ts';

/** A text that any tokenizer cuts into a few dozen tokens: prose, numbers and code. */
const TEXT =
  'A farmer has 17 sheep and sells 9 of them. How many are left? He has 17 - 9 = 8 sheep left.\n' +
  'def area(radius):\n    return 3.14159 * radius ** 2\n\nThe capital of France is Paris, which lies on the Seine.';
const MOST_TOKENS = 48;

/** The logits of one model against those of another with the same vocabulary, over the positions of a sample text. */
export interface LogitDifference {
  /** Positions that were compared, of one sample text. */
  readonly positions: number;
  /** ‖difference‖ ÷ ‖logits‖ over all positions, and the largest difference of one logit. */
  readonly relative: number;
  readonly largest: number;
  /** Share of the positions at which both models predict the same token first. */
  readonly same_token: number;
}

/** The logits after each token of a sample text, the adapter of the model included. */
export async function sampleLogits(model: LanguageModel): Promise<Float32Array[]> {
  const ids = model.tokenizer.encode(TEXT).ids.slice(0, Math.min(MOST_TOKENS, model.model.maxLength));
  const adapters = model.model.lora !== null;
  const generator = await Generator.create(model.gpu, model.model, { capacity: model.model.maxLength, adapters });
  try {
    const logits: Float32Array[] = [];
    for (const [index, id] of ids.entries()) {
      const token = { lane: 0, id };
      logits.push(...(index === 0 ? await generator.prompt([{ lane: 0, ids: [id] }]) : await generator.step([token])));
    }
    return logits;
  } finally {
    generator.close();
  }
}

/** Compares what `sampleLogits` gave. Throws `MODEL` when the models do not have the same vocabulary. */
export function compareLogits(got: readonly Float32Array[], wanted: readonly Float32Array[]): LogitDifference {
  let [difference, norm, largest, same] = [0, 0, 0, 0];
  wanted.forEach((want, position) => {
    const have = got[position];
    if (have?.length !== want.length) {
      throw new SftError('MODEL', `logits: expected [${want.length}] at position ${position}, got [${have?.length}]`);
    }
    want.forEach((value, i) => {
      const off = Math.abs((have[i] as number) - value);
      difference += off ** 2;
      norm += value ** 2;
      largest = Math.max(largest, off);
    });
    same += topOf(have) === topOf(want) ? 1 : 0;
  });
  const positions = wanted.length;
  return { positions, relative: Math.sqrt(difference / norm), largest, same_token: same / positions };
}

function topOf(logits: Float32Array): number {
  return logits.reduce((best, value, i) => (value > (logits[best] as number) ? i : best), 0);
}
