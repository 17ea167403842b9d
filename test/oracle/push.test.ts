/** What this project sends to a hub is what Python's own client sends: neither finds anything to do after the other. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openFolder } from '../../src/platform/nodeFiles.ts';
import { pushFiles } from '../../src/platform/nodePush.ts';
import { FakeHub, TOKEN } from '../fakeHub.ts';
import { python } from './python.ts';

const FILES = {
  'README.md': '# An adapter\n',
  'adapter_config.json': '{"größe": 1}\n',
  'empty.txt': '',
  'adapter_model.safetensors': Uint8Array.from({ length: 250_001 }, (_, i) => (i * 7) % 251),
  'sub/small.safetensors': Uint8Array.from({ length: 1000 }, (_, i) => i % 251),
};
let hub: FakeHub;
let home = '';

beforeAll(async () => {
  hub = await FakeHub.start();
  home = mkdtempSync(join(tmpdir(), 'webgpu-sft-push-'));
  mkdirSync(join(home, 'files/sub'), { recursive: true });
  for (const [name, content] of Object.entries(FILES)) writeFileSync(join(home, 'files', name), content);
  for (const [name, value] of Object.entries({
    HF_HOME: home,
    HF_ENDPOINT: hub.url,
    HF_TOKEN: TOKEN,
    HF_HUB_OFFLINE: '',
  }))
    vi.stubEnv(name, value);
  // The hub on loopback has no Xet.
  vi.stubEnv('HF_HUB_DISABLE_XET', '1');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await hub.stop();
  rmSync(home, { recursive: true });
});

async function pushFromHere(repo: string) {
  const folder = await openFolder(join(home, 'files'));
  const sources = new Map(
    await Promise.all((await folder.list()).map(async (path) => [path, await folder.open(path)] as const)),
  );
  const done = await pushFiles(repo, sources, { private: true, message: 'From here' });
  for (const source of sources.values()) await source.close();
  return done;
}

async function pushFromPython(repo: string): Promise<void> {
  const script = fileURLToPath(new URL('hub_push.py', import.meta.url));
  await promisify(execFile)(python!, [script, join(home, 'files'), repo], { timeout: 60_000 });
}

const bytesOf = (repo: string) =>
  Object.entries(hub.filesOf(repo))
    .map(([path, content]) => [path, Buffer.from(content as Uint8Array).toString('base64')])
    .sort();

test('after Python there is nothing to send, and after this project Python has nothing', async () => {
  await pushFromPython('me/python');
  expect(await pushFromHere('me/python')).toMatchObject({ changed: [] });
  expect((await pushFromHere('me/here')).changed).toHaveLength(5);
  await pushFromPython('me/here');
  expect(hub.writing.commits.map(({ id, summary }) => [id, summary])).toEqual([
    ['me/python', 'From Python'],
    ['me/here', 'From here'],
  ]);
  expect(bytesOf('me/here')).toEqual(bytesOf('me/python'));
  expect(hub.writing.made.map((asked) => asked.visibility)).toEqual(['private', 'private']);
});
