/** Answers to validation rows while a run goes on, where they decide which checkpoint is the best. */
import type { PromptRow } from '../data/promptRows.ts';
import { answerRows, checkRoom } from '../eval/answerRows.ts';
import { LanguageModel } from '../eval/languageModel.ts';
import { ANSWER_METRICS, type AnswerMetric } from '../eval/metrics/metrics.ts';
import type { ModelText } from '../eval/modelText.ts';
import type { Gpu } from '../gpu/device.ts';
import type { Model } from '../model/model.ts';
import type { Config } from './config.ts';
import { answerOptions, type EvalPlan, openEvalPlan } from './evaluation.ts';
import type { EvalMetrics } from './events.ts';
import { openPrompts, type ReadOptions } from './openRows.ts';

/** What is asked, and what of the answers is computed. */
export interface AnswerScores {
  readonly prompts: readonly PromptRow[];
  readonly plan: EvalPlan;
}

/** The metric of answers by which checkpoints are compared; null where it is the loss. */
export function bestAnswerMetric({ train }: Config): AnswerMetric | null {
  const name = train.metric_for_best_model.replace(/^eval_/, '');
  return Object.hasOwn(ANSWER_METRICS, name) ? (name as AnswerMetric) : null;
}

/**
 * The first `eval.limit` validation rows as prompts, and the metrics of `eval.metrics` with the one that decides; null where none
 * does. Throws `CONFIG`, `TEMPLATE`, and `DATA` for rows without an answer and for prompts that fill `model.max_seq_len`.
 */
export async function openAnswerScores(
  config: Config,
  text: ModelText,
  options: ReadOptions = {},
): Promise<AnswerScores | null> {
  const best = bestAnswerMetric(config);
  if (best === null) return null;
  const plan = await openEvalPlan(config);
  const limit = config.eval.limit ?? undefined;
  const prompts = (await openPrompts(config, 'val', text, { ...options, limit })) ?? [];
  checkRoom(prompts, config.model.max_seq_len);
  return { prompts, plan: { ...plan, answers: [...new Set([...plan.answers, best])] } };
}

/** Answers the prompts with the weights of this moment. */
export async function scoreAnswers(
  gpu: Gpu,
  model: Model,
  text: ModelText,
  { prompts, plan }: AnswerScores,
  config: Config,
): Promise<EvalMetrics> {
  const talking = LanguageModel.over(gpu, model, text);
  try {
    const examples = await answerRows(talking, prompts, answerOptions(config));
    const scores = plan.answers.map((name) => [`eval_${name}`, ANSWER_METRICS[name](examples, plan.schemas)] as const);
    return Object.fromEntries(scores) as EvalMetrics;
  } finally {
    await talking.close();
  }
}
