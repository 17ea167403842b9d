/** From a resolved configuration to a trainer: opens the folders and files that it names. */
import { openFile, openFolder, openStore } from '#platform';
import type { DocumentSizes } from '../data/chunks.ts';
import { type Dataset, type DocumentOptions, loadDataset } from '../data/dataset.ts';
import { parsePromptTemplate } from '../data/promptTemplate.ts';
import { dataFilesOf } from '../data/records.ts';
import type { RowOptions } from '../data/rows.ts';
import type { ShapeCounts } from '../data/shapes.ts';
import { loadChatTemplate, type TemplateChoice, type TemplateText } from '../data/template.ts';
import { loadTokenizer } from '../data/tokenizer.ts';
import { endingWarning, endTokens } from '../eval/endTokens.ts';
import type { ModelText } from '../eval/languageModel.ts';
import { Gpu } from '../gpu/device.ts';
import { openModel } from '../model/model.ts';
import { type ErrorCode, SftError } from '../platform/errors.ts';
import { bytesSource } from '../platform/sources.ts';
import type { ReadableFolder, ReadableSource } from '../platform/types.ts';
import { listCheckpoints } from './checkpoint.ts';
import type { Config } from './config.ts';
import { sampleRows } from './samples.ts';
import { Trainer } from './trainer.ts';

export interface RunOptions {
  readonly config: Config;
  /** See `LoadedConfig`. */
  readonly given?: ReadonlyMap<string, string>;
  readonly warnings?: readonly string[];
  /** Warnings that were told before and are not told again. */
  readonly told?: ReadonlySet<string>;
  /** The model, where it is not the folder `model.name`: on a server, or files that a person chose. */
  readonly model?: ReadableFolder | undefined;
  /** Training rows of any shape that files may have, instead of files; then `data.train_path` and `data.val_path` are not read. */
  readonly rows?: readonly object[] | undefined;
  /** Validation rows beside `rows`. */
  readonly evalRows?: readonly object[] | undefined;
  /** A checkpoint folder, or `last` for the newest one in `output_dir`. */
  readonly resumeFrom?: string | undefined;
  readonly onProgress?: ((stage: RunStage) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A run that is opened and planned. The caller closes `gpu`. */
export interface Run {
  readonly trainer: Trainer;
  readonly gpu: Gpu;
  readonly train: Dataset;
  readonly text: ModelText;
  readonly warnings: readonly string[];
}

/** What is going on before the first step. */
export type RunStage =
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

/** The tokenizer and template that rows are prepared with. Needs no weights. */
export async function openText(config: Config, model?: ReadableFolder): Promise<ModelText> {
  const folder = model ?? (await openNamedFolder('model', config.model.name));
  const tokenizer = await loadTokenizer(folder);
  return { tokenizer, template: await loadChatTemplate(folder, tokenizer.namedTokens, await templateChoice(config)) };
}

/** What this project opens folders as: the error that a missing one is, the key that names it, and what to do. */
const FOLDERS = {
  model: ['MODEL', 'model.name', 'name the folder of a model in Hugging Face layout; download it first'],
  adapter: ['ADAPTER', 'adapter', 'name the folder of an adapter; `webgpu-sft train` writes <output_dir>/final_model'],
  initFrom: ['ADAPTER', 'tuning.lora.init_from', 'name the folder of a PEFT adapter, or leave the key out'],
  checkpoint: ['RESUME', '--resume-from', 'name a checkpoint-<step> folder, or `last`'],
} as const;

/** Opens a folder that a person has named. Throws `MODEL`, `ADAPTER` or `RESUME` where there is none. */
export async function openNamedFolder(what: keyof typeof FOLDERS, path: string): Promise<ReadableFolder> {
  try {
    return await openFolder(path);
  } catch (cause) {
    const [code, key, hint] = FOLDERS[what];
    throw asWrong(cause, code, key, hint);
  }
}

/** Where the template for models without one lies in the folder that this runs in; `webgpu-sft init` puts one there. */
const DEFAULT_TEMPLATE = { folder: 'chat_templates', file: 'default.jinja' };

/** Which template to use instead of a model's own, and which where it has none. Throws `TEMPLATE`. */
export async function templateChoice({ model }: Config): Promise<TemplateChoice> {
  const path = model.chat_template;
  if (path !== null) return { chatTemplate: await readTemplate(path, 'model.chat_template') };
  const { folder, file } = DEFAULT_TEMPLATE;
  return {
    async defaultTemplate() {
      const there = await openFolder(folder).then(
        (opened) => opened.has(file),
        () => false,
      );
      return there ? readTemplate(`${folder}/${file}`, 'the chat template for models without one') : undefined;
    },
  };
}

async function readTemplate(path: string, where: string): Promise<TemplateText> {
  try {
    return { text: await readWhole(path), source: path };
  } catch (cause) {
    throw asWrong(cause, 'TEMPLATE', where, 'name a .jinja file, or leave the key out');
  }
}

/** Reads a UTF-8 text file whole. Throws `IO`. */
export async function readWhole(path: string): Promise<string> {
  const source = await openFile(path);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await source.read(0, source.size));
  } catch (cause) {
    if (cause instanceof SftError) throw cause;
    throw new SftError('IO', `${path}: expected UTF-8 text, got bytes that are not`, { cause });
  } finally {
    await source.close();
  }
}

