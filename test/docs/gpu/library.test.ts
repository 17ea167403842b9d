/** Runs the examples of docs/library.md, in order, as they are printed there, against the built package. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = new URL('../../../', import.meta.url).pathname;
const guide = readFileSync(join(root, 'docs/library.md'), 'utf8');
const blocks = [...guide.matchAll(/## (.+?)\n(?:(?!\n## )[\s\S])*?```ts\n([\s\S]*?)```/g)].map(
  ([, title = '', code = '']) => ({
    title,
    code,
  }),
);

/** What each example must print. */
const expected: Record<string, RegExp[]> = {
  Train: [/step 1: loss \d+\.\d{3}/, /step 4: loss \d+\.\d{3}/, /saved outputs\/requests\/final_model/],
  'Talk to a model': [/\S/],
  'Evaluate, merge, plan': [/loss \d+\.\d{3}, perplexity \d+\.\d over \d+ tokens/, /^\d{5,} bytes$/m],
  'Own rows, own storage': [/^start\nstep\nstep\ndone$/m, /adapter_model\.safetensors/],
};

describe('docs/library.md', () => {
  let folder = '';
  // The examples import the package by its name, which Node resolves from files inside the package only.
  const scripts = join(root, '.cache/docs');
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'webgpu-sft-docs-'));
    symlinkSync(join(root, 'assets'), join(folder, 'assets'));
    mkdirSync(scripts, { recursive: true });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('has an example for each expectation', () => {
    expect(blocks.map(({ title }) => title)).toEqual(Object.keys(expected));
  });

  for (const { title, code } of blocks) {
    test(title, { timeout: 120_000 }, () => {
      const script = join(scripts, `${title.replaceAll(/\W+/g, '-')}.mjs`);
      writeFileSync(script, code);
      const output = execFileSync(process.execPath, [script], {
        cwd: folder,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      for (const pattern of expected[title] ?? []) expect(output).toMatch(pattern);
    });
  }
});
