/** Raw files to the splits that are trained and evaluated on. */
import type { Row } from '../data/rows.ts';
import { whereOf } from '../data/rows.ts';
import { assignSplits, findOverlaps, hashText, SPLITS, type Split, splitSizes, UNIQUE } from '../data/split.ts';
import { isEmptyRow, rowContent, rowObject } from '../data/writeRows.ts';
import { SftError } from '../platform/errors.ts';
import type { Config } from './config.ts';
import { isWithin, type NamedRows, type RowFileOptions, readNamedRows, writeRowFiles } from './rowFiles.ts';

export interface ProcessOptions extends RowFileOptions {
  /** Leaves rows out of validation and test that an earlier split has too. */
  readonly dropDuplicates?: boolean;
}

/** Rows of one kind: how many, and `file:line` of the first ones. */
export interface Found {
  readonly count: number;
  readonly first: readonly string[];
}

export interface ProcessReport {
  /** Rows read. */
  readonly rows: number;
  /** Rows of each kind that was recognised; kinds without a row are left out. */
  readonly kinds: Readonly<Partial<Record<RowKind, number>>>;
  readonly splits: readonly { readonly split: Split; readonly path: string | null; readonly rows: number }[];
  /** Rows with a question or an answer that is empty. They are kept. */
  readonly empty: Found;
  /** Rows of validation and test that an earlier split has too, word for word. */
  readonly duplicates: Found & { readonly dropped: boolean };
}

export type RowKind = 'single-turn chat' | 'conversation' | 'prompt and completion' | 'text';

/** Places that a report names. */
const MOST_NAMED = 5;

/**
 * Reads `data.raw_path`, shares its rows out as `data.split` and `train.seed` say, and writes them to the paths of the
 * splits: all of them or none. The rows of a split keep their order. Throws `DATA`, `CONFIG`, `IO`.
 *
 * The raw files are read twice, so that rows need not be held: 8 bytes are kept of each.
 */
export async function processRows(config: Config, options: ProcessOptions = {}): Promise<ProcessReport> {
  const { data, train } = config;
  const paths = [data.train_path, data.val_path, data.test_path];
  const raw: NamedRows = { key: 'data.raw_path', path: data.raw_path };
  refuseOverlap(raw, paths);

  const survey = await surveyRows(config, raw, options);
  const total = survey.hashes.length;
  refuseHomeless(splitSizes(total, data.split), paths);
  const splits = assignSplits(total, data.split, train.seed);
  const overlaps = findOverlaps(survey.hashes, splits);
  const dropped = options.dropDuplicates ?? false;

  const files = SPLITS.flatMap((split, index) => {
    const path = paths[index] ?? null;
    return path === null ? [] : [{ key: `data.${split}_path`, path, index }];
  });
  const written = SPLITS.map(() => 0);
  const duplicates = new Finds();
  await writeRowFiles(files, async (write) => {
    let number = 0;
    for await (const row of readNamedRows(config, raw, { ...options, doing: 'writing' })) {
      if (hashRow(row) !== survey.hashes[number]) throw changed(raw);
      const split = splits[number]!;
      const repeated = overlaps[number] !== UNIQUE;
      if (repeated) duplicates.add(row);
      number += 1;
      if (repeated && dropped) continue;
      await write(
        files.findIndex(({ index }) => index === split),
        rowObject(row),
      );
      written[split]! += 1;
    }
    if (number !== total) throw changed(raw);
  });
  return {
    rows: total,
    kinds: Object.fromEntries(survey.kinds),
    splits: SPLITS.map((split, index) => ({ split, path: paths[index] ?? null, rows: written[index]! })),
    empty: survey.empty.found,
    duplicates: { ...duplicates.found, dropped },
  };
}

/** The first reading: one hash a row, and what is to be said of all of them. */
async function surveyRows(config: Config, raw: NamedRows, options: RowFileOptions) {
  const hashes: number[] = [];
  const kinds = new Map<RowKind, number>();
  const empty = new Finds();
  for await (const row of readNamedRows(config, raw, options)) {
    hashes.push(hashRow(row));
    const kind = kindOf(row);
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    if (isEmptyRow(row)) empty.add(row);
  }
  return { hashes, kinds, empty };
}

function hashRow(row: Row): number {
  return hashText(JSON.stringify(rowContent(row)));
}

function kindOf(row: Row): RowKind {
  if (row.kind === 'text') return 'text';
  if (row.kind === 'prompt_completion') return 'prompt and completion';
  return 'messages' in rowContent(row) ? 'conversation' : 'single-turn chat';
}

/** Counts rows and keeps the places of the first ones. */
class Finds {
  #count = 0;
  readonly #first: string[] = [];

  add(row: Row): void {
    this.#count += 1;
    if (this.#first.length < MOST_NAMED) this.#first.push(whereOf(row));
  }

  get found(): Found {
    return { count: this.#count, first: this.#first };
  }
}

/** A raw folder must not hold the results, which would be read as raw rows the next time. */
function refuseOverlap(raw: NamedRows, paths: readonly (string | null)[]): void {
  SPLITS.forEach((split, index) => {
    const path = paths[index] ?? null;
    if (path === null || !isWithin(path, raw.path)) return;
    throw new SftError(
      'CONFIG',
      `data.${split}_path: expected a file outside of data.raw_path ${raw.path}, got ${path}`,
      {
        hint: 'keep raw files in a folder of their own, such as data/raw',
      },
    );
  });
}

/** Rows that would go to a split without a path would be lost. */
function refuseHomeless(sizes: readonly number[], paths: readonly (string | null)[]): void {
  SPLITS.forEach((split, index) => {
    if (paths[index] !== null || sizes[index] === 0) return;
    throw new SftError('CONFIG', `data.${split}_path: expected a file for ${sizes[index]} rows, got null`, {
      hint: `name one, or give ${split} the share 0 in data.split`,
    });
  });
}

function changed({ path }: NamedRows): SftError {
  return new SftError('IO', `${path}: the rows changed while they were read`, { hint: 'try again' });
}
