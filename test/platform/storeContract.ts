/** What every `WritableStore` must do, whatever lies under it. */
import { expect, it } from 'vitest';
import { readText } from '../../src/platform/sources.ts';
import { saveFiles, saveFolder } from '../../src/platform/stores.ts';
import type { WritableStore } from '../../src/platform/types.ts';

const text = (bytes: Uint8Array | null) => (bytes === null ? null : new TextDecoder().decode(bytes));

export function storeContract(makeStore: () => Promise<WritableStore>): void {
  it('writes, replaces, reads and removes small files', async () => {
    const store = await makeStore();
    expect(await store.read('config.yaml')).toBeNull();
    await store.write('config.yaml', 'a: 1');
    await store.write('config.yaml', new Uint8Array([0x62]));
    await store.write('runs/deep/file.txt', 'x');
    expect(text(await store.read('config.yaml'))).toBe('b');
    expect(text(await store.read('runs/deep/file.txt'))).toBe('x');
    await store.remove('config.yaml');
    await store.remove('config.yaml');
    expect(await store.read('config.yaml')).toBeNull();
  });

  it('appends', async () => {
    const store = await makeStore();
    await store.append('events.jsonl', '{"step":1}\n');
    await store.append('events.jsonl', '{"step":2}\n');
    expect(text(await store.read('events.jsonl'))).toBe('{"step":1}\n{"step":2}\n');
  });

  it('shows a staged folder after commit only, and replaces the former one', async () => {
    const store = await makeStore();
    for (const content of ['first', 'second']) {
      const staged = await store.stage('final_model');
      const file = await staged.create('weights/part.bin');
      await file.write(new TextEncoder().encode(content.slice(0, 2)));
      await file.write(new TextEncoder().encode(content.slice(2)));
      await file.close();
      await staged.write(`${content}.txt`, content);
      const before = await store.folders();
      expect(before).toEqual(content === 'first' ? [] : ['final_model']);
      await staged.commit();
      expect(await store.folders()).toEqual(['final_model']);
      const folder = store.folder('final_model');
      expect(await folder.list()).toEqual([`${content}.txt`, 'weights/part.bin']);
      expect(await readText(folder, 'weights/part.bin')).toBe(content);
      expect(await folder.has(`${content}.txt`)).toBe(true);
      expect(await folder.has('nothing.txt')).toBe(false);
      expect(text(await store.read(`final_model/${content}.txt`))).toBe(content);
    }
    await expect(store.folder('final_model').open('first.txt')).rejects.toMatchObject({ code: 'IO' });
    await store.remove('final_model');
    expect(await store.folders()).toEqual([]);
    expect(await store.folder('final_model').has('second.txt')).toBe(false);
  });

  it('leaves nothing of a folder whose filling failed, and keeps the former one', async () => {
    const store = await makeStore();
    await saveFolder(store, 'checkpoint-10', async (staged) => staged.write('a.txt', 'old'));
    const failed = saveFolder(store, 'checkpoint-10', async (staged) => {
      await staged.write('a.txt', 'new');
      await staged.create('open.bin');
      throw new Error('device lost');
    });
    await expect(failed).rejects.toThrow('device lost');
    expect(await store.folders()).toEqual(['checkpoint-10']);
    expect(await readText(store.folder('checkpoint-10'), 'a.txt')).toBe('old');
  });

  it('replaces a set of files as one, and leaves the others', async () => {
    const store = await makeStore();
    const paths = ['train.jsonl', 'held/val.jsonl'];
    await store.write('notes.txt', 'mine');
    await saveFiles(store, paths, async (staged) => {
      const file = await staged.create('train.jsonl');
      await file.write(new TextEncoder().encode('ol'));
      await file.write(new TextEncoder().encode('d'));
      await file.close();
      await staged.write('held/val.jsonl', 'old');
      expect(await store.read('train.jsonl')).toBeNull();
    });
    for (const path of paths) expect(text(await store.read(path)), path).toBe('old');

    const failed = saveFiles(store, paths, async (staged) => {
      await staged.write('train.jsonl', 'new');
      await staged.create('held/val.jsonl');
      throw new Error('bad row');
    });
    await expect(failed).rejects.toThrow('bad row');
    for (const path of paths) expect(text(await store.read(path)), path).toBe('old');

    // A file that is not written any more goes with the former ones.
    await saveFiles(store, paths, (staged) => staged.write('train.jsonl', 'new'));
    expect(text(await store.read('train.jsonl'))).toBe('new');
    expect(await store.read('held/val.jsonl')).toBeNull();
    expect(text(await store.read('notes.txt'))).toBe('mine');
  });

  it('leaves nothing of files whose filling failed', async () => {
    const store = await makeStore();
    const failed = saveFiles(store, ['train.jsonl'], async (staged) => {
      await staged.write('train.jsonl', 'new');
      throw new Error('bad row');
    });
    await expect(failed).rejects.toThrow('bad row');
    expect(await store.read('train.jsonl')).toBeNull();
    await (await store.lock())();
  });

  it('is held by one run at a time', async () => {
    const store = await makeStore();
    const release = await store.lock();
    await expect(store.lock()).rejects.toMatchObject({ code: 'BUSY', hint: expect.stringContaining('output_dir') });
    await release();
    await (await store.lock())();
  });

  it('refuses paths that lead out of it', async () => {
    const store = await makeStore();
    for (const path of ['../x', '/etc/passwd', 'a/../../x', 'a//b', '', '.', 'C:x', 'a\\b', 'a\0']) {
      await expect(store.write(path, 'x'), path).rejects.toMatchObject({ code: 'IO' });
      await expect(store.stage(path), path).rejects.toMatchObject({ code: 'IO' });
      await expect(store.stageFiles(['x', path]), path).rejects.toMatchObject({ code: 'IO' });
      await expect(store.read(path), path).rejects.toMatchObject({ code: 'IO' });
    }
    const staged = await store.stage('x');
    await expect(staged.write('../y', 'x')).rejects.toMatchObject({ code: 'IO' });
    await staged.abort();
    await staged.abort();
  });
}
