/** Files in a page: paths are those of its origin private file system. The same names as in `nodeFiles.ts`. */
import { SftError } from './errors.ts';
import { findFolder, handleFolder, handleStore } from './opfs.ts';
import { checkPath } from './paths.ts';
import type { ReadableFolder, ReadableSource, WritableStore } from './types.ts';

async function storage(): Promise<FileSystemDirectoryHandle> {
  try {
    return await navigator.storage.getDirectory();
  } catch (cause) {
    throw new SftError('IO', 'storage of the browser: this page may not use it', {
      hint: 'open the page over https or from localhost, and not in a private window',
      cause,
    });
  }
}

/** The folder at a path, versions of staged folders included; an empty path is the root. */
async function directory(path: string, create: boolean): Promise<FileSystemDirectoryHandle> {
  let folder = await storage();
  try {
    for (const name of path === '' ? [] : checkPath(path).split('/')) {
      folder = (await findFolder(folder, name)) ?? (await folder.getDirectoryHandle(name, { create }));
    }
  } catch (cause) {
    throw new SftError('IO', `${path}: there is no such folder in the storage of the browser`, { cause });
  }
  return folder;
}

/** Opens a file for random access. Throws `IO`. */
export async function openFile(path: string): Promise<ReadableSource> {
  const [, parent = '', name = ''] = /^(?:(.*)\/)?(.*)$/.exec(path) ?? [];
  const folder = await directory(parent, false);
  const { read, close, size } = await handleFolder(parent, async () => folder).open(name);
  return { name: path, size, read, close };
}

/** Opens a folder. Throws `IO` when there is none. */
export async function openFolder(path: string): Promise<ReadableFolder> {
  const folder = await directory(path, false);
  return handleFolder(path, async () => folder);
}

/** Opens a folder for writing; it is made when there is none. */
export async function openStore(path: string): Promise<WritableStore> {
  return handleStore(path, await directory(path, true), navigator.locks);
}
