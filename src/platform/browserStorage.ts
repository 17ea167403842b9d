/** What a page's engine asks of its storage beside files and folders: how full it is, who uses it, files that grow. */
import { attempt, findFolder, type SyncFile } from './opfs.ts';
import { checkPath } from './paths.ts';
import { Sha256 } from './sha256.ts';

const LOCKS = 'webgpu-sft:';
/** Bytes that are read at once. */
const SLICE = 4 * 2 ** 20;

/** Bytes in use, bytes that may be used, and whether the browser promised to keep them. */
export async function storageEstimate(): Promise<{ usage: number; quota: number; persisted: boolean }> {
  const { usage = 0, quota = 0 } = await navigator.storage.estimate();
  return { usage, quota, persisted: await navigator.storage.persisted() };
}

/** Does `work` while nobody else, in this tab or another, does work of that name; waits until it may. */
export async function alone<T>(name: string, work: () => Promise<T>): Promise<T> {
  return navigator.locks.request(`${LOCKS}${name}`, work) as Promise<T>;
}

/** Stores and other work of this origin that somebody is busy with, in any tab. */
export async function busyNames(): Promise<string[]> {
  const { held = [] } = await navigator.locks.query();
  return held.flatMap(({ name = '' }) => (name.startsWith(LOCKS) ? name.slice(LOCKS.length) : []));
}

/** Folders below a path, whose files include one of that name; deeper than `depth` nothing is looked at. */
export async function foldersWith(file: string, depth: number): Promise<string[]> {
  const found: string[] = [];
  const visit = async (folder: FileSystemDirectoryHandle, path: string): Promise<void> => {
    for await (const [name, handle] of folder.entries()) {
      const inner = path === '' ? name : `${path}/${name}`;
      if (handle.kind === 'file' && name === file && path !== '') found.push(path);
      if (handle.kind === 'directory' && inner.split('/').length <= depth) {
        await visit(handle as FileSystemDirectoryHandle, inner);
      }
    }
  };
  await visit(await navigator.storage.getDirectory(), '');
  return found.sort();
}

/** Removes a file or folder, whatever is in it. */
export async function removePath(path: string): Promise<void> {
  const parts = checkPath(path).split('/');
  let folder: FileSystemDirectoryHandle | null = await navigator.storage.getDirectory();
  for (const name of parts.slice(0, -1)) folder = folder && (await findFolder(folder, name));
  const parent = folder;
  if (!parent || !(await exists(parent, parts.at(-1)!))) return;
  await attempt(path, () => parent.removeEntry(parts.at(-1)!, { recursive: true }));
}

async function exists(folder: FileSystemDirectoryHandle, name: string): Promise<boolean> {
  for await (const key of folder.keys()) if (key === name) return true;
  return false;
}

/** A file that keeps what was written to it when its tab dies. */
export interface GrowingFile {
  /** Bytes that it has. */
  readonly size: number;
  append(bytes: Uint8Array): Promise<void>;
  /** Of all that it has, 64 hexadecimal digits. */
  sha256(): Promise<string>;
  /** Back to nothing. */
  clear(): void;
  close(): void;
}

/** Opens a file to write at its end; it is made when there is none. Dedicated workers only. Throws `IO`. */
export async function openGrowing(path: string): Promise<GrowingFile> {
  return attempt(path, async () => {
    const parts = checkPath(path).split('/');
    let folder = await navigator.storage.getDirectory();
    for (const name of parts.slice(0, -1)) folder = await folder.getDirectoryHandle(name, { create: true });
    const file = await folder.getFileHandle(parts.at(-1)!, { create: true });
    const handle = await (file as SyncFile).createSyncAccessHandle();
    let size = handle.getSize();
    return {
      get size() {
        return size;
      },
      append: (bytes) =>
        attempt(path, async () => {
          for (let done = 0; done < bytes.length; ) done += handle.write(bytes.subarray(done), { at: size + done });
          size += bytes.length;
        }),
      sha256: () =>
        attempt(path, async () => {
          const hash = new Sha256();
          const slice = new Uint8Array(SLICE);
          for (let at = 0; at < size; at += SLICE) {
            hash.update(slice.subarray(0, handle.read(slice, { at })));
            // A run may go on meanwhile.
            await new Promise((resolve) => setTimeout(resolve, 0));
          }
          return hash.digest();
        }),
      clear() {
        handle.truncate(0);
        size = 0;
      },
      close() {
        handle.flush();
        handle.close();
      },
    };
  });
}
