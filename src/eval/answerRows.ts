/** Answers to the prompts of rows, beside what was expected. */
import type { PromptRow } from '../data/promptRows.ts';
import { SftError } from '../platform/errors.ts';
import type { AnswerOptions, LanguageModel } from './languageModel.ts';
import type { Example } from './metrics/example.ts';

/** A line of `examples.jsonl`. */
export interface AnsweredRow extends Example {
  readonly row: number;
  readonly prompt: string;
}

export interface AnswerRowsOptions
  extends Pick<AnswerOptions, 'maxNewTokens' | 'repetitionPenalty' | 'stop' | 'signal'> {
  /** Told with each answer how many there are. */
  readonly onProgress?: ((answered: number) => void) | undefined;
}

/**
 * Answers every row, greedily, in the order of the rows. Throws `DATA` for a prompt that the model has no room for, before the first
 * answer, and the signal's reason when it is aborted.
 */
export async function answerRows(
  model: LanguageModel,
  rows: readonly PromptRow[],
  { onProgress, ...options }: AnswerRowsOptions = {},
): Promise<AnsweredRow[]> {
  checkRoom(rows, model.model.maxLength);
  const predictions: string[] = [];
  let answered = 0;
  for await (const { index, text } of model.completions(
    rows.map(({ ids }) => ids),
    options,
  )) {
    predictions[index] = text;
    answered += 1;
    onProgress?.(answered);
  }
  options.signal?.throwIfAborted();
  return rows.map(({ row, prompt, source, reference }, index) => ({
    row,
    prompt,
    source,
    prediction: predictions[index] ?? '',
    reference,
  }));
}

/** Every prompt must leave room for a token of its answer. Throws `DATA`. */
export function checkRoom(rows: readonly PromptRow[], maxLength: number): void {
  const wrong = rows.find(({ ids }) => ids.length === 0 || ids.length >= maxLength);
  if (!wrong) return;
  throw new SftError(
    'DATA',
    `${wrong.where}: expected a prompt of 1 to ${maxLength - 1} tokens, got ${wrong.ids.length}`,
    { hint: wrong.ids.length === 0 ? 'give the row a prompt' : 'shorten the prompt, or leave the row out' },
  );
}
