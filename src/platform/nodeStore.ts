/** Where a run writes on disk: everything appears whole or not at all, also when the process is killed. */

import type { FileHandle } from 'node:fs/promises';
import { lstat, mkdir, open, readdir, rename, rm, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { attempt, attemptIfThere } from './nodeErrors.ts';
import { diskFolder, openFile } from './nodeFolder.ts';
import { lockFolder, processExists } from './nodeLock.ts';
import { checkPath } from './paths.ts';
import { toBytes } from './stores.ts';
import type { StagedFolder, WritableFile, WritableStore } from './types.ts';

/**
 * `<name>.tmp-<pid>-<n>` is being written or removed; `<name>.old-<pid>-<n>` is the former `<name>`, kept until the new
 * one is in its place. They lie beside `<name>`, because only within one file system a rename is atomic.
 */
const TEMPORARY = /^(?<name>.+)\.(?<kind>tmp|old)-(?<pid>\d+)-\d+$/;

/** Temporary paths that this process uses now. */
const inUse = new Set<string>();
let counter = 0;

function temporaryPath(path: string, kind: 'tmp' | 'old'): string {
  counter += 1;
  const temporary = resolve(`${path}.${kind}-${process.pid}-${counter}`);
  inUse.add(temporary);
  return temporary;
}

async function removeTemporary(path: string): Promise<void> {
  await attempt('write', path, () => rm(path, { recursive: true, force: true }));
  inUse.delete(path);
}

/** Opens a folder on disk for writing. It is made when something is written. */
export async function openStore(path: string): Promise<WritableStore> {
  /** The place of a file or folder of the store; the folders above it are made, and are no links. */
  async function place(name: string): Promise<string> {
    const parts = checkPath(name).split('/');
    await attempt('write', path, () => mkdir(path, { recursive: true }));
    let folder = path;
    for (const part of parts.slice(0, -1)) {
      folder = join(folder, part);
      await removeLink(folder);
      await attempt('write', folder, () => mkdir(folder, { recursive: true }));
    }
    return join(path, name);
  }

  return {
    name: path,
    async stage(folder) {
      const target = await place(folder);
      return stageInto(target, target, (staged) => replaceFolder(target, staged));
    },
    async stageFiles(names) {
      const targets = new Map<string, string>();
      for (const name of names) targets.set(name, await place(name));
      return stageInto(join(path, 'files'), path, (staged) => replaceFiles(targets, staged));
    },
    async write(name, content) {
      const target = await place(name);
      const temporary = temporaryPath(target, 'tmp');
      try {
        const file = await createFile(temporary, target);
        await file.write(toBytes(content)).finally(file.close);
        await attempt('write', target, () => rename(temporary, target));
        await syncFolder(dirname(target));
      } finally {
        await removeTemporary(temporary);
      }
    },
    async append(name, content) {
      const target = await place(name);
      await removeLink(target);
      await attempt('write', target, () => appendWhole(target, content));
    },
    async read(name) {
      const target = join(path, checkPath(name));
      const source = await attemptIfThere('read', target, () => openFile(target));
      return source ? source.read(0, source.size).finally(source.close) : null;
    },
    async folders() {
      const entries = await attemptIfThere('read', path, () => readdir(path, { withFileTypes: true }));
      const folders = entries?.filter((entry) => entry.isDirectory() && !TEMPORARY.test(entry.name)) ?? [];
      return folders.map((entry) => entry.name).sort();
    },
    folder: (name) => diskFolder(join(path, checkPath(name))),
    async remove(name) {
      const target = join(path, checkPath(name));
      // Renamed first, so that nobody meets a folder of which half is gone.
      const temporary = temporaryPath(target, 'tmp');
      await attemptIfThere('write', target, () => rename(target, temporary));
      await removeTemporary(temporary);
    },
    async lock() {
      await attempt('write', path, () => mkdir(path, { recursive: true }));
      const release = await lockFolder(path);
      try {
        await sweep(path);
        return release;
      } catch (error) {
        await release();
        throw error;
      }
    },
  };
}

/** Output replaces a link (or a named pipe) and never writes through it. */
async function removeLink(path: string): Promise<void> {
  const entry = await attemptIfThere('read', path, () => lstat(path));
  if (entry && !entry.isFile() && !entry.isDirectory()) await attempt('write', path, () => unlink(path));
}

/** A file whose bytes are on the disk when `close` returns. `name` is what messages call it. */
async function createFile(path: string, name: string): Promise<WritableFile & { handle: FileHandle }> {
  const handle = await attempt('write', name, () => open(path, 'wx'));
  return {
    handle,
    write: (bytes) => attempt('write', name, () => handle.writeFile(bytes)),
    close: () => attempt('write', name, () => handle.sync().finally(() => handle.close())),
  };
}

/** Appends the whole content or nothing: when the disk fills up, no half line stays behind. */
async function appendWhole(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, 'a');
  try {
    const { size } = await file.stat();
    await file.writeFile(content).catch(async (error: unknown) => {
      await file.truncate(size);
      throw error;
    });
  } finally {
    await file.close();
  }
}

