/**
 * From files and flags to a checked configuration.
 *
 * Layers, each over the one before: bases (the innermost first), the preset named by the `preset` key, the run file,
 * the preset named on the command line, then the other flags in the order in which they were typed.
 */
import type { Config } from './config.ts';
import type { CheckedConfig } from './configCheck.ts';
import { checkTree, configOrThrow, presetTree } from './configCheck.ts';
import type { ConfigProblem } from './configErrors.ts';
import { problem, show } from './configErrors.ts';
import type { Override } from './configOverrides.ts';
import { leafSchema } from './configSchema.ts';
import type { ConfigNode } from './configTree.ts';
import { mergeNodes, nodeAt, nodeForPath, toPlain, withoutNode } from './configTree.ts';
import { parseYaml } from './configYaml.ts';

/** What a configuration is made of. */
export interface ConfigRequest {
  /** Reads a text file whole. A throw is reported as a problem with the file. */
  readonly readText: (path: string) => Promise<string>;
  /** The run file; without one, only flags and defaults count. */
  readonly path?: string | undefined;
  /** As with `--preset`: over the run file, under the other flags, in place of the file's own `preset`. */
  readonly preset?: string | undefined;
  /** In the order in which they were typed; see `setOverride` and `flagOverride`. */
  readonly overrides?: readonly Override[] | undefined;
}

/** A configuration without problems. */
export interface LoadedConfig {
  readonly config: Config;
  readonly warnings: readonly string[];
  /** Where each key was given, by its dotted name; a key at its default is not in it. */
  readonly given: ReadonlyMap<string, string>;
}

/**
 * Reads a configuration.
 *
 * @throws SftError `CONFIG` for the first problem, with the number of others. `checkConfig` returns them all.
 */
export async function loadConfig(request: ConfigRequest): Promise<LoadedConfig> {
  const checked = await checkConfig(request);
  const config = configOrThrow(checked, request.path && `webgpu-sft check ${request.path} lists every problem`);
  return { config, warnings: checked.warnings, given: checked.given };
}

/** Reads a configuration and returns every problem instead of throwing the first. */
export async function checkConfig(request: ConfigRequest): Promise<CheckedConfig> {
  const problems: ConfigProblem[] = [];
  const files = request.path === undefined ? [] : await readFiles(request.path, request.readText, problems);
  if (files === null) return { config: null, problems, warnings: [], given: new Map() };

  const overrides = [...(request.overrides ?? [])];
  if (request.preset !== undefined) overrides.unshift(presetOverride(request.preset));
  const typedPreset = overrides.findLast(({ key }) => key === 'preset')?.value;
  const filePreset = files.map((file) => nodeAt(file, ['preset'])).findLast((node) => node !== undefined);
  const layers = [
    ...files.slice(0, -1),
    typedPreset ? undefined : presetTree(filePreset?.value),
    files.at(-1),
    presetTree(typedPreset?.value),
  ];
  const start: ConfigNode = { where: '', keyWhere: '', value: new Map() };
  const merged = layers.filter((layer) => layer !== undefined).reduce(mergeNodes, start);
  const tree = overrides.reduce(applyOverride, merged);
  return checkTree({ ...tree, where: request.path ?? '' }, problems);
}

function presetOverride(name: string): Override {
  const where = '--preset';
  return { where, key: 'preset', value: { where, keyWhere: where, value: name } };
}

function applyOverride(tree: ConfigNode, { key, value, onlyIf }: Override): ConfigNode {
  const path = key.split('.');
  if (onlyIf !== undefined && (nodeAt(tree, path)?.value ?? leafSchema(key).default) !== onlyIf) return tree;
  return mergeNodes(tree, nodeForPath(path, value));
}

/** Bases nest no deeper than this; a circle through links has a new name at every turn. */
const MAX_BASES = 32;

/** A file to read, and the key that named it. */
interface NamedFile {
  readonly path: string;
  readonly where: string;
  readonly prefix: string;
}

/** The files from the innermost base to the run file, without their `base` keys; null when one cannot be read. */
async function readFiles(
  path: string,
  readText: ConfigRequest['readText'],
  problems: ConfigProblem[],
): Promise<ConfigNode[] | null> {
  const files: ConfigNode[] = [];
  const seen: string[] = [];
  for (let next: NamedFile | undefined = { path, where: path, prefix: '' }; next; ) {
    const { path: file, where, prefix }: NamedFile = next;
    const name = normalize(file);
    if (seen.includes(name) || seen.length === MAX_BASES) {
      const got = seen.includes(name) ? `a circle: ${[...seen, name].join(' → ')}` : `more than ${MAX_BASES} files`;
      problems.push(problem(where, `${prefix}expected bases that come to an end, got ${got}`, 'remove one base: line'));
      return null;
    }
    seen.push(name);
    const text = await readText(file).catch((error: unknown) => ({ message: (error as Error).message }));
    if (typeof text !== 'string') {
      const message = `${prefix}expected a readable YAML file, got an error: ${text.message}`;
      problems.push(problem(where, message, `check that ${file} exists and can be read`));
      return null;
    }
    const { root, problems: found } = parseYaml(text, file);
    problems.push(...found);
    if (root === null) return null;
    files.unshift(withoutNode(root, ['base']));
    next = baseOf(root, file, problems);
  }
  return files;
}

function baseOf(root: ConfigNode, file: string, problems: ConfigProblem[]): NamedFile | undefined {
  const base = nodeAt(root, ['base']);
  if (!base || base.value === null) return undefined;
  if (typeof base.value === 'string' && base.value !== '') {
    return { path: beside(file, base.value), where: base.where, prefix: 'base: ' };
  }
  const message = `base: expected text or null, got ${show(toPlain(base))}`;
  problems.push(problem(base.where, message, 'name one YAML file, relative to this one'));
  return undefined;
}

/** `base` as seen from the folder of `file`. */
function beside(file: string, base: string): string {
  if (/^([/\\]|[a-z]+:)/i.test(base)) return base;
  const folder = file.slice(0, Math.max(file.lastIndexOf('/'), file.lastIndexOf('\\')) + 1);
  return normalize(folder + base);
}

/** Takes `.` and `name/..` out of a path. */
function normalize(path: string): string {
  const parts: string[] = [];
  for (const part of path.split(/[/\\]/)) {
    if (part === '.') continue;
    if (part === '..' && parts.length > 0 && parts.at(-1) !== '..' && parts.at(-1) !== '') parts.pop();
    else parts.push(part);
  }
  return parts.join('/');
}
