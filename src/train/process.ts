/** Raw files to the splits that are trained and evaluated on. */
import { fileNameOf } from '../data/bytes.ts';
import { documentRows } from '../data/chunks.ts';
import { parseDatasetName } from '../data/hubDataset.ts';
import { LengthMeter } from '../data/lengths.ts';
import type { Row } from '../data/rows.ts';
import { whereOf, withSystem } from '../data/rows.ts';
import { ShapeCounter, type ShapeCounts } from '../data/shapes.ts';
import { assignSplits, findOverlaps, hashText, SPLITS, type Split, splitSizes, UNIQUE } from '../data/split.ts';
import { isEmptyRow, rowContent } from '../data/writeRows.ts';
import type { ModelText } from '../eval/modelText.ts';
import { SftError } from '../platform/errors.ts';
import type { ReadableFolder } from '../platform/types.ts';
import type { Config } from './config.ts';
import { Finds, type Found } from './found.ts';
import type { NamedRows, SourceOptions } from './namedFiles.ts';
import { documentSizes } from './openRows.ts';
import { openText } from './openText.ts';
import { isWithin, type ReadOptions, type RowFileOptions, readNamedRows, writeRowFiles } from './rowFiles.ts';

/** How raw rows are shared out, and who is told of it. */
export interface ProcessOptions extends RowFileOptions {
  /** Leaves rows out of validation and test that an earlier split has too. */
  readonly dropDuplicates?: boolean;
  /** Files of rows that no path leads to, such as those that a person chose in a page: read in place of `data.raw_path`. */
  readonly raw?: ReadableFolder;
}

/** What was read, and what was written where. */
export interface ProcessReport {
  /** What was read: `data.raw_path`, and which part of a data set of a hub. */
  readonly from: string;
  /** Rows that are shared out; of a document, its chunks. */
  readonly rows: number;
  /** How many rows of the files were taken for what; a document is one. */
  readonly shapes: ShapeCounts;
  readonly splits: readonly { readonly split: Split; readonly path: string | null; readonly rows: number }[];
  /** Rows with a question or an answer that is empty. They are kept. */
  readonly empty: Found;
  /** Rows with more tokens than `model.max_seq_len`, kept; null where there is no tokenizer to tell. */
  readonly tooLong: Found | null;
  /** Why no length is known. */
  readonly notMeasured: string | null;
  /** Rows of validation and test that an earlier split has too, word for word. */
  readonly duplicates: Found & { readonly dropped: boolean };
}

/**
 * Reads `data.raw_path`, shares its rows out as `data.split` and `train.seed` say, and writes them to the paths of the
 * splits: all of them or none. The rows of a split keep their order. Documents become chunks first (`data.format`), which
 * needs the tokenizer of the model. Throws `DATA`, `CONFIG`, `MODEL`, `IO`.
 *
 * The raw files are read twice, so that rows need not be held: 8 bytes are kept of each.
 */
export async function processRows(config: Config, options: ProcessOptions = {}): Promise<ProcessReport> {
  const { data, train } = config;
  const paths = [data.train_path, data.val_path, data.test_path];
  const raw: NamedRows = { key: 'data.raw_path', path: data.raw_path };
  refuseOverlap(raw, paths);

  const text = await openTextIfThere(config, options);
  const reading = { ...options, folder: options.raw };
  const survey = await surveyRows(config, raw, text, reading);
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
    for await (const row of readRawRows(config, raw, text, { ...reading, doing: 'writing', onWarning: undefined })) {
      if (hashRow(row) !== survey.hashes[number]) throw changed(raw);
      const split = splits[number]!;
      const repeated = overlaps[number] !== UNIQUE;
      if (repeated) duplicates.add(whereOf(row));
      number += 1;
      if (repeated && dropped) continue;
      const source = row.source ?? (survey.isMixed ? fileNameOf(row.file) : undefined);
      await write(
        files.findIndex(({ index }) => index === split),
        { ...rowContent(row), ...(source !== undefined && { source }) },
      );
      written[split]! += 1;
    }
    if (number !== total) throw changed(raw);
  });
  return {
    from: survey.from,
    rows: total,
    shapes: survey.shapes,
    splits: SPLITS.map((split, index) => ({ split, path: paths[index] ?? null, rows: written[index]! })),
    empty: survey.empty.found,
    tooLong: text.opened && survey.tooLong.found,
    notMeasured: text.problem?.message ?? null,
    duplicates: { ...duplicates.found, dropped },
  };
}

