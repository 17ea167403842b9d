/** The person's rows in the storage of the browser: `data/<id>/processed/` holds the splits. */
import { openFile, openStore } from '#platform';
import { type Row, readRows } from '../data/rows.ts';
import { alone, busyNames, removePath } from '../platform/browserStorage.ts';
import { SftError } from '../platform/errors.ts';
import { blobSource, noSuchFile } from '../platform/sources.ts';
import type { ReadableFolder } from '../platform/types.ts';
import { parseConfig } from '../train/configCheck.ts';
import { exists } from '../train/namedFiles.ts';
import { processRows } from '../train/process.ts';
import type { CallOptions, DataOptions, StoredData } from './api.ts';

export const DATA = 'data';
/** What chosen files are called together. */
const CHOSEN = 'training data';

/** Recognises the rows of files and keeps them, split: all of them or none. Throws `DATA`, `IO`. */
export async function addData(files: readonly File[], options: DataOptions & CallOptions = {}): Promise<StoredData> {
  const { signal, seed, format, columns, split } = options;
  if (files.length === 0) throw new SftError('DATA', 'training data: expected at least one file, got none');
  await sweep();
  const folder = `${DATA}/${crypto.randomUUID()}`;
  return alone(folder, async () => {
    try {
      const paths = {
        train_path: `${folder}/processed/train.jsonl`,
        val_path: `${folder}/processed/val.jsonl`,
        test_path: `${folder}/processed/test.jsonl`,
      };
      const config = parseConfig({
        model: { name: 'none' },
        train: { ...(seed !== undefined && { seed }) },
        data: {
          ...paths,
          raw_path: CHOSEN,
          ...(format && { format }),
          ...(columns && { columns }),
          ...(split && { split: [...split] as [number, number, number] }),
        },
      });
      const report = await processRows(config, { signal, raw: chosenFolder(files, options) });
      const rowsOf = (path: string) => report.splits.find((one) => one.path === path)?.rows ?? 0;
      const { train_path, val_path, test_path } = paths;
      return {
        report,
        paths: {
          train_path,
          val_path: rowsOf(val_path) > 0 ? val_path : null,
          test_path: rowsOf(test_path) > 0 ? test_path : null,
        },
      };
    } catch (error) {
      await removePath(folder);
      throw error;
    }
  });
}

/** Rows of a split, from row `first`. Throws `IO`. */
export async function storedRows(path: string, first: number, count: number): Promise<Row[]> {
  const source = await openFile(path);
  const found: Row[] = [];
  try {
    let number = 0;
    for await (const row of readRows(source)) {
      if (number >= first + count) break;
      if (number >= first) found.push(row);
      number += 1;
    }
    return found;
  } finally {
    await source.close();
  }
}

/** The files that a person chose, read where they are; whoever waits is told of each file how far it was read. */
function chosenFolder(files: readonly File[], { signal, onProgress }: CallOptions): ReadableFolder {
  const byName = new Map<string, File>();
  for (const file of files) byName.set(newName(file.name, byName), file);
  return {
    name: CHOSEN,
    list: async () => [...byName.keys()],
    has: async (name) => byName.has(name),
    async open(name) {
      const file = byName.get(name);
      if (!file) throw noSuchFile(CHOSEN, name);
      const source = blobSource(name, file);
      return {
        ...source,
        async read(offset, length) {
          signal?.throwIfAborted();
          const bytes = await source.read(offset, length);
          onProgress?.({ what: name, done: offset + bytes.length, total: file.size });
          return bytes;
        },
      };
    },
  };
}

/** Removes what tabs left behind that were closed in the middle. */
async function sweep(): Promise<void> {
  const busy = new Set(await busyNames());
  for (const id of await (await openStore(DATA)).folders()) {
    const folder = `${DATA}/${id}`;
    if (!busy.has(folder) && !(await exists(`${folder}/processed/train.jsonl`))) await removePath(folder);
  }
}

/** A name that no other file has, and that is not one of hidden files, which are left out of folders: the person chose it. */
function newName(name: string, taken: ReadonlyMap<string, File>): string {
  const visible = name.replace(/^\.+/, '');
  let free = visible;
  for (let number = 2; taken.has(free); number++) free = `${number}-${visible}`;
  return free;
}
