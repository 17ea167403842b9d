/** One cache for both: what this project brings from a hub, Python finds there, and the other way round. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { loadTokenizer } from '../../src/data/tokenizer.ts';
import { openHub } from '../../src/platform/nodeHub.ts';
import { parseConfig } from '../../src/train/configCheck.ts';
import { openModelFolder, openSources } from '../../src/train/namedFiles.ts';
import { COMMIT, FakeHub } from '../fakeHub.ts';
import { sums } from '../fixtures.ts';
import { python, runPython } from './python.ts';

const MODEL = 'org/tiny-llama';
let hub: FakeHub;
let home = '';
let cache = '';

beforeAll(async () => {
  hub = await FakeHub.start();
  hub.addFolder('model', MODEL, 'assets/tiny-llama');
  hub.add('dataset', 'org/sums', {
    files: { 'README.md': '# Sums', 'data/train.jsonl': sums(3), 'data/test.jsonl': sums(2) },
  });
  home = mkdtempSync(join(tmpdir(), 'webgpu-sft-hub-'));
  cache = join(home, 'hub');
  vi.stubEnv('HF_HOME', home);
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_HUB_OFFLINE', '');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await hub.stop();
  rmSync(home, { recursive: true });
});

test('Python reads what was brought here', async () => {
  const folder = await openModelFolder({ name: MODEL }, { need: 'weights' });
  const config = parseConfig({ model: { name: MODEL }, tuning: { mode: 'lora' } });
  const { sources } = await openSources(config, { key: 'data.raw_path', path: 'org/sums' });
  for (const source of sources) await source.close();
  const { ids } = (await loadTokenizer(folder)).encode('Wake me at seven.', { addSpecialTokens: true });
  const found = runPython<Record<string, unknown>>('hub.py', [], { cache, model: MODEL, dataset: 'org/sums' });
  expect(found).toEqual({
    files: [
      'chat_template.jinja',
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ],
    rows: expect.arrayContaining(['README.md', 'data/train.jsonl']),
    weights: statSync('assets/tiny-llama/model.safetensors').size,
    hidden_size: JSON.parse(readFileSync('assets/tiny-llama/config.json', 'utf8')).hidden_size,
    ids,
    repos: { [MODEL]: ['model', 'main'], 'org/sums': ['dataset', 'main'] },
    warnings: [],
  });
});

test('what Python has brought is not brought again', async () => {
  rmSync(cache, { recursive: true });
  hub.reset();
  // Not `runPython`, which would keep this process from answering.
  const script = fileURLToPath(new URL('hub_download.py', import.meta.url));
  await promisify(execFile)(python!, [script, MODEL, cache], { timeout: 120_000 });
  const brought = hub.asked.length;
  const folder = await openHub({ type: 'model', id: MODEL, revision: 'main' });
  await folder.download(['config.json', 'model.safetensors']);
  expect(hub.asked.slice(brought).map(({ method, path }) => `${method} ${path}`)).toEqual([
    `GET /api/models/${MODEL}/revision/main`,
  ]);

  // A link that is gone is made again from its blob.
  unlinkSync(join(cache, 'models--org--tiny-llama/snapshots', COMMIT, 'model.safetensors'));
  await folder.download(['model.safetensors']);
  expect(hub.asked.slice(brought).filter(({ path }) => path.startsWith('/cdn/'))).toEqual([]);
});
