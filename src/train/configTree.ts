/**
 * A configuration on its way from text to a checked object: values that know where they were written. Layers are trees;
 * they are merged into one tree, and an error about any key can name the file and line that set it.
 */
import type { Path } from './configSchema.ts';

export type Scalar = string | number | boolean | null;

/** A value that knows where it was written: a scalar, a list or a map of such values. */
export interface ConfigNode {
  /** Where the value was written: `configs/run.yaml:7:12`, `--lr`, `preset fast_test`; empty for a plain object. */
  readonly where: string;
  /** Where its key was written. */
  readonly keyWhere: string;
  readonly value: Scalar | readonly ConfigNode[] | ReadonlyMap<string, ConfigNode>;
}

function isMap(node: ConfigNode): node is ConfigNode & { value: ReadonlyMap<string, ConfigNode> } {
  return node.value instanceof Map;
}

/** Names that would reach JavaScript's own machinery when the tree becomes an object. */
export function isForbiddenKey(key: string): boolean {
  return key === '__proto__' || key === 'constructor' || key === 'prototype';
}

/** `over` wins. Maps merge key by key; lists and scalars replace. */
export function mergeNodes(under: ConfigNode, over: ConfigNode): ConfigNode {
  if (!isMap(under) || !isMap(over)) return over;
  const value = new Map(under.value);
  for (const [key, node] of over.value) {
    const below = value.get(key);
    value.set(key, below ? mergeNodes(below, node) : node);
  }
  return { ...over, value };
}

/** A tree with one value at `path`, ready to be merged over another. */
export function nodeForPath(path: readonly string[], leaf: ConfigNode): ConfigNode {
  return path.reduceRight((child, key) => ({ ...leaf, value: new Map([[key, child]]) }), leaf);
}

/** The deepest node that exists on the way to `path`, and how many steps of the path it covers. */
export function findNode(root: ConfigNode, path: Path): { node: ConfigNode; depth: number } {
  let node = root;
  for (const [depth, key] of path.entries()) {
    const next: ConfigNode | undefined = Array.isArray(node.value)
      ? node.value[key as number]
      : isMap(node)
        ? node.value.get(String(key))
        : undefined;
    if (!next) return { node, depth };
    node = next;
  }
  return { node, depth: path.length };
}

/** The node at a path of keys and list indices; undefined where there is none. */
export function nodeAt(root: ConfigNode, path: Path): ConfigNode | undefined {
  const { node, depth } = findNode(root, path);
  return depth === path.length ? node : undefined;
}

/** The values alone, as objects, arrays and scalars. */
export function toPlain(node: ConfigNode): unknown {
  if (Array.isArray(node.value)) return node.value.map(toPlain);
  if (isMap(node)) return Object.fromEntries([...node.value].map(([key, child]) => [key, toPlain(child)]));
  return node.value;
}

/** The tree without the value at `path`. Of a list the whole list goes, of the root everything in it. */
export function withoutNode(node: ConfigNode, path: readonly string[]): ConfigNode {
  const [key, ...rest] = path;
  if (key === undefined) return { ...node, value: new Map() };
  const inner = isMap(node) ? node.value.get(key) : undefined;
  if (!isMap(node) || !inner) return node;
  const value = new Map(node.value);
  if (isMap(inner) && rest.length > 0) value.set(key, withoutNode(inner, rest));
  else value.delete(key);
  return { ...node, value };
}
