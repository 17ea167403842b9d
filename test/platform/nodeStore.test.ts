import { spawnSync } from 'node:child_process';
import { link, mkdir, mkdtemp, open, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openStore } from '../../src/platform/nodeFiles.ts';
import { saveFolder } from '../../src/platform/stores.ts';
import { storeContract } from './storeContract.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sft-store-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(root, { recursive: true });
});

let made = 0;
const newStore = () => openStore(join(root, `run${made++}`));

/** A process number that belonged to a process which has ended. */
const deadPid = spawnSync(process.execPath, ['--version']).pid;

/** Makes a method of all file handles fail, as on a full disk; `when` counts the calls. */
async function failOn(method: 'writeFile' | 'sync', code: string, when = 1): Promise<void> {
  const probe = await open(root, 'r');
  const handles = Object.getPrototypeOf(probe) as Record<string, (...values: unknown[]) => unknown>;
  await probe.close();
  const real = handles[method]!;
  let calls = 0;
  vi.spyOn(handles, method).mockImplementation(function (this: unknown, ...values: unknown[]) {
    calls += 1;
    return calls < when ? real.apply(this, values) : Promise.reject(Object.assign(new Error(code), { code }));
  });
}

describe('openStore', () => {
  storeContract(newStore);

  it('writes nothing until asked', async () => {
    const store = await openStore(join(root, 'a/b'));
    expect(await store.read('x')).toBeNull();
    expect(await store.folders()).toEqual([]);
    expect(await readdir(root)).toEqual([]);
  });

  it('leaves no temporary files', async () => {
    const store = await newStore();
    await store.write('config.yaml', 'x');
    await saveFolder(store, 'final_model', async (staged) => staged.write('a', 'x'));
    await saveFolder(store, 'final_model', async (staged) => staged.write('a', 'y'));
    expect((await readdir(store.name)).sort()).toEqual(['config.yaml', 'final_model']);
  });
});

describe('links in an output folder', () => {
  it('are replaced and not written through', async () => {
    const victim = join(root, 'victim');
    await mkdir(victim);
    await writeFile(join(victim, 'file'), 'keep');
    const store = await openStore(join(root, 'run'));
    await mkdir(store.name);
    for (const name of ['state.json', 'events.jsonl']) await symlink(join(victim, 'file'), join(store.name, name));
    for (const name of ['final_model', 'runs', 'gone']) await symlink(victim, join(store.name, name));

    await store.write('state.json', 'new');
    await store.append('events.jsonl', 'new');
    await store.write('runs/log', 'new');
    await saveFolder(store, 'final_model', async (staged) => staged.write('file', 'new'));
    await store.remove('gone');

    expect(await readdir(victim)).toEqual(['file']);
    expect(await readFile(join(victim, 'file'), 'utf8')).toBe('keep');
    for (const name of ['state.json', 'events.jsonl', 'runs/log', 'final_model/file']) {
      expect(await readFile(join(store.name, name), 'utf8')).toBe('new');
    }
  });

  it('that are hard are not written through by whole writes', async () => {
    const store = await openStore(join(root, 'run'));
    await store.write('state.json', 'old');
    await link(join(store.name, 'state.json'), join(root, 'backup'));
    await store.write('state.json', 'new');
    expect(await readFile(join(root, 'backup'), 'utf8')).toBe('old');
  });
});

