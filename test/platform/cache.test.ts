/** The cache of the hub: what is in it, and what is removed. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SftError } from '../../src/platform/errors.ts';
import { type CachedRepo, readCache, removeCached } from '../../src/platform/nodeCache.ts';

const [FIRST, SECOND] = ['a'.repeat(40), 'b'.repeat(40)];
let cache = '';

beforeEach(() => {
  cache = join(mkdtempSync(join(tmpdir(), 'webgpu-sft-cache-')), 'hub');
});
afterEach(() => rmSync(dirname(cache), { recursive: true }));

const write = (path: string, text: string) => {
  mkdirSync(dirname(join(cache, path)), { recursive: true });
  writeFileSync(join(cache, path), text);
};
const link = (path: string, target: string) => {
  mkdirSync(dirname(join(cache, path)), { recursive: true });
  symlinkSync(target, join(cache, path));
};
const has = (path: string) => existsSync(join(cache, path));

/** Two commits that share a file, and what a download left. */
function makeRepo(folder = 'models--org--tiny') {
  for (const [blob, text] of Object.entries({ same: '12345', old: '123', new: '12' }))
    write(`${folder}/blobs/${blob}`, text);
  write(`${folder}/blobs/later.incomplete`, '1234567');
  for (const [commit, blob] of [
    [FIRST, 'old'],
    [SECOND, 'new'],
  ]) {
    link(`${folder}/snapshots/${commit}/config.json`, `../../blobs/${blob}`);
    link(`${folder}/snapshots/${commit}/sub/weights`, '../../../blobs/same');
    write(`${folder}/listings/${commit}.json`, '[]');
  }
  write(`${folder}/refs/main`, SECOND);
  write(`${folder}/refs/refs/pr/1`, SECOND);
}

const only = async (): Promise<CachedRepo> => {
  const [repo, ...more] = await readCache(cache);
  expect(more).toEqual([]);
  return repo!;
};
const failure = (promise: Promise<unknown>): Promise<SftError> =>
  promise.then(
    () => expect.fail(),
    (error) => error,
  );

it('is empty where there is none', async () => {
  expect(await readCache(join(cache, 'none'))).toEqual([]);
});

it('tells repositories, commits, sizes and when they were used', async () => {
  makeRepo();
  write('version.txt', '1');
  write('datasets--org--rows/refs/main', FIRST);
  write('models--gpt2/blobs/x', '1');
  const used = new Date('2026-01-02');
  for (const name of readdirSync(join(cache, 'models--org--tiny/blobs')))
    utimesSync(join(cache, 'models--org--tiny/blobs', name), used, new Date('2025-01-01'));
  const [old, tiny, rows] = await readCache(cache);
  expect(rows).toMatchObject({ type: 'dataset', id: 'org/rows', bytes: 0, lastUsed: null, revisions: [] });
  expect(old).toMatchObject({ type: 'model', id: 'gpt2' });
  expect(tiny).toMatchObject({ type: 'model', id: 'org/tiny', bytes: 5 + 3 + 2 + 7, lastUsed: used.getTime() });
  expect(tiny!.revisions.map(({ commit, refs, files }) => [commit, refs, files.length])).toEqual([
    [FIRST, [], 2],
    [SECOND, ['main', 'refs/pr/1'], 2],
  ]);
});

describe('removal', () => {
  it('of a commit leaves what others have', async () => {
    makeRepo();
    await removeCached(cache, await only(), SECOND);
    expect(readdirSync(join(cache, 'models--org--tiny/blobs'))).toEqual(['old', 'same']);
    expect((await only()).revisions.map(({ commit, files }) => [commit, files.length])).toEqual([[FIRST, 2]]);
    expect([has('models--org--tiny/refs/main'), has(`models--org--tiny/listings/${SECOND}.json`)]).toEqual([
      false,
      false,
    ]);
    await removeCached(cache, await only(), FIRST);
    expect(readdirSync(cache)).toEqual([]);
  });

  it('of all leaves other repositories, and what they share', async () => {
    makeRepo('models--org--other');
    write('blobs/ab/shared', 'shared');
    write('blobs/ab/own', 'own');
    for (const name of ['tiny', 'other']) link(`models--org--${name}/blobs/5678`, '../../blobs/ab/shared');
    link('models--org--tiny/blobs/9', '../../blobs/ab/own');
    link(`models--org--tiny/snapshots/${FIRST}/own`, '../../blobs/9');
    for (const name of ['tiny', 'other']) link(`models--org--${name}/snapshots/${FIRST}/shared`, '../../blobs/5678');
    write('.locks/models--org--tiny/x.lock', '');
    const [other, tiny] = await readCache(cache);
    expect(tiny).toMatchObject({ id: 'org/tiny', bytes: 9 });
    await removeCached(cache, tiny!);
    expect([has('models--org--tiny'), has('.locks/models--org--tiny')]).toEqual([false, false]);
    expect([has('blobs/ab/own'), has('blobs/ab/shared')]).toEqual([false, true]);
    expect(await readCache(cache)).toEqual([other]);
  });

  it('never leaves the cache', async () => {
    mkdirSync(join(dirname(cache), 'mine/blobs'), { recursive: true });
    writeFileSync(join(dirname(cache), 'mine/thesis.txt'), 'precious');
    makeRepo();
    link('models--org--tiny/blobs/away', '../../../mine/thesis.txt');
    const repo = await only();
    await removeCached(cache, repo);
    expect(existsSync(join(dirname(cache), 'mine/thesis.txt'))).toBe(true);
    link('models--org--tiny', '../mine');
    expect(await readCache(cache), 'a link is no repository').toEqual([]);
    expect(await failure(removeCached(cache, repo))).toMatchObject({
      code: 'IO',
      message: expect.stringContaining('expected a folder of the cache, it leads to'),
    });
    expect(existsSync(join(dirname(cache), 'mine/thesis.txt'))).toBe(true);
  });

  it('waits for no download of another process', async () => {
    makeRepo();
    write(`models--org--tiny/blobs/x.${process.ppid}-1.incomplete`, '1');
    expect(await failure(removeCached(cache, await only()))).toMatchObject({ code: 'BUSY' });
    expect((await only()).revisions).toHaveLength(2);
  });
});