/** What a key names cannot be opened: then the key is wrong, and not the disk. */
export function asWrong(cause: unknown, code: ErrorCode, key: string, hint: string): unknown {
  if (!(cause instanceof SftError) || cause.code !== 'IO') return cause;
  return new SftError(code, `${key}: ${cause.message}`, { hint, cause });
}

/** The rows of a split, tokenised; null when the configuration names none. Throws `DATA`, `TEMPLATE`. */
export async function openRows(
  config: Config,
  split: 'train' | 'val' | 'test',
  text: ModelText,
  options: {
    onProgress?: RunOptions['onProgress'];
    signal?: AbortSignal | undefined;
    limit?: number;
    onProblem?: (problem: SftError) => void;
    /** Rows in memory, instead of the files that the configuration names. */
    rows?: readonly object[] | undefined;
  } = {},
): Promise<Dataset | null> {
  const named = { train: config.data.train_path, val: config.data.val_path, test: config.data.test_path }[split];
  const path = options.rows ? (split === 'train' ? 'rows' : 'evalRows') : named;
  if (path === null) return null;
  const { data, model } = config;
  const rows = rowOptions(config);
  const sources = options.rows ? [rowsSource(path, options.rows)] : await openNamedSources(path, split);
  try {
    const dataset = await loadDataset(sources, {
      ...text,
      maxSeqLen: model.max_seq_len,
      truncation: data.truncation,
      trainOn: data.train_on,
      ...rows,
      ...(data.format === 'documents' && { documents: documentOptions(config, split) }),
      ...(options.limit !== undefined && { limit: options.limit }),
      ...(options.signal && { signal: options.signal }),
      ...(options.onProblem && { onProblem: options.onProblem }),
      onProgress: (read) => options.onProgress?.({ stage: 'rows', file: path, rows: read }),
    });
    const { shapes } = dataset.report;
    const templateUnused = data.prompt_template !== null && shapes.prompt_template === undefined;
    options.onProgress?.({ stage: 'read', file: path, shapes, templateUnused });
    return dataset;
  } finally {
    for (const source of sources) await source.close();
  }
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

async function openNamedSources(path: string, split: string): Promise<ReadableSource[]> {
  try {
    return await openSources(path);
  } catch (cause) {
    throw asWrong(cause, 'DATA', `data.${split}_path`, `name a file of rows, such as train.jsonl, or a folder of them`);
  }
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

/** A file, or all data files of a folder, in the order of their names. */
export async function openSources(path: string): Promise<ReadableSource[]> {
  let folder: ReadableFolder;
  try {
    folder = await openFolder(path);
  } catch {
    return [await openFile(path)];
  }
  const names = dataFilesOf(path, await folder.list());
  return Promise.all(names.map((name) => folder.open(name)));
}

/** Whether the file or folder of a split exists. */
export async function exists(path: string): Promise<boolean> {
  try {
    for (const source of await openSources(path)) await source.close();
    return true;
  } catch (error) {
    if (error instanceof SftError && error.code === 'IO') return false;
    throw error;
  }
}

/** Opens device, model and data, and plans the run. */
export async function openRun(options: RunOptions): Promise<Run> {
  const { config, given = new Map<string, string>(), resumeFrom, onProgress, signal } = options;
  const warnings = [...(options.warnings ?? [])];
  const model = options.model ?? (await openNamedFolder('model', config.model.name));
  const files = await openModel(model);
  const text = await openText(config, model);
  const train = await openRows(config, 'train', text, { onProgress, signal, rows: options.rows });
  if (!train) throw new SftError('CONFIG', 'data.train_path: expected a file of rows, got null');
  warnings.push(...reportOf('train', train));
  const ending = endingWarning(train.rows, text, endTokens(files, text.tokenizer));
  if (ending) warnings.push(`train: ${ending}`);
  const evaluation = await openEvaluation(options, text);
  if (evaluation) warnings.push(...reportOf('val', evaluation));
  const store = await openStore(config.output_dir);
  const resume = await findCheckpoint(config, resumeFrom, warnings);
  const initFrom = config.tuning.lora.init_from;
  onProgress?.({ stage: 'device' });
  const gpu = await Gpu.open(gpuOptions(config));
  try {
    const trainer: Trainer = await Trainer.create({
      config,
      given,
      gpu,
      files,
      rows: train.rows,
      evalRows: evaluation?.rows ?? [],
      store,
      chatTemplate: text.template?.text ?? null,
      resumeFrom: resume,
      initFrom: initFrom === null ? null : await openNamedFolder('initFrom', initFrom),
      onLoadProgress: (loaded, total) => onProgress?.({ stage: 'weights', loaded, total }),
      warnings,
      told: options.told ?? new Set(),
      sample:
        config.logging.dashboard === false
          ? undefined
          : (step) => sampleRows(gpu, trainer, text, evaluation?.rows ?? train.rows, step),
    });
    return { trainer, gpu, train, text, warnings };
  } catch (error) {
    await gpu.close();
    throw error;
  }
}

/** What the configuration says about the device. */
export function gpuOptions(config: Config): Parameters<typeof Gpu.open>[0] {
  const { devices, tuning } = config;
  return {
    adapter: devices === 'auto' ? undefined : devices[0],
    family: tuning.backend === 'portable' ? 'portable' : undefined,
  };
}

async function openEvaluation(
  { config, given = new Map<string, string>(), rows, evalRows, onProgress, signal }: RunOptions,
  text: ModelText,
): Promise<Dataset | null> {
  const evaluates = rows
    ? evalRows !== undefined && config.train.eval_strategy !== 'no'
    : await hasEvaluation(config, given);
  return evaluates ? openRows(config, 'val', text, { onProgress, signal, rows: evalRows }) : null;
}

/** Whether a run evaluates: validation rows are optional where the configuration leaves their path at its default. */
export async function hasEvaluation(config: Config, given: ReadonlyMap<string, string>): Promise<boolean> {
  const path = config.data.val_path;
  if (config.train.eval_strategy === 'no' || path === null) return false;
  return given.has('data.val_path') || exists(path);
}

function* reportOf(split: string, { report }: Dataset): Generator<string> {
  const { dropped, truncated, mix } = report;
  const [first] = dropped;
  if (first) yield `${split}: ${dropped.length} rows are left out, the first is ${first.where}: ${first.why}`;
  if (truncated > 0) yield `${split}: ${truncated} rows are longer than model.max_seq_len and were truncated`;
  if (mix && mix.leftOut > 0) {
    const { documents, others, leftOut } = mix;
    yield `${split}: data.documents.mix_ratio leaves out ${leftOut} rows; ${documents} of documents and ${others} others stay`;
  }
}

async function findCheckpoint(
  config: Config,
  resumeFrom: string | undefined,
  warnings: string[],
): Promise<ReadableFolder | null> {
  if (resumeFrom === undefined) return null;
  if (resumeFrom !== 'last') return openNamedFolder('checkpoint', resumeFrom);
  const store = await openStore(config.output_dir);
  const newest = (await listCheckpoints(store)).at(-1);
  if (newest) return store.folder(newest.folder);
  warnings.push(`${config.output_dir}: there is no checkpoint to continue from; starting anew`);
  return null;
}
