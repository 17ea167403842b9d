/** What must fit together across keys, and what this version does not do yet. */
import { parsePromptTemplate } from '../data/promptTemplate.ts';
import { compileRegex } from '../eval/metrics/schemaRegex.ts';
import { SftError } from '../platform/errors.ts';
import type { Config } from './config.ts';
import { BACKEND_ALIASES } from './config.ts';
import { POLYNOMIAL_END } from './schedule.ts';

/** A value that is in the schema because it will work, and is refused until it does. Refused, never ignored. */
export interface NotYet {
  readonly key: string;
  /** The values, for the docs. */
  readonly value: string;
  readonly refused: (config: Config) => boolean;
  /** Completes "this version …". */
  readonly reason: string;
  readonly instead: string;
}

export const NOT_YET: readonly NotYet[] = [
  {
    key: 'tuning.lora.use_dora',
    value: 'true',
    refused: ({ tuning }) => tuning.lora.use_dora,
    reason: 'does not train DoRA magnitudes',
    instead: 'set tuning.lora.use_dora: false',
  },
  {
    key: 'tuning.lora.modules_to_save',
    value: 'any module',
    refused: ({ tuning }) => tuning.lora.modules_to_save.length > 0,
    reason: 'does not train whole modules beside adapters',
    instead: 'set tuning.lora.modules_to_save: [] or name the modules in tuning.lora.target_modules',
  },
  {
    key: 'tuning.lora.bias',
    value: 'all, lora_only',
    refused: ({ tuning }) => tuning.lora.bias !== 'none',
    reason: 'does not train bias vectors beside adapters',
    instead: 'set tuning.lora.bias: none',
  },
  {
    key: 'model.type',
    value: 'seq2seq',
    refused: ({ model }) => model.type !== 'causal',
    reason: 'does not train encoder-decoder models',
    instead: 'set model.type: causal',
  },
  {
    key: 'devices',
    value: 'more than one',
    refused: ({ devices }) => devices !== 'auto' && devices.length > 1,
    reason: 'trains on one adapter',
    instead: 'name one adapter in devices',
  },
  ...(['microbatches', 'split'] as const).map((name) => ({
    key: `pipeline.${name}`,
    value: 'any but auto',
    refused: ({ pipeline }: Config) => pipeline[name] !== 'auto',
    reason: 'trains on one adapter',
    instead: `remove pipeline.${name}`,
  })),
];

/** A finding across keys: which key to look at, what is wrong, what to do. */
export interface Finding {
  readonly key: string;
  readonly message: string;
  readonly hint: string;
}

/** The value of a key as a file or a flag gave it, undefined when none did. */
export type Written = (key: string) => unknown;

/** Keys that are right one by one and wrong together. */
export function contradictions(config: Config, written: Written): Finding[] {
  const { train, tuning } = config;
  const findings: Finding[] = [];
  if (train.early_stopping_patience !== null && train.eval_strategy === 'no') {
    findings.push({
      key: 'train.early_stopping_patience',
      message: `expected null while train.eval_strategy is no, got ${train.early_stopping_patience}`,
      hint: 'set train.eval_strategy: epoch',
    });
  }
  const mismatch = bestModelMismatch(config);
  if (mismatch !== undefined && written('train.load_best_model_at_end') === true) {
    findings.push({
      key: 'train.load_best_model_at_end',
      message: `expected ${mismatch}`,
      hint: 'evaluate when you save, or set train.load_best_model_at_end: false',
    });
  }
  if (tuning.mode === 'full' && tuning.quantization.type === 'int8') {
    findings.push({
      key: 'tuning.quantization.type',
      message: 'expected no quantisation while tuning.mode is full, got int8',
      hint: 'set tuning.mode: lora, or remove tuning.quantization',
    });
  }
  if (train.lr_scheduler === 'polynomial' && train.learning_rate <= POLYNOMIAL_END) {
    findings.push({
      key: 'train.learning_rate',
      message: `expected a number above ${POLYNOMIAL_END}, where polynomial ends, got ${train.learning_rate}`,
      hint: 'raise it, or set train.lr_scheduler: linear',
    });
  }
  return [...findings, ...templateFindings(config), ...documentFindings(config), ...schemaFindings(config)];
}

/** A template that is wrong is found before any row is read. */
function templateFindings({ data: { prompt_template: template, format } }: Config): Finding[] {
  const key = 'data.prompt_template';
  if (template === null) return [];
  if (format === 'documents') {
    const hint = 'remove data.prompt_template, or keep documents and other rows in runs of their own';
    return [{ key, message: 'expected null while data.format is documents, got a template', hint }];
  }
  try {
    parsePromptTemplate(template);
    return [];
  } catch (error) {
    if (!(error instanceof SftError)) throw error;
    return [{ key, message: error.message.slice(`${key}: `.length), hint: error.hint ?? '' }];
  }
}

