/** Folders and stores over file system handles: the origin private file system of a page. */
import { SftError } from './errors.ts';
import { checkPath } from './paths.ts';
import { blobSource, noSuchFile } from './sources.ts';
import { busyError, toBytes } from './stores.ts';
import type { ReadableFolder, WritableStore } from './types.ts';

/**
 * Folders cannot be renamed here. So the folder `final_model` is stored as `final_model.v1`, then `final_model.v2`, …;
 * a version counts once it holds this file, which is written last, and the newest that counts is the folder.
 */
const MANIFEST = '.manifest.json';
const VERSION = /^(?<name>.+)\.v(?<version>\d+)$/;

const HINTS: Readonly<Record<string, string>> = {
  QuotaExceededError: 'free some storage in the settings of the browser, or on the disk',
  NoModificationAllowedError: 'close the other tab that uses this file',
  NotReadableError: 'try again',
};

/** Does something with handles; what they throw becomes `IO`. */
export async function attempt<T>(path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    if (cause instanceof SftError) throw cause;
    const { name, message } = cause as DOMException;
    const hint = HINTS[name];
    const reason = name === 'QuotaExceededError' ? 'the storage quota is used up' : message;
    throw new SftError('IO', `${path}: storage of the browser: ${reason}`, { ...(hint && { hint }), cause });
  }
}

/** Null when there is no entry of that name, or one of the other kind. */
async function orNull<T>(handle: Promise<T>): Promise<T | null> {
  return handle.catch((error: unknown) => {
    if (['NotFoundError', 'TypeMismatchError'].includes((error as DOMException).name)) return null;
    throw error;
  });
}

type Directory = FileSystemDirectoryHandle;

async function walk(root: Directory, folders: readonly string[], create = false): Promise<Directory | null> {
  let folder: Directory | null = root;
  for (const name of folders) folder = folder && (await orNull(folder.getDirectoryHandle(name, { create })));
  return folder;
}

/** Finds or makes a file below a folder. */
async function fileAt(root: Directory, path: string, create = false): Promise<FileSystemFileHandle | null> {
  const parts = checkPath(path).split('/');
  const folder = await walk(root, parts.slice(0, -1), create);
  return folder && orNull(folder.getFileHandle(parts.at(-1)!, { create }));
}

/** A folder of handles. `root` may return null as long as there is no such folder. */
export function handleFolder(name: string, root: () => Promise<Directory | null>): ReadableFolder {
  async function* files(folder: Directory, prefix: string): AsyncGenerator<string> {
    for await (const [entry, handle] of folder.entries()) {
      if (handle.kind === 'directory') yield* files(handle as Directory, `${prefix}${entry}/`);
      else if (entry !== MANIFEST) yield prefix + entry;
    }
  }
  const find = async (path: string) => {
    const folder = await root();
    return folder && fileAt(folder, path);
  };
  return {
    name,
    list: () =>
      attempt(name, async () => {
        const folder = await root();
        const paths: string[] = [];
        if (folder) for await (const path of files(folder, '')) paths.push(path);
        return paths.sort();
      }),
    has: (path) => attempt(`${name}/${path}`, async () => (await find(path)) !== null),
    open: (path) =>
      attempt(`${name}/${path}`, async () => {
        const file = await find(path);
        if (!file) throw noSuchFile(name, path);
        return blobSource(`${name}/${path}`, await file.getFile());
      }),
  };
}

/** What workers may do with a file and pages may not; the types of TypeScript for pages leave it out. */
export interface SyncFile extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<{
    getSize(): number;
    read(bytes: Uint8Array, options: { at: number }): number;
    write(bytes: Uint8Array, options: { at: number }): number;
    truncate(size: number): void;
    flush(): void;
    close(): void;
  }>;
}

interface Version {
  readonly name: string;
  readonly version: number;
  readonly complete: boolean;
}

