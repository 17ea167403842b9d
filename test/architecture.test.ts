/** The layer rule and what else holds for every file of `src`. The same checker is shown trees that break it. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { Linter } from 'eslint';
import ts from 'typescript';
import tseslint from 'typescript-eslint';
import { describe, expect, test } from 'vitest';

/** What each folder may import besides itself (`index` is `src/index.ts`). */
const LOWER = ['platform', 'gpu', 'kernels', 'tensor'];
const LAYERS: Record<string, readonly string[]> = {
  platform: [],
  gpu: ['platform'],
  kernels: ['platform', 'gpu'],
  tensor: ['platform', 'gpu', 'kernels'],
  data: ['platform'],
  model: LOWER,
  eval: [...LOWER, 'model', 'data'],
  train: [...LOWER, 'model', 'data', 'eval'],
  worker: [...LOWER, 'model', 'data', 'train', 'eval'],
  index: [...LOWER, 'model', 'data', 'train', 'eval', 'worker'],
  cli: ['platform', 'gpu', 'tensor', 'model', 'data', 'train', 'eval'],
  dashboard: ['index'],
};
const ENVIRONMENT = ['process', 'Buffer', 'navigator', 'window', 'document'];
const SUSPICIOUS = new RegExp(`\\b(${[...ENVIRONMENT, 'console'].join('|')})\\b`);
const MAX_LINES = 500;

/** Paths (`src/…`, `test/…`) to their text. */
type Tree = Record<string, string>;

const layerOf = (file: string) => file.replace(/^src\//, '').replace(/(\/.*|\.ts)$/, '');
const hasEnvironment = (layer: string) => ['platform', 'cli', 'dashboard'].includes(layer);

/** What a file imports, types included: paths in `src`, and bare names as they are. */
function importsOf(file: string, text: string): string[] {
  return ts.preProcessFile(text).importedFiles.map(({ fileName }) => {
    if (fileName === '#platform') return 'src/platform/node.ts';
    return fileName.startsWith('.') ? normalize(join(dirname(file), fileName)) : fileName;
  });
}

function globalsIn(file: string, text: string): string[] {
  // Parsing is slow, and most files have none of these words.
  if (!SUSPICIOUS.test(text)) return [];
  const rules: Linter.RulesRecord = hasEnvironment(layerOf(file))
    ? {}
    : { 'no-restricted-globals': ['error', ...ENVIRONMENT] };
  if (layerOf(file) !== 'cli') rules['no-console'] = 'error';
  const parser = tseslint.parser as Linter.Parser;
  const found = new Linter().verify(text, [{ files: ['**/*.ts', '**/*.tsx'], languageOptions: { parser }, rules }], {
    filename: file,
  });
  return found.map(({ line, message }) => `${file}:${line} ${message}`);
}

/** The files of a first circle of imports, or null. */
function findCycle(graph: Map<string, string[]>): string[] | null {
  const done = new Set<string>();
  const visit = (file: string, path: string[]): string[] | null => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return null;
    done.add(file);
    for (const next of graph.get(file) ?? []) {
      const cycle = visit(next, [...path, file]);
      if (cycle) return cycle;
    }
    return null;
  };
  for (const file of graph.keys()) {
    const cycle = visit(file, []);
    if (cycle) return cycle;
  }
  return null;
}

/** Everything that is wrong with a tree, one sentence each. */
function check(tree: Tree): string[] {
  const files = Object.entries(tree).filter(([file]) => file.startsWith('src/'));
  const graph = new Map(files.map(([file, text]) => [file, importsOf(file, text)]));
  const problems: string[] = [];
  for (const [file, text] of files) {
    const layer = layerOf(file);
    const allowed = LAYERS[layer];
    if (!allowed) problems.push(`${file}: the folder ${layer} has no layer`);
    for (const target of graph.get(file) ?? []) {
      const to = target.startsWith('src/') ? layerOf(target) : null;
      if (to && to !== layer && !allowed?.includes(to))
        problems.push(`${file}: ${layer} must not import ${to} (${target})`);
      if (target.startsWith('node:') && !hasEnvironment(layer))
        problems.push(`${file}: ${layer} must not import ${target}`);
    }
    problems.push(...globalsIn(file, text));
    const lines = text.trimEnd().split('\n').length;
    if (lines > MAX_LINES) problems.push(`${file}: has ${lines} lines, at most ${MAX_LINES} are allowed`);
    const op = /^src\/kernels\/(\w+)\.ts$/.exec(file)?.[1];
    if (op && /= defineOp\b/.test(text)) {
      if (!(`test/kernels/${op}.test.ts` in tree)) problems.push(`${file}: has no test/kernels/${op}.test.ts`);
      if (!graph.get('src/tensor/ops.ts')?.includes(file)) problems.push(`${file}: has no line in src/tensor/ops.ts`);
    }
  }
  problems.push(...demoProblems(tree));
  const cycle = findCycle(graph);
  if (cycle) problems.push(`circle: ${cycle.join(' -> ')}`);
  return problems;
}