/** Answers can only comply with what there is, and a regular expression is looked at before a model is loaded for it. */
function schemaFindings({ eval: { metrics, schema }, train: { metric_for_best_model: best } }: Config): Finding[] {
  const { regex, json_schema } = schema;
  const findings: Finding[] = [];
  if (metrics.includes('schema') && regex === null && json_schema === null) {
    findings.push({
      key: 'eval.metrics',
      message: 'expected eval.schema.regex or eval.schema.json_schema beside schema, got neither',
      hint: 'say what an answer must comply with, or remove schema from eval.metrics',
    });
  }
  for (const [metric, key, value] of [
    ['eval_schema_regex', 'eval.schema.regex', regex],
    ['eval_schema_json', 'eval.schema.json_schema', json_schema],
  ] as const) {
    if (best !== metric || value !== null) continue;
    findings.push({
      key: 'train.metric_for_best_model',
      message: `expected ${key} beside ${metric}, got null`,
      hint: 'say what an answer must comply with, or choose another metric',
    });
  }
  try {
    if (regex !== null) compileRegex(regex);
  } catch (error) {
    if (!(error instanceof SftError)) throw error;
    findings.push({ key: 'eval.schema.regex', message: error.message, hint: error.hint ?? '' });
  }
  return findings;
}

/** Documents are cut so that nothing of them is truncated, and nothing is said of them that is not done. */
function documentFindings({ data: { documents, format }, model }: Config): Finding[] {
  const { chunk_tokens, overlap_tokens } = documents;
  const most = chunk_tokens ?? model.max_seq_len;
  const findings: Finding[] = [];
  for (const name of ['chunk_tokens', 'overlap_tokens', 'mix_ratio'] as const) {
    const value = documents[name];
    if (format === 'documents' || value === null || (name === 'overlap_tokens' && value === 0)) continue;
    findings.push({
      key: `data.documents.${name}`,
      message: `expected ${name === 'overlap_tokens' ? 0 : null} while data.format is ${format}, got ${value}`,
      hint: 'set data.format: documents, or remove data.documents',
    });
  }
  if (most > model.max_seq_len) {
    findings.push({
      key: 'data.documents.chunk_tokens',
      message: `expected at most model.max_seq_len (${model.max_seq_len}), got ${most}`,
      hint: 'remove it, or raise model.max_seq_len',
    });
  }
  if (overlap_tokens >= most) {
    findings.push({
      key: 'data.documents.overlap_tokens',
      message: `expected less than the ${most} tokens of a chunk, got ${overlap_tokens}`,
      hint: 'a tenth of a chunk is plenty',
    });
  }
  return findings;
}

/** Why no checkpoint can be the best one: it is chosen among steps that are both saved and evaluated. */
function bestModelMismatch({ train }: Config): string | undefined {
  const { eval_strategy: evaluated, save_strategy: saved, eval_steps, save_steps } = train;
  if (evaluated !== saved) return `train.save_strategy to equal train.eval_strategy (${evaluated}), got ${saved}`;
  if (evaluated === 'no') return 'train.eval_strategy and train.save_strategy to be steps or epoch, got no';
  if (evaluated === 'steps' && save_steps % eval_steps !== 0) {
    return `train.save_steps to be a multiple of train.eval_steps (${eval_steps}), got ${save_steps}`;
  }
  return undefined;
}

/** Replaces a default that does not fit what was written, and says what is worth saying once. */
export function settle(config: Config, written: Written): { config: Config; warnings: string[] } {
  const warnings: string[] = [];
  const backend = written('tuning.backend');
  if (backend === 'bnb' || backend === 'unsloth') {
    warnings.push(`tuning.backend: ${backend} means ${BACKEND_ALIASES[backend]} here`);
  }
  const { metrics, schema } = config.eval;
  const isBest = config.train.metric_for_best_model.startsWith('eval_schema');
  if (!metrics.includes('schema') && !isBest && (schema.regex !== null || schema.json_schema !== null)) {
    warnings.push('eval.schema: the eval command does not look at it; add schema to eval.metrics');
  }
  const mismatch = bestModelMismatch(config);
  if (mismatch === undefined || !config.train.load_best_model_at_end) return { config, warnings };
  warnings.push(`train.load_best_model_at_end: off, the final model is the last step; best needs ${mismatch}`);
  return { config: { ...config, train: { ...config.train, load_best_model_at_end: false } }, warnings };
}
