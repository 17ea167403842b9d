/** docs/getting-started.md in an empty folder, from outside: every command as it is printed, with the output that is shown. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { useCli } from '../../cli/cli.ts';
import { blocksOf, runShell, shown } from '../page.ts';

const folder = useCli();

/** What the quick start is made of. */
const WALK = [
  'init',
  'process',
  'style',
  'render',
  'check',
  'memory-check',
  'train',
  'eval',
  'infer',
  'merge',
  'infer',
];

test('docs/getting-started.md, from nothing to a merged model', { timeout: 240_000 }, async () => {
  const cwd = join(folder(), 'an empty folder');
  mkdirSync(cwd);
  const walked: string[] = [];
  let printed = '';
  for (const { language, text } of blocksOf('docs/getting-started.md')) {
    if (language === 'text') expect(printed).toMatch(shown(text));
    if (language === 'console') expect(text).toContain(printed);
    if (language !== 'sh') continue;
    for (const line of text.trimEnd().split('\n')) {
      const { code, stdout, stderr } = await runShell(line, cwd);
      expect(code, `${line}\n${stderr}`).toBe(0);
      walked.push(/^npx webgpu-sft (\S+)/.exec(line)?.[1] ?? line);
      printed = stdout;
    }
  }
  expect(walked).toEqual(WALK);
});