/** The page loads the client of the engine and nothing else of it: the engine is loaded by its worker, when it is needed. */
function demoProblems(tree: Tree): string[] {
  const files = Object.entries(tree).filter(([file]) => file.startsWith('demo/'));
  return files.flatMap(([file, text]) => {
    const targets = importsOf(file, text.replaceAll(/^import type [^;]*;/gm, ''));
    const wrong = targets.filter((target) => target.startsWith('src/') && target !== 'src/worker/client.ts');
    return wrong.map((target) => `${file}: demo must not import ${target}`);
  });
}

function readTree(): Tree {
  const root = join(import.meta.dirname, '..');
  const paths = ['src', 'test', 'demo/src'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map((name) =>
      join(folder, String(name)).replaceAll('\\', '/'),
    ),
  );
  return Object.fromEntries(
    paths.filter((path) => /\.tsx?$/.test(path)).map((path) => [path, readFileSync(join(root, path), 'utf8')]),
  );
}

test('src keeps to its layers', () => {
  expect(check(readTree())).toEqual([]);
});

describe('the checker finds', () => {
  const op = { 'src/tensor/ops.ts': "import { add } from '../kernels/add.ts';", 'test/kernels/add.test.ts': '' };
  const cases: [string, Tree, RegExp][] = [
    ['an import of a higher layer', { 'src/gpu/a.ts': "import '../tensor/b.ts';" }, /gpu must not import tensor/],
    ['the same for a type', { 'src/data/a.ts': "import type { B } from '../gpu/b.ts';" }, /data must not import gpu/],
    ['the same for a late import', { 'src/data/a.ts': "await import('../model/b.ts');" }, /data must not import model/],
    ['a layer above', { 'src/eval/a.ts': "export * from '../train/b.ts';" }, /eval must not import train/],
    ['kernels on the command line', { 'src/cli/a.ts': "import '../kernels/b.ts';" }, /cli must not import kernels/],
    ['the whole library on the command line', { 'src/cli/a.ts': "import '../index.ts';" }, /cli must not import index/],
    ['a folder without a layer', { 'src/misc/a.ts': '' }, /misc has no layer/],
    ['node: outside platform and cli', { 'src/model/a.ts': "import 'node:fs';" }, /model must not import node:fs/],
    ['process', { 'src/eval/a.ts': 'export const a = process.argv;' }, /a\.ts:1 .*'process'/],
    ['window', { 'src/eval/a.ts': '\nexport const a = typeof window;' }, /a\.ts:2 .*'window'/],
    ['console', { 'src/platform/a.ts': 'console.log(1);' }, /a\.ts:1 Unexpected console/],
    ['a long file', { 'src/gpu/a.ts': '\n'.repeat(500).concat('export {};') }, /has 501 lines/],
    [
      'the engine in the page',
      { 'demo/src/a.tsx': "import { train } from '../../src/index.ts';" },
      /demo must not import/,
    ],
    [
      'a circle',
      { 'src/gpu/a.ts': "import './b.ts';", 'src/gpu/b.ts': "import './a.ts';" },
      /circle: src\/gpu\/a\.ts -> /,
    ],
    ['an op without a test', { ...op, 'src/kernels/mul.ts': 'export const mul = defineOp({});' }, /has no test/],
    ['an op that no one can call', { ...op, 'src/kernels/mul.ts': 'export const mul = defineOp({});' }, /no line in/],
  ];
  test.each(cases)('%s', (_, tree, problem) => {
    expect(check(tree).join('\n')).toMatch(problem);
  });

  test('nothing wrong where names of the environment are local, or allowed', () => {
    const tree = {
      ...op,
      'src/kernels/add.ts':
        'export const add = defineOp({});\nexport const f = (window: number, a: { document: 1 }) => window + a.document;',
      'src/platform/a.ts': "import { argv } from 'node:process';\nexport default process ?? argv;",
      'src/cli/main.ts': "import '../train/a.ts';\nconsole.log(process.argv);",
      'src/index.ts': "export * from './train/a.ts';",
      'demo/src/a.ts': "import type {\n  Config,\n} from '../../src/index.ts';\nimport '../../src/worker/client.ts';",
      'src/train/a.ts': "import { openAdapter } from '#platform';\nopenAdapter();",
    };
    expect(check(tree)).toEqual([]);
  });
});
