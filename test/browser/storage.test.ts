/** The store contract on the real origin private file system. */
import { describe, expect, it } from 'vitest';
import { openFile, openFolder, openStore } from '../../src/platform/browserFiles.ts';
import { saveFolder } from '../../src/platform/stores.ts';
import { storeContract } from '../platform/storeContract.ts';

let made = 0;
const newPath = () => `test-${Date.now()}-${made++}`;

describe('openStore in a page', () => {
  storeContract(() => openStore(newPath()));

  it('writes what openFile and openFolder read', async () => {
    const path = newPath();
    const store = await openStore(`${path}/run`);
    await store.write('a.txt', 'hello');
    await saveFolder(store, 'final_model', async (staged) => staged.write('b.txt', 'x'));
    const source = await openFile(`${path}/run/a.txt`);
    expect(source.size).toBe(5);
    expect(new TextDecoder().decode(await source.read(1, 3))).toBe('ell');
    await expect(source.read(3, 3)).rejects.toMatchObject({ code: 'IO' });
    expect(await (await openFolder(`${path}/run`)).has('a.txt')).toBe(true);
    await expect(openFile(`${path}/none.txt`)).rejects.toMatchObject({ code: 'IO' });
    await expect(openFolder(`${path}/none`)).rejects.toMatchObject({ code: 'IO' });
  });
});