/** The tokenizer and template of the model, or why there are none. */
interface TextIfThere {
  readonly opened: ModelText | null;
  readonly problem: SftError | null;
}

/** Rows can be shared out without a model; documents cannot be cut without its tokenizer. */
async function openTextIfThere(config: Config, options: SourceOptions): Promise<TextIfThere> {
  try {
    return { opened: await openText(config, options), problem: null };
  } catch (error) {
    if (!(error instanceof SftError) || config.data.format === 'documents') throw error;
    return { opened: null, problem: error };
  }
}

/** The raw rows, with the chunks of documents in their place. */
async function* readRawRows(
  config: Config,
  raw: NamedRows,
  { opened }: TextIfThere,
  options: ReadOptions,
): AsyncGenerator<Row> {
  const rows = { ...options.rows, style: null, raw: true };
  const documents = opened && config.data.format === 'documents' ? documentSizes(config) : null;
  for await (const row of readNamedRows(config, raw, { ...options, rows })) {
    if (documents && opened) yield* documentRows(row, documents, opened.tokenizer);
    else yield row;
  }
}

/** The first reading: one hash a row, and what is to be said of all of them. */
async function surveyRows(config: Config, raw: NamedRows, text: TextIfThere, options: ReadOptions) {
  const hashes: number[] = [];
  const shapes = new ShapeCounter();
  const empty = new Finds();
  const tooLong = new Finds();
  /** Of rows that do not say where they come from. */
  const kinds = new Set<Row['kind']>();
  const isTooLong = text.opened && measure(config, text.opened);
  let from = raw.path;
  const onOpen = (label: string) => {
    from = label;
  };
  const reading = { ...options, onOpen, rows: { onShape: shapes.onShape } };
  for await (const row of readRawRows(config, raw, text, reading)) {
    hashes.push(hashRow(row));
    if (row.source === undefined) kinds.add(row.kind);
    if (isEmptyRow(row)) empty.add(whereOf(row));
    if (isTooLong?.(row)) tooLong.add(whereOf(row));
  }
  return { from, hashes, shapes: shapes.counts, empty, tooLong, isMixed: kinds.size > 1 };
}

/** Whether a row as it is trained has too many tokens. One that the template does not take is for `check` to tell of. */
function measure({ data, model }: Config, text: ModelText): (row: Row) => boolean {
  const meter = new LengthMeter(text, model.max_seq_len);
  const { style } = data;
  return (row) => {
    if (row.kind === 'chat' && text.template === null) return false;
    const trained = style === null || row.kind !== 'chat' ? row : { ...row, messages: withSystem(row.messages, style) };
    try {
      return meter.isTooLong(trained);
    } catch (error) {
      if (error instanceof SftError) return false;
      throw error;
    }
  };
}

function hashRow(row: Row): number {
  return hashText(JSON.stringify(rowContent(row)));
}

/** Results go to files that can be read again. A raw folder must not hold them, which would be read as raw rows the next time. */
function refuseOverlap(raw: NamedRows, paths: readonly (string | null)[]): void {
  SPLITS.forEach((split, index) => {
    const path = paths[index] ?? null;
    if (path !== null && parseDatasetName(path)) {
      throw new SftError(
        'CONFIG',
        `data.${split}_path: expected a file to write, got ${path}, which names a data set`,
        {
          hint: `name a .jsonl file, such as data/processed/${split}.jsonl`,
        },
      );
    }
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
