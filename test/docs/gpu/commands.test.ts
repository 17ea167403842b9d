/** Every command that README and the pages of docs/ print is run, here or in the test of its page. */
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { root } from '../../../scripts/common.mjs';
import { runCli, useCli } from '../../cli/cli.ts';
import { LLAMA_8B, writeSparse } from '../../model/sparse.ts';
import { blocksOf, runShell, shown } from '../page.ts';

/** Pages whose commands have a test of their own, as they need more around them. */
const ELSEWHERE = ['docs/data.md', 'docs/getting-started.md', 'docs/hub.md'];
/** Programs that are not ours, and where what is given to them is tested. */
const FOREIGN: Readonly<Record<string, string>> = {
  pip: 'test/oracle/trlExport.test.ts',
  accelerate: 'test/oracle/trlExport.test.ts',
  'llama-cli': 'test/oracle/ggufExport.test.ts',
  'mlx_lm.generate': 'runs on Apple silicon only',
  'mlx_lm.fuse': 'runs on Apple silicon only',
};
const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

const folder = useCli();
const at = (...parts: string[]) => join(folder(), ...parts);

/** What the commands are about: a project that has trained, and stand-ins for models that nobody downloads for a test. */
beforeAll(async () => {
  const ready = [
    ['init', '--yes', '--set', 'train.max_steps=2'],
    ['process', 'configs/config_run.yaml'],
    ['train', 'configs/config_run.yaml'],
  ];
  for (const command of ready) {
    const { code, stderr } = await runCli(command, { cwd: folder() });
    expect(code, stderr).toBe(0);
  }
  for (const name of ['base', 'SmolLM2-135M-Instruct'])
    cpSync(at('models/tiny-llama'), at('models', name), { recursive: true });
  cpSync(at('configs/config_run.yaml'), at('configs/my_run.yaml'));
  cpSync(join(root, 'configs/lora_smollm2.yaml'), at('configs/lora_smollm2.yaml'));
  for (const split of ['train', 'test']) cpSync(join(root, 'test/assets/gsm8k.jsonl'), at(`data/gsm8k/${split}.jsonl`));
  mkdirSync(at('models/Llama-3.1-8B'));
  await writeSparse(at('models/Llama-3.1-8B'), LLAMA_8B);
}, 120_000);

const scripts = Object.keys(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).scripts);

/** The lines of a block without those of programs that are not ours; `npm` must name scripts that there are. */
function ours(text: string): string {
  const lines = text.trimEnd().split(/(?<!\\)\n/);
  const kept = lines.filter((line) => {
    const [program = ''] = line.split(' ');
    if (program !== 'npm') return !Object.hasOwn(FOREIGN, program);
    for (const [, script = ''] of line.matchAll(/npm (?:run )?([\w:]+)/g)) {
      expect([...scripts, 'install'], line).toContain(script);
    }
    return false;
  });
  return kept.join('\n');
}

const blocks = PAGES.filter((page) => !ELSEWHERE.includes(page)).flatMap((page) => {
  const all = blocksOf(page);
  return all.flatMap(({ language, text }, index) => {
    const next = all[index + 1];
    const output = next?.language === 'text' ? next.text : null;
    return language === 'sh' || language === 'bash' ? [{ page, text, output, first: text.split('\n')[0] }] : [];
  });
});

test.each(blocks)('$page: $first', { timeout: 120_000 }, async ({ text, output }) => {
  const lines = ours(text);
  if (lines === '') return;
  const { code, stdout, stderr } = await runShell(lines, folder());
  expect(code, `${lines}\n${stderr}`).toBe(0);
  // The alignment of an adapter makes this row a little larger or smaller.
  if (output !== null) expect(stdout).toMatch(shown(output.replace(/^staging .*$/m, 'staging …')));
});
