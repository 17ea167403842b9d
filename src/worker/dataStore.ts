/** The person's rows in the storage of the browser: `data/<id>/processed/` holds the splits. Raw files are kept while they are read. */

import { openFile, openStore } from '#platform';
import { type Row, readRows } from '../data/rows.ts';
import { alone, busyNames, openGrowing, removePath } from '../platform/browserStorage.ts';
import { SftError } from '../platform/errors.ts';
import { parseConfig } from '../train/configCheck.ts';
import { exists } from '../train/namedFiles.ts';
import { processRows } from '../train/process.ts';
import type { CallOptions, DataOptions, StoredData } from './api.ts';
import { pour } from './pour.ts';

export const DATA = 'data';

/** Copies files into storage, recognises their rows and splits them: all of it or nothing. Throws `DATA`, `IO`. */
export async function addData(files: readonly File[], options: DataOptions & CallOptions = {}): Promise<StoredData> {
  const { signal, seed, format, columns, split } = options;
  if (files.length === 0) throw new SftError('DATA', 'training data: expected at least one file, got none');
  await sweep();
  const folder = `${DATA}/${crypto.randomUUID()}`;
  return alone(folder, async () => {
    const raw = `${folder}/raw`;
    try {
      await keep(files, raw, options);
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
          raw_path: raw,
          ...(format && { format }),
          ...(columns && { columns }),
          ...(split && { split: [...split] as [number, number, number] }),
        },
      });
      const report = await processRows(config, { signal });
      await removePath(raw);
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
      throw withoutFolder(error, `${raw}/`);
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

async function keep(files: readonly File[], folder: string, options: CallOptions): Promise<void> {
  const names = new Set<string>();
  for (const file of files) {
    const target = await openGrowing(`${folder}/${newName(file.name, names)}`);
    try {
      await pour(file.stream(), target, { what: file.name, total: file.size }, options);
    } finally {
      target.close();
    }
  }
}

/** Removes what tabs left behind that were closed in the middle. */
async function sweep(): Promise<void> {
  const busy = new Set(await busyNames());
  for (const id of await (await openStore(DATA)).folders()) {
    const folder = `${DATA}/${id}`;
    if (!busy.has(folder) && !(await exists(`${folder}/processed/train.jsonl`))) await removePath(folder);
  }
}

/** A name that storage takes and that no other file has. */
function newName(name: string, taken: Set<string>): string {
  const clean = name.replaceAll(/[\\/:\0]/g, '_');
  let free = clean;
  for (let number = 2; taken.has(free); number++) free = `${number}-${clean}`;
  taken.add(free);
  return free;
}

/** Errors name files as the person knows them. */
function withoutFolder(error: unknown, folder: string): unknown {
  if (!(error instanceof SftError)) return error;
  const { code, message, hint, cause } = error;
  return new SftError(code, message.replaceAll(folder, ''), { ...(hint !== undefined && { hint }), cause });
}
