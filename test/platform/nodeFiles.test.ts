import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, open, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as browserFiles from '../../src/platform/browserFiles.ts';
import * as nodeFiles from '../../src/platform/nodeFiles.ts';
import { openFile, openFolder } from '../../src/platform/nodeFiles.ts';
import { readText } from '../../src/platform/sources.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'sft-files-'));
});
afterAll(() => rm(root, { recursive: true }));

describe('#platform', () => {
  it('gives the same names on Node and in a page', () => {
    expect(Object.keys(browserFiles).sort()).toEqual(Object.keys(nodeFiles).sort());
    const same: typeof nodeFiles = browserFiles;
    expect(same).toBeDefined();
  });
});

describe('openFile', () => {
  it('reads beyond 4 GiB', async () => {
    const path = join(root, 'large.bin');
    const far = 2 ** 32 + 12_345;
    const file = await open(path, 'w');
    await file.write(new Uint8Array([1, 2, 3]), 0, 3, far);
    await file.close();
    const source = await openFile(path);
    expect(source.size).toBe(far + 3);
    expect(await source.read(far - 1, 4)).toEqual(new Uint8Array([0, 1, 2, 3]));
    await expect(source.read(far, 4)).rejects.toMatchObject({
      code: 'IO',
      message: `${path}: expected 4 bytes at ${far}, the file has ${far + 3}`,
    });
    await source.close();
  });

  it('notices that the file was cut off', async () => {
    const path = join(root, 'cut.bin');
    await writeFile(path, 'hello');
    const source = await openFile(path);
    await writeFile(path, 'he');
    await expect(source.read(0, 5)).rejects.toMatchObject({ code: 'IO' });
    await source.close();
  });

  it('tells what is wrong', async () => {
    await expect(openFile(join(root, 'none'))).rejects.toMatchObject({
      code: 'IO',
      message: `${join(root, 'none')}: could not be read: there is no such file or folder`,
    });
    await expect(openFile(root)).rejects.toMatchObject({ message: `${root}: expected a regular file, got a folder` });
  });

  it.skipIf(process.platform === 'win32')('does not wait for a named pipe', async () => {
    const path = join(root, 'pipe');
    execFileSync('mkfifo', [path]);
    await expect(openFile(path)).rejects.toMatchObject({
      message: `${path}: expected a regular file, got a named pipe`,
    });
  });
});

describe('openFolder', () => {
  beforeAll(async () => {
    await mkdir(join(root, 'hub/blobs'), { recursive: true });
    await mkdir(join(root, 'hub/snapshots/abc/tokenizer'), { recursive: true });
    await writeFile(join(root, 'hub/blobs/1234'), 'weights');
    await writeFile(join(root, 'hub/secret'), 'secret');
    const folder = join(root, 'hub/snapshots/abc');
    await writeFile(join(folder, 'config.json'), '{}');
    await symlink('../../blobs/1234', join(folder, 'model.safetensors'));
    await symlink('../../../blobs/1234', join(folder, 'tokenizer/vocab.json'));
    // What repositories share lies one folder further up.
    await mkdir(join(root, 'blobs/ab'), { recursive: true });
    await writeFile(join(root, 'blobs/ab/5678'), 'shared');
    await symlink('../../blobs/ab/5678', join(root, 'hub/blobs/5678'));
    await symlink('../../blobs/5678', join(folder, 'shared.safetensors'));
    await symlink('config.json', join(folder, 'copy.json'));
    await symlink('../../secret', join(folder, 'leak.json'));
    await symlink('/etc/hostname', join(folder, 'absolute.json'));
    await symlink('nowhere', join(folder, 'dangling.json'));
    await symlink('../..', join(folder, 'up'));
  });
  const hub = () => openFolder(join(root, 'hub/snapshots/abc'));

  it('lists files with those in folders, sorted', async () => {
    expect(await (await hub()).list()).toEqual([
      'absolute.json',
      'config.json',
      'copy.json',
      'leak.json',
      'model.safetensors',
      'shared.safetensors',
      'tokenizer/vocab.json',
    ]);
  });

  it('follows links inside the folder and into the hub cache', async () => {
    const folder = await hub();
    for (const path of ['model.safetensors', 'tokenizer/vocab.json']) {
      expect(await folder.has(path)).toBe(true);
      expect(await readText(folder, path)).toBe('weights');
    }
    expect(await readText(folder, 'shared.safetensors')).toBe('shared');
    expect(await readText(folder, 'copy.json')).toBe('{}');
    const source = await folder.open('model.safetensors');
    expect(source.name).toBe(join(root, 'hub/snapshots/abc/model.safetensors'));
    await source.close();
  });

  it('reads nothing else outside of the folder', async () => {
    const folder = await hub();
    for (const path of ['leak.json', 'absolute.json', 'up/secret']) {
      await expect(folder.open(path), path).rejects.toMatchObject({
        code: 'IO',
        message: expect.stringContaining('outside'),
      });
    }
    for (const path of ['../../secret', '/etc/hostname', 'tokenizer/../../../secret']) {
      await expect(folder.open(path), path).rejects.toMatchObject({
        message: expect.stringContaining('inside the folder'),
      });
    }
  });

  it('says what is missing', async () => {
    const folder = await hub();
    expect(await folder.has('none.json')).toBe(false);
    expect(await folder.has('dangling.json')).toBe(false);
    expect(await folder.has('config.json/x')).toBe(false);
    expect(await folder.has('tokenizer')).toBe(false);
    await expect(folder.open('none.json')).rejects.toMatchObject({ message: expect.stringContaining('no such file') });
    await expect(openFolder(join(root, 'none'))).rejects.toMatchObject({ code: 'IO' });
    await expect(openFolder(join(root, 'hub/secret'))).rejects.toMatchObject({
      message: expect.stringContaining('a file'),
    });
  });
});
