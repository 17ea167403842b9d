/** An evaluation as a configuration asks for it: answers of the model by their metrics, and its loss. */
import type { PromptRow } from '../data/promptRows.ts';
import type { Split } from '../data/split.ts';
import type { TokenizedRow } from '../data/tokenize.ts';
import { type AnsweredRow, type AnswerRowsOptions, answerRows, checkRoom } from '../eval/answerRows.ts';
import type { LanguageModel } from '../eval/languageModel.ts';
import { ANSWER_METRICS, type AnswerMetric, type Schemas } from '../eval/metrics/metrics.ts';
import { compileJsonSchema, type JsonSchema } from '../eval/metrics/schemaJson.ts';
import { compileRegex } from '../eval/metrics/schemaRegex.ts';
import type { ModelText } from '../eval/modelText.ts';
import { SftError } from '../platform/errors.ts';
import type { Config } from './config.ts';
import { evaluate } from './evaluate.ts';
import { asWrong } from './namedFiles.ts';
import { openPrompts, openRows, type ReadOptions } from './openRows.ts';
import { readWhole } from './readWhole.ts';

/** What is computed. */
export interface EvalPlan {
  readonly answers: readonly AnswerMetric[];
  /** Loss and perplexity too. */
  readonly loss: boolean;
  readonly schemas: Schemas;
}

/** The rows of an evaluation: prompts where answers are asked for, tokens where a loss is. */
export interface EvalData {
  readonly prompts: readonly PromptRow[];
  readonly rows: readonly TokenizedRow[];
}

/** Metrics of a model, and the answers that they are of. */
export interface Measured {
  /** By the names of `metrics.json`. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly examples: readonly AnsweredRow[];
}

export interface MeasureOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told how many rows have their loss, or their answer. */
  readonly onProgress?: ((doing: 'loss' | 'answers', done: number, total: number) => void) | undefined;
}

/** What `eval.metrics` asks for. Reads the JSON schema. Throws `CONFIG` for one that cannot be read or does not compile. */
export async function openEvalPlan(config: Config): Promise<EvalPlan> {
  const { metrics, schema } = config.eval;
  const answers = metrics.flatMap((name): AnswerMetric[] => {
    if (name === 'loss') return [];
    if (name !== 'schema') return [name];
    return [
      ...(schema.regex === null ? [] : ['schema_regex' as const]),
      ...(schema.json_schema === null ? [] : ['schema_json' as const]),
    ];
  });
  const regex = schema.regex === null ? null : compileRegex(schema.regex);
  const schemas = { regex, json: await openJsonSchema(config) };
  return { answers: [...new Set(answers)], loss: metrics.includes('loss'), schemas };
}

/** The schema that `eval.schema.json_schema` names. Throws `CONFIG`. */
export async function openJsonSchema(config: Config): Promise<JsonSchema | null> {
  const path = config.eval.schema.json_schema;
  if (path === null) return null;
  const key = 'eval.schema.json_schema';
  const text = await readWhole(path).catch((cause: unknown) => {
    throw asWrong(cause, 'CONFIG', key, 'name a file that holds a JSON schema');
  });
  return compileJsonSchema(text, `${key}: ${path}`);
}

/** Reads the rows of a split for a plan. Throws `CONFIG` where none are named, `DATA`, `TEMPLATE`. */
export async function openEvalData(
  config: Config,
  split: Split,
  { answers, loss }: EvalPlan,
  text: ModelText,
  options: ReadOptions = {},
): Promise<EvalData> {
  const prompts = answers.length > 0 ? await openPrompts(config, split, text, options) : [];
  const dataset = loss ? await openRows(config, split, text, options) : { rows: [] };
  if (prompts && dataset) return { prompts, rows: dataset.rows };
  throw new SftError('CONFIG', `data.${split}_path: expected a file of rows, got null`, {
    hint: 'choose another --split',
  });
}

/** Tokens that a model must have room for, so that no answer is cut short. */
export function evalLength({ prompts, rows }: EvalData, { generation }: Config): number {
  const maxNewTokens = generation.max_new_tokens;
  const lengths = [...prompts.map(({ ids }) => ids.length + maxNewTokens), ...rows.map((row) => row.inputIds.length)];
  return lengths.reduce((most, length) => Math.max(most, length), 1);
}

/**
 * How answers are made that are compared: greedily, whatever `generation.temperature` says, so that an evaluation can be repeated.
 * Length, repetition penalty and stop texts are those of `generation`.
 */
export function answerOptions({ generation }: Config): AnswerRowsOptions {
  const { max_new_tokens: maxNewTokens, repetition_penalty: repetitionPenalty, stop } = generation;
  return { maxNewTokens, repetitionPenalty, stop };
}

/**
 * Asks the model and computes what the plan says. Throws `DATA` for a prompt that the model has no room for, and the signal's
 * reason when it is aborted.
 */
export async function measure(
  model: LanguageModel,
  { prompts, rows }: EvalData,
  plan: EvalPlan,
  config: Config,
  { signal, onProgress }: MeasureOptions = {},
): Promise<Measured> {
  checkRoom(prompts, model.model.maxLength);
  const loss = plan.loss
    ? await evaluate(model, rows, { signal, onProgress: (done) => onProgress?.('loss', done, rows.length) })
    : null;
  const examples = await answerRows(model, prompts, {
    ...answerOptions(config),
    signal,
    onProgress: (done) => onProgress?.('answers', done, prompts.length),
  });
  const scores = plan.answers.map((name) => [name, ANSWER_METRICS[name](examples, plan.schemas)] as const);
  const metrics = { ...Object.fromEntries(scores), ...(loss && { loss: loss.loss, perplexity: loss.perplexity }) };
  return { metrics, examples };
}
