import { describe, expect, it } from 'vitest';
import { handleStore } from '../../src/platform/opfs.ts';
import { memoryStore, saveFolder } from '../../src/platform/stores.ts';
import { FakeFolder, fakeLocks } from './fakeHandles.ts';
import { storeContract } from './storeContract.ts';

describe('memoryStore', () => {
  storeContract(async () => memoryStore());
});

describe('handleStore', () => {
  storeContract(async () => handleStore('run', new FakeFolder().handle, fakeLocks()));

  it('does not count a folder without its manifest, and sweeps it', async () => {
    const root = new FakeFolder();
    const store = handleStore('run', root.handle, fakeLocks());
    await saveFolder(store, 'final_model', async (staged) => staged.write('a.txt', 'old'));
    // A tab that dies here leaves what it has staged.
    const staged = await store.stage('final_model');
    await staged.write('a.txt', 'new');
    await (await store.stage('checkpoint-5')).write('a.txt', 'new');

    expect(await store.folders()).toEqual(['final_model']);
    expect(await store.read('final_model/a.txt')).toEqual(new TextEncoder().encode('old'));
    expect([...root.children.keys()]).toEqual(['final_model.v1', 'final_model.v2', 'checkpoint-5.v1']);
    await (await store.lock())();
    expect([...root.children.keys()]).toEqual(['final_model.v1']);
  });

  it('keeps one version after a commit', async () => {
    const root = new FakeFolder();
    const store = handleStore('run', root.handle, fakeLocks());
    for (let i = 0; i < 3; i++) await saveFolder(store, 'final_model', async (staged) => staged.write('a.txt', `${i}`));
    expect([...root.children.keys()]).toEqual(['final_model.v3']);
  });

  it('says that the storage is full', async () => {
    const store = handleStore('run', new FakeFolder().handle, fakeLocks());
    FakeFolder.quota = 3;
    try {
      const saved = saveFolder(store, 'final_model', async (staged) => staged.write('model.safetensors', 'large'));
      await expect(saved).rejects.toMatchObject({
        code: 'IO',
        message: 'run/model.safetensors: storage of the browser: the storage quota is used up',
      });
      expect(await store.folders()).toEqual([]);
    } finally {
      FakeFolder.quota = Number.POSITIVE_INFINITY;
    }
  });
});