async function versions(store: Directory): Promise<Version[]> {
  const found: Version[] = [];
  for await (const [entry, handle] of store.entries()) {
    const { name, version } = VERSION.exec(entry)?.groups ?? {};
    if (handle.kind !== 'directory' || !name) continue;
    const manifest = await orNull((handle as Directory).getFileHandle(MANIFEST));
    found.push({ name, version: Number(version), complete: manifest !== null });
  }
  return found.sort((a, b) => a.version - b.version);
}

const newest = (all: readonly Version[], name: string) => all.findLast((one) => one.name === name && one.complete);

/** The folder of that name in another: the newest version that counts, else the one that is called so. Null for none. */
export async function findFolder(parent: Directory, name: string): Promise<Directory | null> {
  const version = newest(await versions(parent), name);
  return orNull(parent.getDirectoryHandle(version ? `${name}.v${version.version}` : name));
}

/** A store in a folder of handles. `locks` are those of the browser: a tab that dies gives its lock back. */
export function handleStore(name: string, store: Directory, locks: LockManager): WritableStore {
  /** The stored path: what lies in a staged folder is in the newest version of it. */
  async function stored(path: string): Promise<string> {
    const [first, ...rest] = checkPath(path).split('/');
    const version = newest(await versions(store), first!);
    return version ? [`${first}.v${version.version}`, ...rest].join('/') : path;
  }

  /** The same for a file; those of the store itself are in no folder. */
  const storedFile = async (path: string): Promise<string> => (path.includes('/') ? stored(path) : checkPath(path));

  async function removeVersions(unwanted: readonly Version[]): Promise<void> {
    for (const { name: folder, version } of unwanted) {
      const entry = `${folder}.v${version}`;
      // Without its manifest it counts no more, however long removing the rest takes.
      const handle = await store.getDirectoryHandle(entry);
      await orNull(handle.removeEntry(MANIFEST));
      await store.removeEntry(entry, { recursive: true });
    }
  }

  async function createFile(root: Directory, path: string, append = false) {
    const label = `${name}/${path}`;
    const writer = await attempt(label, async () => {
      const handle = (await fileAt(root, path, true))!;
      // A writer changes a copy; `close` puts it in the place of the file.
      const stream = await handle.createWritable({ keepExistingData: append });
      if (append) await stream.seek((await handle.getFile()).size);
      return stream;
    });
    return {
      write: (bytes: Uint8Array) => attempt(label, () => writer.write(bytes as Uint8Array<ArrayBuffer>)),
      close: () => attempt(label, () => writer.close()),
      /** Gives the copy up. A writer that has failed or is closed refuses, and that is no matter. */
      abort: () => writer.abort().catch(() => undefined),
    };
  }

  async function writeFile(root: Directory, path: string, content: string | Uint8Array, append = false): Promise<void> {
    const file = await createFile(root, path, append);
    try {
      await file.write(toBytes(content));
      await file.close();
    } catch (error) {
      await file.abort();
      throw error;
    }
  }

  /** In a worker, in place: a log grows, and a writer would copy all of it for each line. */
  async function appendTo(path: string, content: string | Uint8Array): Promise<void> {
    const file = await attempt(`${name}/${path}`, () => fileAt(store, path, true));
    if (!file || !('createSyncAccessHandle' in file)) return writeFile(store, path, content, true);
    await attempt(`${name}/${path}`, async () => {
      const handle = await (file as SyncFile).createSyncAccessHandle();
      try {
        handle.write(toBytes(content), { at: handle.getSize() });
      } finally {
        handle.close();
      }
    });
  }

  return {
    name,
    async stage(folder) {
      checkPath(folder);
      const all = (await attempt(name, () => versions(store))).filter((one) => one.name === folder);
      const version: Version = { name: folder, version: (all.at(-1)?.version ?? 0) + 1, complete: false };
      const root = await attempt(name, () =>
        store.getDirectoryHandle(`${folder}.v${version.version}`, { create: true }),
      );
      const writers: { abort(): Promise<void> }[] = [];
      let staged = true;
      return {
        async create(path) {
          const file = await createFile(root, path);
          writers.push(file);
          return file;
        },
        write: (path, content) => writeFile(root, path, content),
        async commit() {
          const files = await handleFolder(folder, async () => root).list();
          await writeFile(root, MANIFEST, JSON.stringify({ files }));
          staged = false;
          await attempt(name, () => removeVersions(all));
        },
        async abort() {
          // A file that is being written cannot be removed.
          for (const writer of writers) await writer.abort();
          if (staged) await attempt(name, () => removeVersions([version]));
          staged = false;
        },
      };
    },
    async stageFiles(paths) {
      for (const path of paths) checkPath(path);
      const writers = new Map<string, Awaited<ReturnType<typeof createFile>>>();
      const create = async (path: string) => {
        const file = await createFile(store, path);
        writers.set(path, file);
        // What is written shows when a writer is closed, so that has to wait for `commit`.
        return { write: file.write, close: async () => {} };
      };
      const removeEmpty = async (path: string) => {
        const file = await fileAt(store, path);
        if (file && (await file.getFile()).size === 0) await this.remove(path);
      };
      return {
        create,
        write: async (path, content) => (await create(path)).write(toBytes(content)),
        async commit() {
          for (const path of paths) {
            // A file that has a writer cannot be removed; an empty one counts as none.
            if (await attempt(`${name}/${path}`, () => fileAt(store, path))) await writeFile(store, path, '');
          }
          for (const path of [...paths].reverse()) await writers.get(path)?.close();
          for (const path of paths) await attempt(`${name}/${path}`, () => removeEmpty(path));
        },
        async abort() {
          for (const writer of writers.values()) await writer.abort();
          for (const path of writers.keys()) await attempt(`${name}/${path}`, () => removeEmpty(path));
          writers.clear();
        },
      };
    },
    write: async (path, content) => writeFile(store, await attempt(name, () => storedFile(path)), content),
    append: async (path, content) => appendTo(await attempt(name, () => storedFile(path)), content),
    read: (path) =>
      attempt(`${name}/${path}`, async () => {
        const file = await fileAt(store, await storedFile(path));
        const bytes = file && new Uint8Array(await (await file.getFile()).arrayBuffer());
        // A new file is empty until its first writer is closed.
        return bytes && bytes.length > 0 ? bytes : null;
      }),
    folders: () =>
      attempt(name, async () => {
        const names = (await versions(store)).filter((one) => one.complete).map((one) => one.name);
        for await (const [entry, handle] of store.entries()) {
          if (handle.kind === 'directory' && !VERSION.test(entry)) names.push(entry);
        }
        return [...new Set(names)].sort();
      }),
    folder: (path) =>
      handleFolder(`${name}/${path}`, async () => walk(store, (await stored(checkPath(path))).split('/'))),
    remove: (path) =>
      attempt(`${name}/${path}`, async () => {
        const parts = checkPath(path).split('/');
        await removeVersions((await versions(store)).filter((one) => one.name === path));
        const folder = await walk(store, parts.slice(0, -1));
        if (folder) await orNull(folder.removeEntry(parts.at(-1)!, { recursive: true }));
      }),
    async lock() {
      const release = await takeLock(locks, name);
      const all = await versions(store);
      await removeVersions(all.filter((one) => newest(all, one.name) !== one));
      return release;
    },
  };
}

async function takeLock(locks: LockManager, store: string): Promise<() => Promise<void>> {
  return new Promise((resolve, reject) => {
    const held = locks.request(`webgpu-sft:${store}`, { ifAvailable: true }, (lock) => {
      if (!lock) throw busyError(store, 'another tab');
      return new Promise<void>((end) => {
        resolve(async () => {
          end();
          await held;
        });
      });
    });
    held.catch(reject);
  });
}
