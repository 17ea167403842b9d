/** A folder as a zip, to be downloaded. */
import { Zip, ZipPassThrough } from 'fflate';
import { readText } from '../platform/sources.ts';
import type { ReadableFolder } from '../platform/types.ts';

/** Bytes that are read at once. */
const SLICE = 4 * 2 ** 20;

/** Files that tell what an adapter belongs on. */
const NAMING = ['adapter_config.json', 'README.md'];

/**
 * All files of a folder, below `prefix`. Nothing is compressed: weights hardly become smaller. `base` is what the base is called
 * here, and what it is called elsewhere.
 */
export async function zipFolder(
  folder: ReadableFolder,
  prefix: string,
  base: { readonly here: string; readonly elsewhere: string } | null,
): Promise<Blob> {
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
    if (base && NAMING.includes(path)) {
      // Both stand in double quotes, in JSON and in YAML.
      const elsewhere = JSON.stringify(base.elsewhere).slice(1, -1);
      const text = (await readText(folder, path)).replaceAll(base.here, () => elsewhere);
      entry.push(new TextEncoder().encode(text), true);
      continue;
    }
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
