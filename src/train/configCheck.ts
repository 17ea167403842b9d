/** From a merged tree, or a plain object, to a checked configuration. */
import type { z } from 'zod';
import { invariant, SftError } from '../platform/errors.ts';
import type { Config, ConfigInput } from './config.ts';
import { configSchema, PRESETS } from './config.ts';
import type { ConfigProblem } from './configErrors.ts';
import { keyText, problem, problemAt, schemaProblems, show } from './configErrors.ts';
import { contradictions, NOT_YET, settle } from './configRules.ts';
import type { ConfigNode, Scalar } from './configTree.ts';
import { isForbiddenKey, mergeNodes, nodeAt, toPlain, withoutNode } from './configTree.ts';

/** Everything that there is to say about a configuration. */
export interface CheckedConfig {
  /**
   * The resolved configuration with every key. With problems it is what is left: wrong keys are at their defaults and a
   * missing `model.name` is empty, good for looking further and not for running. Null when a file could not be read.
   */
  readonly config: Config | null;
  readonly problems: readonly ConfigProblem[];
  /** Said once, to the person who starts the run. */
  readonly warnings: readonly string[];
  /** Where each key was given, by its dotted name; a key at its default is not in it. */
  readonly given: ReadonlyMap<string, string>;
}

/** Checks a merged tree. */
export function checkTree(tree: ConfigNode, earlier: readonly ConfigProblem[] = []): CheckedConfig {
  const problems = [...earlier];
  const written = (key: string): unknown => {
    const node = nodeAt(tree, key.split('.'));
    return node && toPlain(node);
  };
  if (typeof written('base') === 'string') {
    const message = `expected null outside a file, got ${show(written('base'))}`;
    problems.push(problemAt(tree, ['base'], message, 'name the base in a YAML file'));
  }
  const parsed = configSchema.safeParse(toPlain(tree));
  if (!parsed.success) problems.push(...schemaProblems(tree, parsed.error.issues));
  const sound = parsed.success ? parsed.data : soundPart(tree, parsed.error.issues);
  problems.push(...refusals(tree, sound));
  for (const { key, message, hint } of contradictions(sound, written)) {
    problems.push(problemAt(tree, key.split('.'), message, hint));
  }
  return { ...settle({ ...sound, base: null }, written), problems, given: new Map(givenKeys(tree)) };
}

/** What is left of a tree without the values that the schema refused, so that other rules can be checked as well. */
function soundPart(tree: ConfigNode, issues: readonly z.core.$ZodIssue[]): Config {
  const refused = issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [issue.path],
  );
  const rest = refused.reduce((node, path) => withoutNode(node, path.map(String)), tree);
  const config = configSchema.parse(toPlain(mergeNodes(layer({ model: { name: '?' } }, ''), rest)));
  return nodeAt(rest, ['model', 'name']) ? config : { ...config, model: { ...config.model, name: '' } };
}

function refusals(tree: ConfigNode, config: Config): ConfigProblem[] {
  return NOT_YET.filter(({ refused }) => refused(config)).map(({ key, reason, instead }) => {
    const path = key.split('.');
    const node = nodeAt(tree, path);
    const value = node ? show(toPlain(node)) : `${show(path.reduce<unknown>(child, config))} (the default)`;
    return problemAt(tree, path, `got ${value}, but this version ${reason}`, instead);
  });
}

function child(value: unknown, key: string): unknown {
  return (value as Record<string, unknown>)[key];
}

function givenKeys(node: ConfigNode, path: readonly string[] = []): [string, string][] {
  if (!(node.value instanceof Map)) return [[keyText(path), node.where || keyText(path)]];
  return [...node.value].flatMap(([key, value]) => givenKeys(value, [...path, key]));
}

/** Checks a plain object, such as parsed JSON. `preset` lies under the object's own keys. */
export function checkConfigObject(input: unknown): CheckedConfig {
  const problems: ConfigProblem[] = [];
  const own = treeFromObject(input, [], problems);
  const preset = presetTree(nodeAt(own, ['preset'])?.value);
  return checkTree(preset ? mergeNodes(preset, own) : own, problems);
}

/**
 * A plain object made into a configuration with every key present.
 *
 * @throws SftError `CONFIG` for the first problem, with the number of others.
 */
export function parseConfig(input: ConfigInput, options: { onWarning?: (warning: string) => void } = {}): Config {
  const checked = checkConfigObject(input);
  for (const warning of checked.warnings) options.onWarning?.(warning);
  return configOrThrow(checked);
}

/** The configuration, or an error for the first problem; `hint` is added when there are more. */
export function configOrThrow({ config, problems }: CheckedConfig, hint = ''): Config {
  const [first, ...others] = problems;
  if (first === undefined) {
    invariant(config !== null, 'a configuration without problems and without keys');
    return config;
  }
  const { where, message, hint: todo } = first;
  const more =
    others.length === 0 ? '' : ` (and ${others.length} more ${others.length === 1 ? 'problem' : 'problems'})`;
  throw new SftError('CONFIG', `${where}: ${message}${more}`, {
    hint: others.length > 0 && hint ? `${todo.replace(/\.$/, '')}; ${hint}` : todo,
  });
}

/** The layer of a named preset, or undefined when there is none of that name (the schema says so then). */
export function presetTree(name: unknown): ConfigNode | undefined {
  if (typeof name !== 'string' || !Object.hasOwn(PRESETS, name)) return undefined;
  return layer(PRESETS[name as keyof typeof PRESETS], `preset ${name}`);
}

function layer(value: object, where: string): ConfigNode {
  const entries = Object.entries(value).map(([key, entry]): [string, ConfigNode] => [
    key,
    typeof entry === 'object' ? layer(entry as object, where) : { where, keyWhere: where, value: entry as Scalar },
  ]);
  return { where, keyWhere: where, value: new Map(entries) };
}

const MAX_DEPTH = 32;

/** The tree of a plain object; what cannot be in one is reported and left out. */
function treeFromObject(value: unknown, path: readonly (string | number)[], problems: ConfigProblem[]): ConfigNode {
  const node = (content: ConfigNode['value']): ConfigNode => ({ where: '', keyWhere: '', value: content });
  const refuse = (at: typeof path, message: string): void =>
    void problems.push(problem(keyText(at), message, 'write what a YAML file could hold'));

  if (path.length > MAX_DEPTH) {
    refuse(path, `expected at most ${MAX_DEPTH} levels, got more`);
    return node(null);
  }
  if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) return node(value as Scalar);
  if (Array.isArray(value)) return node(value.map((item, index) => treeFromObject(item, [...path, index], problems)));
  if (!isPlainObject(value)) {
    refuse(path, `expected a plain value, got ${Object.prototype.toString.call(value)}`);
    return node(null);
  }
  const content = new Map<string, ConfigNode>();
  for (const [key, entry] of Object.entries(value)) {
    if (isForbiddenKey(key)) refuse([...path, key], 'a name that cannot be a key');
    else if (entry !== undefined) content.set(key, treeFromObject(entry, [...path, key], problems));
  }
  return node(content);
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
