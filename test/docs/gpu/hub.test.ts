/** The commands of docs/hub.md, as they are printed there, against a hub on loopback. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { useCli } from '../../cli/cli.ts';
import { FakeHub, TOKEN } from '../../fakeHub.ts';
import { sums } from '../../fixtures.ts';
import { blocksOf, runShell } from '../page.ts';

vi.setConfig({ testTimeout: 120_000 });
const folder = useCli();
const at = (...parts: string[]) => join(folder(), ...parts);
const lines = blocksOf('docs/hub.md').flatMap(({ text }) => text.trimEnd().split('\n'));
let hub: FakeHub;

const RUN = {
  model: { name: 'Qwen/Qwen2.5-0.5B-Instruct', max_seq_len: 64 },
  tuning: { mode: 'lora' },
  train: { max_steps: 2, batch_size: 2 },
  data: { train_path: 'train.jsonl', val_path: null },
};

beforeAll(async () => {
  hub = await FakeHub.start();
  for (const id of [RUN.model.name, 'HuggingFaceTB/SmolLM2-135M-Instruct'])
    hub.addFolder('model', id, 'assets/tiny-llama');
  vi.stubEnv('HF_HOME', at('home'));
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_TOKEN', TOKEN);
  vi.stubEnv('HF_HUB_OFFLINE', '');
  mkdirSync(at('home'));
  writeFileSync(at('train.jsonl'), sums(6));
  writeFileSync(at('run.yaml'), stringify(RUN));
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await hub.stop();
});

const runs = async (line: string) => {
  const { code, stderr, stdout } = await runShell(line, folder());
  expect(code, `${line}\n${stderr}`).toBe(0);
  return stdout;
};

test('the commands work as printed', async () => {
  const printed = new Map<string, string>();
  for (const line of lines) {
    printed.set(line.replace(/ +#.*/, ''), await runs(line));
    // What the next lines need, and the page takes for granted.
    if (/ train /.test(line)) {
      hub.addFolder('model', 'me/my-adapter', at('outputs/run/final_model'));
      await runs('npx webgpu-sft merge run.yaml');
    }
  }
  expect(printed.size).toBe(8);
  expect(printed.get('npx webgpu-sft models list')).toContain('Qwen/Qwen2.5-0.5B-Instruct');
  expect(Object.keys(hub.filesOf('me/my-adapter'))).toContain('adapter_model.safetensors');
  expect(Object.keys(hub.filesOf('me/my-model'))).toContain('model.safetensors');
  expect(hub.writing.commits.at(-1)).toMatchObject({ id: 'me/my-model', summary: 'First try' });
});