/** Makes the names in a folder durable. Windows cannot do this for folders, and some network file systems do not. */
async function syncFolder(path: string): Promise<void> {
  const unsupported = (error: NodeJS.ErrnoException) => {
    if (!['EPERM', 'EISDIR', 'EINVAL', 'ENOTSUP'].includes(error.code ?? '')) throw error;
  };
  await attempt('write', path, async () => {
    const folder = await open(path, 'r').catch(unsupported);
    if (!folder) return;
    await folder.sync().catch(unsupported);
    await folder.close();
  });
}

/** Stages files beside `target`. `name` is the folder that messages speak of; `move` puts what is staged in its place. */
async function stageInto(target: string, name: string, move: (staged: string) => Promise<void>): Promise<StagedFolder> {
  const temporary = temporaryPath(target, 'tmp');
  const folders = new Set([temporary]);
  const openFiles = new Set<FileHandle>();
  await attempt('write', name, () => mkdir(temporary));

  async function create(path: string): Promise<WritableFile> {
    const place = join(temporary, checkPath(path));
    await attempt('write', join(name, path), () => mkdir(dirname(place), { recursive: true }));
    for (let folder = dirname(place); !folders.has(folder); folder = dirname(folder)) folders.add(folder);
    const file = await createFile(place, join(name, path));
    openFiles.add(file.handle);
    return {
      write: file.write,
      async close() {
        openFiles.delete(file.handle);
        await file.close();
      },
    };
  }

  return {
    create,
    async write(path, content) {
      const file = await create(path);
      await file.write(toBytes(content)).finally(file.close);
    },
    async commit() {
      for (const folder of folders) await syncFolder(folder);
      await move(temporary);
      await removeTemporary(temporary);
    },
    async abort() {
      for (const file of openFiles) await file.close();
      openFiles.clear();
      await removeTemporary(temporary);
    },
  };
}

/**
 * Moves a folder to its name. No system call exchanges two folders everywhere, so the former one is moved aside first;
 * when the process is killed between the two renames, `sweep` moves it back.
 */
async function replaceFolder(target: string, replacement: string): Promise<void> {
  const former = temporaryPath(target, 'old');
  const replaced = (await attemptIfThere('write', target, () => rename(target, former).then(() => true))) ?? false;
  try {
    await attempt('write', target, () => rename(replacement, target));
  } catch (error) {
    if (replaced) await attempt('write', target, () => rename(former, target));
    throw error;
  }
  await syncFolder(dirname(target));
  await removeTemporary(former);
}

/**
 * Moves staged files to their places: first the former ones into the staged folder, in the order of `targets`, then the new
 * ones out of it, in the opposite order.
 */
async function replaceFiles(targets: ReadonlyMap<string, string>, staged: string): Promise<void> {
  const undo: (() => Promise<void>)[] = [];
  const move = async (from: string, to: string) => {
    await attempt('write', to, () => mkdir(dirname(to), { recursive: true }));
    if (await attemptIfThere('write', to, () => rename(from, to).then(() => true))) {
      undo.unshift(() => attempt('write', from, () => rename(to, from)));
    }
  };
  try {
    for (const [name, target] of targets) await move(target, join(staged, '.former', name));
    for (const [name, target] of [...targets].reverse()) await move(join(staged, name), target);
  } catch (error) {
    for (const step of undo) await step();
    throw error;
  }
  for (const folder of new Set([...targets.values()].map(dirname))) await syncFolder(folder);
}

/** Clears away what dead processes left in a store. A folder whose replacement never came gets its name back. */
async function sweep(store: string): Promise<void> {
  const names = await attempt('read', store, () => readdir(store));
  for (const entry of names) {
    const { name, kind, pid } = TEMPORARY.exec(entry)?.groups ?? {};
    if (!name) continue;
    const path = resolve(store, entry);
    const ours = Number(pid) === process.pid;
    if (ours ? inUse.has(path) : processExists(Number(pid))) continue;
    if (kind === 'old' && !names.includes(name)) {
      await attempt('write', path, () => rename(path, join(store, name)));
    } else {
      await removeTemporary(path);
    }
  }
}
