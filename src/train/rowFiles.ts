/** The files of rows that a configuration names: read one row at a time, and written as sets that appear as one. */
import { openFolder, openStore } from '#platform';
import { type Row, type RowOptions, readRows } from '../data/rows.ts';
import { LineWriter } from '../data/writeRows.ts';
import { SftError } from '../platform/errors.ts';
import { saveFiles } from '../platform/stores.ts';
import type { ReadableFolder } from '../platform/types.ts';
import type { Config } from './config.ts';
import { type NamedRows, openSources, type SourceOptions } from './namedFiles.ts';
import { rowOptions } from './openRows.ts';

/** How many rows pass between calls of `onProgress`; the event loop gets a turn there too. */
const ROWS_PER_PROGRESS = 4096;

/** Who is told while rows are read and written, and what ends it. */
export interface RowFileOptions extends SourceOptions {
  /** Told now and then what is done, and with how many rows. */
  readonly onProgress?: ((doing: 'reading' | 'writing', file: string, rows: number) => void) | undefined;
}

export interface ReadOptions extends RowFileOptions {
  /** What `onProgress` is told. */
  readonly doing?: 'reading' | 'writing';
  /** What differs from what the configuration says of rows. */
  readonly rows?: RowOptions;
  /** Stands for the folder that is named. */
  readonly folder?: ReadableFolder | undefined;
  /** Told what is read: the path, and which part of a data set of a hub. */
  readonly onOpen?: (label: string) => void;
}

/** Yields the rows that are named in their order. Throws `DATA` for a bad row, and the signal's reason when it is aborted. */
export async function* readNamedRows(config: Config, named: NamedRows, reading: ReadOptions): AsyncGenerator<Row> {
  const { onProgress, onOpen, signal, doing = 'reading', rows = {} } = reading;
  const { sources, label } = await openSources(config, named, reading);
  onOpen?.(label);
  const options = { ...rowOptions(config), ...rows };
  let count = 0;
  try {
    for (const source of sources) {
      for await (const row of readRows(source, options)) {
        yield row;
        count += 1;
        if (count % ROWS_PER_PROGRESS > 0) continue;
        onProgress?.(doing, label, count);
        await new Promise((resolve) => setTimeout(resolve, 0));
        signal?.throwIfAborted();
      }
    }
  } finally {
    for (const source of sources) await source.close();
  }
}

/** Writes a value to the file of that index. */
export type WriteRow = (file: number, value: unknown) => Promise<void>;

/**
 * Replaces a set of `.jsonl` files as one: `fill` writes rows to them. A file that gets no row is not made, and one of its
 * name goes. Throws `CONFIG` when two of them are the same or one is a folder, and `IO`.
 */
export async function writeRowFiles(
  files: readonly NamedRows[],
  fill: (write: WriteRow) => Promise<void>,
): Promise<void> {
  const { folder, names } = commonFolder(files.map(({ path }) => path));
  names.forEach((name, index) => {
    const other = names.indexOf(name);
    if (other === index) return;
    const [first, second] = [files[other]!, files[index]!];
    throw new SftError('CONFIG', `${second.key}: expected another file than ${first.key}, got ${second.path} for both`);
  });
  for (const { key, path } of files) {
    if (!(await openFolder(path).catch(() => null))) continue;
    throw new SftError('CONFIG', `${key}: expected a file to write, got the folder ${path}`, {
      hint: 'name a .jsonl file; what is in the folder would be lost',
    });
  }
  const store = await openStore(folder);
  // Another process must not write here at the same time, and what a dead one has left is swept.
  const release = await store.lock();
  try {
    await saveFiles(store, names, async (staged) => {
      const writers: LineWriter[] = [];
      await fill(async (file, value) => {
        writers[file] ??= new LineWriter(await staged.create(names[file]!));
        await writers[file].write(value);
      });
      for (const writer of writers) await writer?.close();
    });
  } finally {
    await release();
  }
}

/** The parts of a path, with an empty first one where it begins at the root. */
function partsOf(path: string): string[] {
  return path.split(/[\\/]+/).filter((part) => part !== '.');
}

/** The deepest folder that holds all files, and their paths in it. */
function commonFolder(paths: readonly string[]): { folder: string; names: string[] } {
  const all = paths.map(partsOf);
  const first = all[0] ?? [];
  const shortest = Math.min(...all.map((parts) => parts.length - 1));
  let depth = 0;
  while (depth < shortest && all.every((parts) => parts[depth] === first[depth])) depth += 1;
  const folder = first.slice(0, depth).join('/');
  return {
    folder: folder === '' ? (depth > 0 ? '/' : '.') : folder,
    names: all.map((parts) => parts.slice(depth).join('/')),
  };
}

/** Whether a path is another one or lies below it. */
export function isWithin(path: string, folder: string): boolean {
  const [inner, outer] = [partsOf(path), partsOf(folder).filter((part) => part !== '')];
  const skipped = inner[0] === '' ? inner.slice(1) : inner;
  return folder.startsWith('/') === path.startsWith('/') && outer.every((part, index) => part === skipped[index]);
}
