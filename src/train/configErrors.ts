/** Problems of a configuration, and how they are worded. */
import type { z } from 'zod';
import { nearest } from '../platform/suggest.ts';
import { flagNamed } from './configFlags.ts';
import type { JsonSchema, Path } from './configSchema.ts';
import { configLeaves, schemaAt, typeText } from './configSchema.ts';
import type { ConfigNode } from './configTree.ts';
import { findNode, nodeAt, toPlain } from './configTree.ts';

export interface ConfigProblem {
  readonly code: 'CONFIG';
  /** `configs/run.yaml:7:12`, `--set train.epochs`, or the key itself for a plain object. */
  readonly where: string;
  /** What was expected and what was got. Begins with the key, unless `where` ends with it. */
  readonly message: string;
  /** What to do. */
  readonly hint: string;
}

export function problem(where: string, message: string, hint: string): ConfigProblem {
  return { code: 'CONFIG', where, message, hint };
}

/** A problem with a key of the tree, at the place where its value (or else the nearest section) was written. */
export function problemAt(root: ConfigNode, path: Path, message: string, hint: string): ConfigProblem {
  const { node, depth } = findNode(root, path);
  const where = depth === path.length && depth > 0 ? node.where : root.where;
  return located(where, keyText(path), message, hint);
}

/** Turns the findings of the schema into problems with places, reasons and hints. */
export function schemaProblems(root: ConfigNode, issues: readonly z.core.$ZodIssue[]): ConfigProblem[] {
  return issues.flatMap((issue) => {
    const path = issue.path.map((key) => (typeof key === 'number' ? key : String(key)));
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(root, path, key));
    const schema = schemaAt(path);
    const expected = issue.code === 'custom' || !schema ? issue.message : `expected ${typeText(schema)}`;
    const node = nodeAt(root, path);
    const got = node ? show(toPlain(node)) : 'nothing';
    return [problemAt(root, path, `${expected}, got ${got}`, valueHint(path, schema, node))];
  });
}

function unknownKey(root: ConfigNode, section: readonly (string | number)[], key: string): ConfigProblem {
  const path = [...section, key];
  const meant = nearestKey(section.join('.'), key);
  const known = Object.keys(schemaAt(section)?.properties ?? {}).join(', ');
  const hint = meant ? `did you mean ${meant}?` : `known keys here: ${known}`;
  return located(nodeAt(root, path)?.keyWhere ?? root.where, keyText(path), 'unknown key', hint);
}

/** Names of other trainers that no spelling leads from to ours. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  bf16: 'train.precision',
  fp16: 'train.precision',
  load_in_4bit: 'tuning.mode',
  logging_steps: 'logging.log_interval',
  max_seq_length: 'model.max_seq_len',
  num_train_epochs: 'train.epochs',
  per_device_train_batch_size: 'train.batch_size',
  report_to: 'logging.backend',
};

/** The known key that was probably meant: of the same section, else of any, else the one that a flag is named after. */
function nearestKey(section: string, key: string): string | undefined {
  if (Object.hasOwn(ELSEWHERE, key)) return ELSEWHERE[key];
  const prefix = section === '' ? '' : `${section}.`;
  const sibling = nearest(key, Object.keys(schemaAt(section === '' ? [] : section.split('.'))?.properties ?? {}));
  if (sibling) return prefix + sibling;
  const flag = flagNamed(`--${key.replaceAll('_', '-')}`);
  if (flag) return flag.key;
  const leaves = configLeaves().map((leaf) => leaf.key);
  const meant = nearest(key, leaves.map(lastName));
  return leaves.find((leaf) => lastName(leaf) === meant);
}

function lastName(key: string): string {
  return key.slice(key.lastIndexOf('.') + 1);
}

function valueHint(path: Path, schema: JsonSchema | undefined, node: ConfigNode | undefined): string {
  const choices = [schema, ...(schema?.anyOf ?? [])].flatMap((choice) => choice?.enum ?? choice?.const ?? []);
  const meant = typeof node?.value === 'string' && nearest(node.value, choices.map(String));
  if (meant) return `did you mean ${meant}?`;
  const described = [...path.keys()].map((end) => schemaAt(path.slice(0, path.length - end))?.description);
  const sentence = described.find((text) => text !== undefined);
  if (sentence !== undefined) return `${keyText(path)}: ${sentence}`;
  return 'docs/config.md lists every key with its type and default';
}

function located(where: string, key: string, message: string, hint: string): ConfigProblem {
  if (where === '') return problem(key, message, hint);
  return problem(where, where.endsWith(` ${key}`) ? message : `${key}: ${message}`, hint);
}

/** `data.split[1]`, `train.epochs`; the whole is `config`. */
export function keyText(path: Path): string {
  if (path.length === 0) return 'config';
  const parts = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${key === '' ? '""' : key}`));
  return parts.join('').replace(/^\./, '');
}

/** A value as it would be written, cut where it gets long. */
export function show(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
