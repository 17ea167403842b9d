/** Whether an answer is a JSON document that obeys a JSON schema: 1 or 0. */
import { type Schema, type SchemaDraft, Validator } from '@cfworker/json-schema';
import { SftError } from '../../platform/errors.ts';
import { findSchemaProblem } from './schemaProblems.ts';

/** A schema that answers can be held against, as `compileJsonSchema` makes it. */
export type JsonSchema = Validator;

/** `$schema` names the draft; draft 6 is a part of draft 7. */
const DRAFTS: readonly (readonly [name: RegExp, draft: SchemaDraft])[] = [
  [/\bdraft-04\b/, '4'],
  [/\bdraft-0[67]\b/, '7'],
  [/\b2019-09\b/, '2019-09'],
  [/\b2020-12\b/, '2020-12'],
];

/**
 * Reads a JSON schema of draft 4, 6, 7, 2019-09 or 2020-12, which is the one without `$schema`. Everything that it refers to is in it.
 * Throws `CONFIG` for a text that is no schema; `where` begins the message.
 */
export function compileJsonSchema(text: string, where: string): JsonSchema {
  const wrong = (got: string, hint: string, cause?: unknown) =>
    new SftError('CONFIG', `${where}: expected a JSON schema, got ${got}`, { hint, cause });
  let schema: Schema | boolean;
  try {
    schema = JSON.parse(text) as Schema | boolean;
  } catch (cause) {
    throw wrong(`a text that is no JSON: ${(cause as Error).message}`, 'write one JSON object', cause);
  }
  const name = typeof schema === 'object' && schema !== null ? schema.$schema : undefined;
  const [, draft] = name === undefined ? [null, '2020-12' as const] : (DRAFTS.find(([one]) => one.test(name)) ?? []);
  if (draft === undefined) {
    throw wrong(`$schema: ${JSON.stringify(name)}`, 'name draft 4, 6, 7, 2019-09 or 2020-12, or leave $schema out');
  }
  const problem = findSchemaProblem(schema, draft === '4');
  if (problem) throw wrong(problem, 'correct the schema');
  const validator = new Validator(schema, draft);
  try {
    validator.validate(null);
  } catch (cause) {
    throw wrong('a schema that refers to itself without end', 'let each turn go on to a part of the answer', cause);
  }
  return validator;
}

/** 1 where the whole of an answer is JSON that obeys the schema, else 0. */
export function schemaJson(prediction: string, schema: JsonSchema): number {
  let value: unknown;
  try {
    value = JSON.parse(prediction);
  } catch {
    return 0;
  }
  return schema.validate(value).valid ? 1 : 0;
}
