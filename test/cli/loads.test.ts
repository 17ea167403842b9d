/** No command loads what it does not use. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { root } from '../../scripts/common.mjs';
import { runCli, useCli } from './cli.ts';

const folder = useCli();
const CONFIG = 'configs/config_run.yaml';
const PACKAGE = /node_modules\/((?:@[^/]+\/)?[^/]+)/;

/** Sources and packages that a command line loads; `src/index.ts`, or `zod`. */
async function loadsOf(line: string): Promise<string[]> {
  const list = join(folder(), 'loaded.txt');
  rmSync(list, { force: true });
  const node = ['--import', join(import.meta.dirname, 'tellLoads.mjs')];
  await runCli(line.split(' '), { cwd: folder(), node, env: { LOADED: list } });
  const urls = readFileSync(list, 'utf8').trim().split('\n');
  const files = urls.filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url));
  const found = files.flatMap((file) => {
    const name = PACKAGE.exec(file)?.[1];
    if (name) return [name];
    // A chunk is told by what it is made of; one that only passes names on is made of nothing.
    if (!existsSync(`${file}.map`)) return [];
    const { sources } = JSON.parse(readFileSync(`${file}.map`, 'utf8')) as { sources: string[] };
    return sources.map((source) => {
      const path = join(dirname(file), source);
      return PACKAGE.exec(path)?.[1] ?? relative(root, path).replaceAll('\\', '/');
    });
  });
  return [...new Set(found)];
}

beforeAll(async () => {
  expect(await runCli(['init', '--yes'], { cwd: folder() })).toMatchObject({ code: 0 });
});

const READERS = ['unpdf', 'fflate', 'hyparquet', 'hyparquet-compressors'];
const PRESENTATION = ['nunjucks', '@clack/prompts', '@wandb/sdk'];
const ENGINE = /^(src\/(gpu|tensor)\/|webgpu$)/;
const LIBRARY = /^(src\/(gpu|kernels|tensor|model)\/|webgpu$|@huggingface\/tokenizers$)/;

const all = (...names: readonly string[]) => new RegExp(`^(${names.join('|')})$`);

test.each<[line: string, unused: RegExp[]]>([
  ['models list', [LIBRARY, all('zod', 'yaml')]],
  ['dashboard nowhere', [LIBRARY, all('zod', 'yaml')]],
  ['completion bash', [LIBRARY]],
  [`clean ${CONFIG}`, [LIBRARY]],
  ['init other --yes', [LIBRARY, all('@clack/prompts')]],
  ['batch nowhere.yaml', [LIBRARY]],
  ['push nowhere --repo a/b --dry-run', [ENGINE]],
  [`process ${CONFIG}`, [ENGINE, all(...READERS, ...PRESENTATION)]],
  [`style ${CONFIG} --style Briefly.`, [ENGINE, all(...READERS, ...PRESENTATION)]],
  [`render ${CONFIG}`, [ENGINE, all(...READERS, ...PRESENTATION)]],
  [`inspect ${CONFIG} --row 0`, [ENGINE, all(...READERS, ...PRESENTATION)]],
  [`train ${CONFIG} --max-steps 0`, [/^webgpu$/, all(...READERS, ...PRESENTATION)]],
])('%s', async (line, unused) => {
  const loads = await loadsOf(line);
  expect(loads).toContain('src/cli/main.ts');
  for (const pattern of unused) expect(loads.filter((name) => pattern.test(name))).toEqual([]);
});

test('what the engine is made of would be seen', async () => {
  const loads = await loadsOf('doctor nowhere.yaml');
  expect(loads).toEqual(expect.arrayContaining(['src/gpu/device.ts', 'src/tensor/selfTest.ts']));
});
