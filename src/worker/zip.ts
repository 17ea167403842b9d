/** A folder as a zip, to be downloaded. */
import { Zip, ZipPassThrough } from 'fflate';
import type { ReadableFolder } from '../platform/types.ts';

/** Bytes that are read at once. */
const SLICE = 4 * 2 ** 20;

/** All files of a folder, below `prefix`. Nothing is compressed: weights hardly become smaller. */
export async function zipFolder(folder: ReadableFolder, prefix: string): Promise<Blob> {
  const parts: Blob[] = [];
  let failure: Error | null = null;
  const zip = new Zip((error, bytes) => {
    failure ??= error;
    // Browsers may put a Blob on the disk; a list of arrays would stay in memory.
    parts.push(new Blob([bytes as Uint8Array<ArrayBuffer>]));
  });
  for (const path of await folder.list()) {
    const entry = new ZipPassThrough(`${prefix}/${path}`);
    zip.add(entry);
    const source = await folder.open(path);
    try {
      for (let at = 0; at < source.size; at += SLICE) {
        entry.push(await source.read(at, Math.min(SLICE, source.size - at)));
      }
      entry.push(new Uint8Array(0), true);
    } finally {
      await source.close();
    }
  }
  zip.end();
  if (failure) throw failure as Error;
  return new Blob(parts, { type: 'application/zip' });
}