describe('a disk that fails', () => {
  const save = async (store: Awaited<ReturnType<typeof newStore>>) =>
    saveFolder(store, 'final_model', async (staged) => {
      const file = await staged.create('adapter_model.safetensors');
      await file.write(new Uint8Array(10));
      await file.write(new Uint8Array(10));
      await file.close();
    });

  it.each([
    ['ENOSPC', 'the disk is full', 'free some space, or write to another disk'],
    ['EROFS', 'the file system is read-only', 'choose a folder that can be written'],
    ['EACCES', 'permission denied', 'choose another folder, or change its permissions'],
  ])('is reported with path, reason and advice (%s), and nothing is left', async (code, meaning, hint) => {
    const store = await newStore();
    await failOn('writeFile', code, 2);
    await expect(save(store)).rejects.toMatchObject({
      code: 'IO',
      message: `${join(store.name, 'final_model/adapter_model.safetensors')}: could not be written: ${meaning}`,
      hint,
    });
    expect(await readdir(store.name)).toEqual([]);
  });

  it('keeps the former folder when bytes do not become durable', async () => {
    const store = await newStore();
    await save(store);
    await failOn('sync', 'EIO');
    await expect(save(store)).rejects.toMatchObject({ code: 'IO' });
    expect(await readdir(store.name)).toEqual(['final_model']);
  });

  it('keeps the former small file', async () => {
    const store = await newStore();
    await store.write('state.json', 'old');
    await failOn('writeFile', 'ENOSPC');
    await expect(store.write('state.json', 'new')).rejects.toMatchObject({ code: 'IO' });
    expect(await readdir(store.name)).toEqual(['state.json']);
    expect(await readFile(join(store.name, 'state.json'), 'utf8')).toBe('old');
  });

  it('appends no half lines', async () => {
    const store = await newStore();
    await store.append('events.jsonl', 'first\n');
    const probe = await open(root, 'r');
    const handles = Object.getPrototypeOf(probe) as { writeFile(text: string): Promise<void> };
    await probe.close();
    const real = handles.writeFile;
    vi.spyOn(handles, 'writeFile').mockImplementation(async function (this: unknown, text: string) {
      await real.call(this, text.slice(0, 3));
      throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    });
    await expect(store.append('events.jsonl', 'second\n')).rejects.toMatchObject({ code: 'IO' });
    expect(await readFile(join(store.name, 'events.jsonl'), 'utf8')).toBe('first\n');
  });

  it('is also one where a file lies in the way of the folder', async () => {
    await writeFile(join(root, 'run'), '');
    const store = await openStore(join(root, 'run'));
    await expect(store.write('x', 'x')).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('in the way'),
    });
    await expect(store.lock()).rejects.toMatchObject({ code: 'IO' });
  });
});

describe('lock', () => {
  const lockFile = (store: { name: string }) => join(store.name, '.lock');

  it('names the process that holds it', async () => {
    const store = await newStore();
    const release = await store.lock();
    await expect((await openStore(store.name)).lock()).rejects.toMatchObject({
      code: 'BUSY',
      message: `${store.name}: another run (process ${process.pid}) is writing here`,
    });
    await release();
    expect(await readdir(store.name)).toEqual([]);
  });

  const stale: [string, object][] = [['of a process that has ended', { pid: deadPid, started: '1' }]];
  // Only Linux tells when a process began.
  if (process.platform === 'linux')
    stale.push(['of an earlier process of the same number', { pid: process.pid, started: '1' }]);
  it.each(stale)('%s is taken over', async (_, holder) => {
    const store = await newStore();
    await store.write('x', '');
    await writeFile(lockFile(store), JSON.stringify(holder));
    const release = await store.lock();
    await expect(store.lock()).rejects.toMatchObject({ code: 'BUSY' });
    await release();
    expect(await readdir(store.name)).toEqual(['x']);
  });

  it('that cannot be read counts only while it is young', async () => {
    const store = await newStore();
    await store.write('x', '');
    await writeFile(lockFile(store), '');
    await expect(store.lock()).rejects.toMatchObject({ code: 'BUSY' });
    await utimes(lockFile(store), 0, 0);
    await (await store.lock())();
  });

  it('that cannot be written is not left behind', async () => {
    const store = await newStore();
    await failOn('writeFile', 'ENOSPC');
    await expect(store.lock()).rejects.toMatchObject({ code: 'IO' });
    expect(await readdir(store.name)).toEqual([]);
  });

  it('is taken by one of many that try at once', async () => {
    const store = await newStore();
    await store.write('x', '');
    await writeFile(lockFile(store), JSON.stringify({ pid: deadPid, started: '1' }));
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => store.lock()));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('sweeps what dead processes left, and nothing else', async () => {
    const store = await newStore();
    const staged = await store.stage('checkpoint-3');
    const folder = async (name: string) => {
      await mkdir(join(store.name, name), { recursive: true });
      await writeFile(join(store.name, name, 'file'), name);
    };
    for (const name of [
      'checkpoint-1',
      `checkpoint-1.old-${deadPid}-1`,
      `checkpoint-2.old-${deadPid}-2`,
      `checkpoint-2.tmp-${deadPid}-3`,
      `checkpoint-9.tmp-${process.pid}-99999`,
      `checkpoint-9.tmp-${process.ppid}-1`,
      'checkpoint-9.tmp-x',
    ]) {
      await folder(name);
    }
    await writeFile(join(store.name, `state.json.tmp-${deadPid}-4`), '');
    await (await store.lock())();
    expect(await readFile(join(store.name, 'checkpoint-2/file'), 'utf8')).toContain('.old-');
    await staged.commit();
    expect((await readdir(store.name)).sort()).toEqual([
      'checkpoint-1',
      'checkpoint-2',
      'checkpoint-3',
      `checkpoint-9.tmp-${process.ppid}-1`,
      'checkpoint-9.tmp-x',
    ]);
  });
});
