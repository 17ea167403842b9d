/** What a run says about a few fixed rows while it goes on: for pages that show it. */
import { countTrained, type LabelledTokens } from '../data/labels.ts';
import { LanguageModel } from '../eval/languageModel.ts';
import type { ModelText } from '../eval/modelText.ts';
import type { Gpu } from '../gpu/device.ts';
import { spreadLosses } from './evaluate.ts';
import type { SampleEvent } from './events.ts';
import type { Trainer } from './trainer.ts';

/** Rows that are answered and whose tokens are shown. */
const ROWS = 3;
/** An answer has room for somewhat more than what is expected, within this. */
const MOST_NEW_TOKENS = 128;

/** A row, and its number in its data. */
export type SampledRow = LabelledTokens & { readonly row: number };

/** Answers the prompts of the first rows, greedily, and takes the loss of each of their tokens, with the weights of this moment. */
export async function sampleRows(
  gpu: Gpu,
  trainer: Trainer,
  text: ModelText,
  rows: readonly SampledRow[],
  step: number,
): Promise<SampleEvent> {
  const chosen = rows.filter((row) => countTrained(row) > 0).slice(0, ROWS);
  const { tokenizer } = text;
  const firsts = chosen.map(({ labels }) => labels.findIndex((label) => label >= 0));
  const expected = chosen.map(({ inputIds, labels }) => [...inputIds].filter((_, t) => (labels[t] ?? -1) >= 0));
  const readable = (ids: readonly number[]) => tokenizer.decode([...ids], { skipSpecialTokens: true });
  // A row of which all is trained, such as a document, has no prompt to answer.
  const prompts = chosen.map(({ inputIds }, index) => [...inputIds.subarray(0, firsts[index])]);
  const asked = prompts.flatMap((ids, index) => (ids.length > 1 ? [{ ids, index }] : []));
  const answers: string[] = chosen.map(() => '');
  const model = LanguageModel.over(gpu, trainer.model, text);
  try {
    const longest = Math.max(1, ...expected.map(({ length }) => length + 8));
    const questions = asked.map(({ ids }) => ids);
    const options = { maxNewTokens: Math.min(MOST_NEW_TOKENS, longest) };
    for await (const { index, text: answer } of model.completions(questions, options)) {
      answers[asked[index]?.index ?? 0] = answer;
    }
  } finally {
    await model.close();
  }
  const losses: (number | null)[][] = [];
  for (const row of chosen) losses.push(spreadLosses(row, await trainer.tokenLosses(row)));
  return {
    type: 'sample',
    step,
    answers: asked.map(({ ids, index }) => ({
      prompt: readable(ids),
      answer: answers[index] ?? '',
      reference: readable(expected[index] ?? []),
    })),
    rows: chosen.map(({ row, inputIds }, index) => ({
      row,
      tokens: [...inputIds].map((id) => tokenizer.decode([id])),
      losses: losses[index] ?? [],
    })),
  };
}
