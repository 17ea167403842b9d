/**
 * YAML 1.2 with `<<`, read into a tree of values that know their line and column.
 *
 * YAML's nodes are converted here rather than by the library so that merge keys and aliases keep the places they came
 * from, and so that duplicate keys, custom tags and aliases that multiply are refused by name.
 */
import type { Node, Pair, YAMLMap } from 'yaml';
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { SftError } from '../platform/errors.ts';
import type { ConfigProblem } from './configErrors.ts';
import { problem } from './configErrors.ts';
import type { ConfigNode, Scalar } from './configTree.ts';
import { isForbiddenKey } from './configTree.ts';

/** Far above any real configuration, far below what an alias bomb makes. */
const MAX_VALUES = 10_000;
const MAX_DEPTH = 32;
const PLAIN_TAG = /^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq|merge)$/;

/** One more bracket than closed ones, or a run of `- - -`, this deep would exhaust the parser's stack. */
const MAX_TEXT_DEPTH = 200;
const DASHES = /(?:[-?][ \t]+){64}/;

export interface YamlResult {
  /** The document, or null when it could not be read. An empty file is an empty map. */
  readonly root: ConfigNode | null;
  readonly problems: readonly ConfigProblem[];
}

/** Reads one YAML document. `file` begins every place: `file:line:column`. */
export function parseYaml(text: string, file: string): YamlResult {
  const lines = new LineCounter();
  const { root, problems } = read(text, file, lines, (offset) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  });
  return { root: root?.value === null ? { ...root, value: new Map() } : root, problems };
}

/** Reads a value given on the command line; every place in it is `where`. */
export function parseYamlValue(text: string, where: string): ConfigNode {
  const { root, problems } = read(text, where, new LineCounter(), () => where);
  const [first] = problems;
  if (root && !first) return root;
  throw new SftError('CONFIG', `${where}: ${first?.message ?? 'not YAML'}`, { hint: first?.hint ?? 'quote the value' });
}

function read(text: string, name: string, lineCounter: LineCounter, at: (offset: number) => string): YamlResult {
  const failed = (found: ConfigProblem): YamlResult => ({ root: null, problems: [found] });
  if (isTooDeep(text)) {
    return failed(problem(name, 'expected YAML, got brackets nested too deeply', 'see docs/config.md'));
  }
  const document = parseDocument(text, { lineCounter, merge: true, uniqueKeys: false, prettyErrors: false });
  const [error] = document.errors;
  if (error) {
    const message =
      error.code === 'MULTIPLE_DOCS' ? 'expected one document, got a second after "---"' : `not YAML: ${error.message}`;
    return failed(problem(at(error.pos[0]), message, 'correct the YAML at this place'));
  }
  const { yaml } = document.directives ?? {};
  if (yaml?.explicit && yaml.version !== '1.2') {
    return failed(problem(name, `expected YAML 1.2, got %YAML ${yaml.version}`, 'remove the %YAML line'));
  }

  const problems: ConfigProblem[] = [];
  // Nodes are met in the order of the text, so an alias means the last node of its name that was met so far.
  const anchors = new Map<string, Node>();
  const met = new Set<Node>();
  let values = 0;

  function convert(node: Node | null, keyWhere: string, depth: number): ConfigNode {
    const where = node?.range ? at(node.range[0]) : keyWhere;
    const leaf = (value: ConfigNode['value']): ConfigNode => ({ where, keyWhere, value });
    values += 1;
    if (values > MAX_VALUES) {
      throw new Refused(where, `expected at most ${MAX_VALUES} values, got more (an alias counts each time)`);
    }
    if (depth > MAX_DEPTH) {
      throw new Refused(where, `expected at most ${MAX_DEPTH} levels, got more or an alias of itself`);
    }
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (!target) throw new Refused(where, `expected an anchor &${node.source} before this alias, got none`);
      return convert(target, keyWhere, depth + 1);
    }
    if (node?.anchor !== undefined && !met.has(node)) {
      met.add(node);
      anchors.set(node.anchor, node);
    }
    if (node?.tag !== undefined && !PLAIN_TAG.test(node.tag)) {
      throw new Refused(where, `expected a value without a tag, got the custom tag ${node.tag}`);
    }
    if (isMap(node)) return leaf(convertMap(node, depth));
    if (isSeq(node)) return leaf(node.items.map((item) => convert(item as Node | null, where, depth + 1)));
    return leaf(isScalar(node) ? (node.value as Scalar) : null);
  }

  function convertMap(map: YAMLMap, depth: number): Map<string, ConfigNode> {
    const own = new Map<string, ConfigNode>();
    const merged = new Map<string, ConfigNode>();
    for (const { key, value } of map.items as Pair<Node, Node | null>[]) {
      const keyWhere = key.range ? at(key.range[0]) : name;
      if (!isScalar(key)) throw new Refused(keyWhere, 'expected text as a key, got another value');
      if (typeof key.value === 'symbol') {
        for (const [inherited, node] of mergeSource(convert(value, keyWhere, depth + 1))) {
          if (!merged.has(inherited)) merged.set(inherited, node);
        }
        continue;
      }
      const text = String(key.value);
      const first = own.get(text);
      if (first) problems.push(problem(keyWhere, `${text}: duplicate key`, `first at ${first.keyWhere}`));
      else if (!isForbiddenKey(text)) own.set(text, convert(value, keyWhere, depth + 1));
      else problems.push(problem(keyWhere, `${text}: a name that cannot be a key`, 'remove it'));
    }
    return new Map([...merged, ...own]);
  }

  try {
    return { root: convert(document.contents, name, 0), problems };
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    return { root: null, problems: [...problems, problem(refused.where, refused.message, 'write the value out')] };
  }
}

/** The entries that `<<` brings in: of one map, or of a list of maps of which the first wins. */
function mergeSource(source: ConfigNode): (readonly [string, ConfigNode])[] {
  const maps = Array.isArray(source.value) ? (source.value as readonly ConfigNode[]) : [source];
  return maps.flatMap((map) => {
    if (!(map.value instanceof Map)) throw new Refused(map.where, 'expected a map or a list of maps after <<');
    return [...map.value];
  });
}

/** Ends the conversion of a document; always caught here. */
class Refused extends Error {
  readonly where: string;
  constructor(where: string, message: string) {
    super(message);
    this.where = where;
  }
}

function isTooDeep(text: string): boolean {
  let depth = 0;
  for (const character of text) {
    if (character === '[' || character === '{') depth++;
    else if (character === ']' || character === '}') depth = Math.max(0, depth - 1);
    if (depth > MAX_TEXT_DEPTH) return true;
  }
  return DASHES.test(text);
}
