import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'vite';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openStore } from '../../src/platform/nodeFiles.ts';
import { readText } from '../../src/platform/sources.ts';
import { saveFolder } from '../../src/platform/stores.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'sft-killed-'));
  await build({
    configFile: false,
    logLevel: 'silent',
    build: {
      ssr: join(import.meta.dirname, 'killedChild.ts'),
      outDir: root,
      rolldownOptions: { output: { entryFileNames: 'child.mjs' } },
    },
  });
});
afterAll(() => rm(root, { recursive: true }));

it('a save that is killed at any moment leaves the old folder or the new one, whole', async () => {
  const seen: string[] = [];
  for (let calls = 1; ; calls++) {
    const store = await openStore(join(root, `run-${calls}`));
    await saveFolder(store, 'model', async (staged) => {
      await staged.write('weights/a', 'old');
      await staged.write('b', 'old');
    });
    const child = spawnSync(process.execPath, [join(root, 'child.mjs'), store.name, String(calls)], {
      encoding: 'utf8',
    });
    expect(child.stderr).toBe('');

    await (await store.lock())();
    expect(await readdir(store.name)).toEqual(['model']);
    const model = store.folder('model');
    expect(await model.list()).toEqual(['b', 'weights/a']);
    const content = await readText(model, 'b');
    expect(await readText(model, 'weights/a')).toBe(content);
    seen.push(content);

    if (child.status === 0) break;
    expect(child.signal).toBe('SIGKILL');
  }
  // Every moment was tried: the old folder up to some call, the new one from there on.
  expect(seen.length).toBeGreaterThan(15);
  expect(seen.join(' ')).toMatch(/^(old )+(new )*new$/);
});
