/** Reading files and folders on disk. */
import type { Stats } from 'node:fs';
import { constants, open, readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { SftError } from './errors.ts';
import { attempt, attemptIfThere } from './nodeErrors.ts';
import { checkPath } from './paths.ts';
import { checkRange, rangeSource } from './sources.ts';
import type { ReadableFolder, ReadableSource } from './types.ts';

/** Node takes at most 2 GiB in one call. */
const MAX_READ_BYTES = 2 ** 30;

/**
 * Opens a regular file of any size for random access. Throws `IO`.
 *
 * Not `fs.openAsBlob`, which takes the size modulo 4 GiB. Opening does not wait, so that a named pipe is refused and
 * does not hang.
 */
export async function openFile(path: string): Promise<ReadableSource> {
  return openNamed(path, path);
}

/** `name` is what the person knows the file by; `path` may be where a link leads to. */
async function openNamed(path: string, name: string): Promise<ReadableSource> {
  const file = await attempt('read', name, () => open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)));
  const entry = await file.stat();
  if (!entry.isFile()) {
    await file.close();
    throw new SftError('IO', `${name}: expected a regular file, got ${kind(entry)}`);
  }
  const read: ReadableSource['read'] = async (offset, length) => {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const wanted = Math.min(length - done, MAX_READ_BYTES);
      const { bytesRead } = await attempt('read', name, () => file.read(bytes, done, wanted, offset + done));
      // The file was cut off after it was opened.
      if (bytesRead === 0) checkRange({ name, size: offset + done }, offset, length);
      done += bytesRead;
    }
    return bytes;
  };
  return rangeSource(name, entry.size, read, () => file.close());
}

function kind(entry: Stats): string {
  if (entry.isDirectory()) return 'a folder';
  if (entry.isFIFO()) return 'a named pipe';
  return entry.isSocket() ? 'a socket' : 'a device';
}

/** Opens a folder. Throws `IO` when there is none. */
export async function openFolder(path: string): Promise<ReadableFolder> {
  const entry = await attempt('read', path, () => stat(path));
  if (!entry.isDirectory()) throw new SftError('IO', `${path}: expected a folder, got a file`);
  return diskFolder(path);
}

/**
 * A folder on disk. A file in it may be a link into the folder itself or into `../../blobs`, where the hub's cache
 * keeps what its snapshot folders link to (and from there into what repositories share); a link to anywhere else is refused (`IO`).
 */
export function diskFolder(path: string): ReadableFolder {
  /** The file's path without links, or null when there is no such file. */
  async function locate(file: string): Promise<string | null> {
    const place = join(path, checkPath(file));
    const real = await attemptIfThere('read', place, () => realpath(place));
    if (real === null) return null;
    const root = await attempt('read', path, () => realpath(path));
    const caches = [join(root, '..', '..', 'blobs')];
    if (basename(dirname(root)) === 'snapshots') caches.push(join(root, '..', '..', '..', 'blobs'));
    const blobs = await Promise.all(caches.map((cache) => attemptIfThere('read', cache, () => realpath(cache))));
    if ([root, ...blobs].some((folder) => folder !== null && real.startsWith(folder + sep))) return real;
    throw new SftError('IO', `${place}: links to ${real}, which is outside of the folder`, {
      hint: 'put the file itself into the folder',
    });
  }

  const isFile = async (place: string) => (await attemptIfThere('read', place, () => stat(place)))?.isFile() ?? false;

  return {
    name: path,
    async list() {
      const entries = await attempt('read', path, () => readdir(path, { recursive: true, withFileTypes: true }));
      const files: string[] = [];
      for (const entry of entries) {
        const place = join(entry.parentPath, entry.name);
        if (entry.isFile() || (entry.isSymbolicLink() && (await isFile(place)))) files.push(relative(path, place));
      }
      return files.map((file) => file.replaceAll(sep, '/')).sort();
    },
    async has(file) {
      const real = await locate(file);
      return real !== null && isFile(real);
    },
    async open(file) {
      const place = join(path, checkPath(file));
      return openNamed((await locate(file)) ?? place, place);
    },
  };
}
