/** Every metric by its name, over all answers. */
import { invariant } from '../../platform/errors.ts';
import { mean } from './counts.ts';
import { exactMatch } from './exactMatch.ts';
import type { Example } from './example.ts';
import { rougeL } from './rougeL.ts';
import { rougeLsum } from './rougeLsum.ts';
import { sari } from './sari.ts';
import { type JsonSchema, schemaJson } from './schemaJson.ts';
import { schemaRegex } from './schemaRegex.ts';
import { tokenF1 } from './tokenF1.ts';

/** What answers have to comply with; null for nothing. */
export interface Schemas {
  readonly regex: RegExp | null;
  readonly json: JsonSchema | null;
}

type Metric = (examples: readonly Example[], schemas: Schemas) => number;

const overRows =
  (score: (prediction: string, reference: string) => number): Metric =>
  (examples) =>
    mean(examples.map(({ prediction, reference }) => score(prediction, reference)));

/** Those that need answers. 0 to 1, SARI 0 to 100; the larger the better. */
export const ANSWER_METRICS = {
  rouge_l: overRows(rougeL),
  rouge_lsum: overRows(rougeLsum),
  sari,
  exact_match: overRows(exactMatch),
  token_f1: overRows(tokenF1),
  schema_regex(examples, { regex }) {
    invariant(regex, 'there is no regular expression to comply with');
    return mean(examples.map(({ prediction }) => schemaRegex(prediction, regex)));
  },
  schema_json(examples, { json }) {
    invariant(json, 'there is no JSON schema to comply with');
    return mean(examples.map(({ prediction }) => schemaJson(prediction, json)));
  },
} as const satisfies Record<string, Metric>;

export type AnswerMetric = keyof typeof ANSWER_METRICS;
