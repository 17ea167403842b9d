/** The examples of docs/library.md: they compile against the types of the built package, and run in order as they are printed there. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = new URL('../../../', import.meta.url).pathname;
const guide = readFileSync(join(root, 'docs/library.md'), 'utf8');
const blocks = [...guide.matchAll(/## (.+?)\n(?:(?!\n## )[\s\S])*?```ts\n([\s\S]*?)```/g)].map(
  ([, title = '', code = '']) => ({
    title,
    code,
    file: title.replaceAll(/\W+/g, '-'),
  }),
);

/** What each example must print; null where it runs in a page (test/browser/guide.test.ts). */
const expected: Record<string, RegExp[] | null> = {
  'Train on rows': [/^step 1: loss \d+\.\d{3}$/m, /^step 10: loss \d+\.\d{3}$/m],
  'Train on files': [/step 1: loss \d+\.\d{3}/, /step 4: loss \d+\.\d{3}/, /saved outputs\/requests\/final_model/],
  Events: [/^below the mark at step 1$/m, /^stopped after step \d+; saved \S+$/m, /^goes on after step \d+$/m],
  'Talk to a model': [/^before: ".*"$/m, /^after: ".*"$/m, /^the same$/m],
  'Evaluate and merge': [/loss \d+\.\d{3}, perplexity \d+\.\d over \d+ tokens/, /^".*Hi.*"$/m],
  'Plan memory': [/^\d{5,} bytes, \d+ of them activations$/m, /^fits$/m],
  'Own data, own storage': [/^start\n(warning\n)*step\nstep\ndone$/m, /adapter_model\.safetensors/],
  'In a page': null,
  'A kernel of your own': [/^values 4 0$/m, /^gradients 4 8 0 0$/m],
  'An architecture of your own': [/^".+"$/m],
};

describe('docs/library.md', () => {
  let folder = '';
  // The examples import the package by its name, which Node resolves from files inside the package only.
  const scripts = join(root, '.cache/docs');
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'webgpu-sft-docs-'));
    symlinkSync(join(root, 'assets'), join(folder, 'assets'));
    // A model of an architecture that is Llama under other names.
    const model = join(folder, 'models/acme');
    cpSync(join(root, 'assets/tiny-llama'), model, { recursive: true });
    const { intermediate_size, ...rest } = JSON.parse(readFileSync(join(model, 'config.json'), 'utf8'));
    const config = { ...rest, model_type: 'acme', ffn_size: intermediate_size };
    writeFileSync(join(model, 'config.json'), JSON.stringify(config));
    rmSync(scripts, { recursive: true, force: true });
    mkdirSync(scripts, { recursive: true });
    for (const { file, code } of blocks) writeFileSync(join(scripts, `${file}.mts`), code);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('has an example for each expectation', () => {
    expect(blocks.map(({ title }) => title)).toEqual(Object.keys(expected));
  });

  test('the examples compile', { timeout: 120_000 }, () => {
    const program = ts.createProgram(
      blocks.map(({ file }) => join(scripts, `${file}.mts`)),
      {
        strict: true,
        noEmit: true,
        skipLibCheck: true,
        target: ts.ScriptTarget.ES2023,
        module: ts.ModuleKind.NodeNext,
        lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
        types: [],
      },
    );
    const problems = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
      const line = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
      return `${file?.fileName}:${line} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
    expect(problems).toEqual([]);
  });

  for (const { title, code, file } of blocks) {
    if (expected[title] === null) continue;
    test(title, { timeout: 120_000 }, () => {
      const script = join(scripts, `${file}.mjs`);
      const compilerOptions = { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext };
      writeFileSync(script, ts.transpileModule(code, { compilerOptions }).outputText);
      const output = execFileSync(process.execPath, [script], {
        cwd: folder,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      for (const pattern of expected[title] ?? []) expect(output).toMatch(pattern);
    });
  }
});
