/** The rows of a split, as its configuration says that they are read. */
import type { DocumentSizes } from '../data/chunks.ts';
import { type Dataset, type DocumentOptions, type MeasuredRow, readDataset } from '../data/dataset.ts';
import { type PromptRow, promptRow } from '../data/promptRows.ts';
import { parsePromptTemplate } from '../data/promptTemplate.ts';
import { type RowOptions, readRows } from '../data/rows.ts';
import type { ShapeCounts } from '../data/shapes.ts';
import type { Split } from '../data/split.ts';
import type { ModelText } from '../eval/modelText.ts';
import type { SftError } from '../platform/errors.ts';
import type { HubProgress } from '../platform/hub.ts';
import { bytesSource } from '../platform/sources.ts';
import type { ReadableSource } from '../platform/types.ts';
import type { Config } from './config.ts';
import { openSources, type SourceOptions } from './namedFiles.ts';

/** What is going on before the first step. */
export type RunStage =
  | ({ readonly stage: 'download' } & HubProgress)
  | { readonly stage: 'rows'; readonly file: string; readonly rows: number }
  | {
      readonly stage: 'read';
      readonly file: string;
      readonly shapes: ShapeCounts;
      /** There is a `data.prompt_template`, and every row was one that `process` has made already. */
      readonly templateUnused: boolean;
    }
  | { readonly stage: 'device' }
  | { readonly stage: 'weights'; readonly loaded: number; readonly total: number };

export interface ReadOptions extends Pick<SourceOptions, 'onWarning' | 'signal'> {
  readonly onProgress?: ((stage: RunStage) => void) | undefined;
  /** Stops after so many rows. */
  readonly limit?: number | undefined;
  /** Rows in memory, instead of the files that the configuration names. */
  readonly rows?: readonly object[] | undefined;
}

type TokenizeOptions = ReadOptions & { readonly onProblem?: (problem: SftError) => void };

/** The rows of a split, tokenised; null when the configuration names none. Throws `DATA`, `TEMPLATE`. */
export function openRows(
  config: Config,
  split: Split,
  text: ModelText,
  options: TokenizeOptions = {},
): Promise<Dataset | null> {
  return openRowsAs(config, split, text, options, (_row, result) => ('dropped' in result ? null : result));
}

/** The same, with what `take` keeps of each row; see `readDataset`. */
export async function openRowsAs<T extends MeasuredRow>(
  config: Config,
  split: Split,
  text: ModelText,
  options: TokenizeOptions,
  take: Parameters<typeof readDataset<T>>[2],
): Promise<Dataset<T> | null> {
  const { data, model } = config;
  return withSources(config, split, options, async (sources, label) => {
    const settings = {
      ...text,
      maxSeqLen: model.max_seq_len,
      truncation: data.truncation,
      trainOn: data.train_on,
      ...rowOptions(config),
      ...(data.format === 'documents' && { documents: documentOptions(config, split) }),
      ...(options.limit !== undefined && { limit: options.limit }),
      ...(options.signal && { signal: options.signal }),
      ...(options.onProblem && { onProblem: options.onProblem }),
      onProgress: (read: number) => options.onProgress?.({ stage: 'rows', file: label, rows: read }),
    };
    const dataset = await readDataset(sources, settings, take);
    const { shapes } = dataset.report;
    const templateUnused = data.prompt_template !== null && shapes.prompt_template === undefined;
    options.onProgress?.({ stage: 'read', file: label, shapes, templateUnused });
    return dataset;
  });
}

/** How many rows pass before the event loop gets a turn. */
const ROWS_PER_TURN = 256;

/**
 * The rows of a split as prompts with their references; null when the configuration names none. Throws `DATA`, for rows of text too,
 * and `TEMPLATE`.
 */
export async function openPrompts(
  config: Config,
  split: Split,
  text: ModelText,
  options: ReadOptions = {},
): Promise<PromptRow[] | null> {
  const { onProgress, signal, limit } = options;
  return withSources(config, split, options, async (sources, file) => {
    const prompts: PromptRow[] = [];
    for (const source of sources) {
      for await (const row of readRows(source, rowOptions(config))) {
        if (prompts.length === limit) return prompts;
        prompts.push(promptRow(row, prompts.length, text));
        if (prompts.length % ROWS_PER_TURN > 0) continue;
        onProgress?.({ stage: 'rows', file, rows: prompts.length });
        await new Promise((resolve) => setTimeout(resolve, 0));
        signal?.throwIfAborted();
      }
    }
    return prompts;
  });
}

/** Opens the files of a split for as long as they are read; null when there are none. */
async function withSources<T>(
  config: Config,
  split: Split,
  options: ReadOptions,
  read: (sources: readonly ReadableSource[], label: string) => Promise<T>,
): Promise<T | null> {
  const { data } = config;
  const { rows } = options;
  const named = { train: data.train_path, val: data.val_path, test: data.test_path }[split];
  const path = rows ? (split === 'train' ? 'rows' : 'evalRows') : named;
  if (path === null) return null;
  const { sources, label } = rows
    ? { sources: [rowsSource(path, rows)], label: path }
    : await openSources(config, { key: `data.${split}_path`, path, split }, sourceOptions(options));
  try {
    return await read(sources, label);
  } finally {
    for (const source of sources) await source.close();
  }
}

/** What comes from a hub is a stage of its own. */
export function sourceOptions({ onProgress, onWarning, signal }: ReadOptions): SourceOptions {
  return { onWarning, signal, onDownload: (progress) => onProgress?.({ stage: 'download', ...progress }) };
}

/** What the configuration says of the rows of a file. Throws `CONFIG` for a template that is wrong. */
export function rowOptions({ data }: Config): RowOptions {
  const { format, columns, style, prompt_template: template } = data;
  return { format, columns, style, promptTemplate: template === null ? null : parsePromptTemplate(template) };
}

/** How documents are cut. */
export function documentSizes({ data, model }: Config): DocumentSizes {
  const { chunk_tokens: chunkTokens, overlap_tokens: overlapTokens } = data.documents;
  return { chunkTokens: chunkTokens ?? model.max_seq_len, overlapTokens };
}

/** Rows in memory as the JSONL file that they could be. */
function rowsSource(name: string, rows: readonly object[]): ReadableSource {
  const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  return bytesSource(`${name}.jsonl`, new TextEncoder().encode(lines));
}

/** How documents become rows. Only training rows are mixed: an evaluation is of every row. */
function documentOptions(config: Config, split: string): DocumentOptions {
  const { data, train } = config;
  return {
    ...documentSizes(config),
    mixRatio: split === 'train' ? data.documents.mix_ratio : null,
    seed: train.seed,
  };
}
