/** What a configuration names: folders, models and files of rows, on this machine or on a hub. What is on this machine comes first. */
import { openFile, openFolder, openHub } from '#platform';
import { chooseFiles, type DatasetName, type DatasetSplit, parseDatasetName } from '../data/hubDataset.ts';
import { dataFilesOf } from '../data/records.ts';
import type { Split } from '../data/split.ts';
import { ADAPTER_CONFIG_FILE, readAdapterConfig } from '../model/adapterConfig.ts';
import { type Checkpoint, INDEX_FILE } from '../model/checkpoint.ts';
import { COMPANIONS } from '../model/companions.ts';
import { openModel } from '../model/modelFiles.ts';
import { ADAPTER_WEIGHTS_FILE } from '../model/peft.ts';
import { type ErrorCode, SftError } from '../platform/errors.ts';
import type { HubFolder, HubProgress } from '../platform/hub.ts';
import { HubFailure, isHubId } from '../platform/hubConnection.ts';
import { readText } from '../platform/sources.ts';
import type { ReadableFolder, ReadableSource } from '../platform/types.ts';
import type { Config } from './config.ts';

/** Who is told of what a hub brings, and what ends it. */
export interface SourceOptions {
  /** Told of bytes that come from a hub. */
  readonly onDownload?: ((progress: HubProgress) => void) | undefined;
  /** Told what a person should know: a hub that was not reached, files that are left out. */
  readonly onWarning?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What this project opens folders as: the error that a missing one is, the key that names it, and what to do. */
const FOLDERS = {
  adapter: [
    'ADAPTER',
    'adapter',
    'name the folder of an adapter, or its id on a hub; `webgpu-sft train` writes <output_dir>/final_model',
  ],
  initFrom: [
    'ADAPTER',
    'tuning.lora.init_from',
    'name the folder of a PEFT adapter, or its id on a hub, or leave the key out',
  ],
  checkpoint: ['RESUME', '--resume-from', 'name a checkpoint-<step> folder, or `last`'],
} as const;

/**
 * Opens a folder that a person has named; an adapter may also be that of a hub, `owner/name` or `owner/name@revision`, and is then brought
 * to this machine. Throws `ADAPTER` or `RESUME` where there is none, `CONFIG`, and `IO` when a download fails.
 */
export async function openNamedFolder(
  what: keyof typeof FOLDERS,
  path: string,
  options: SourceOptions & { readonly hubUrl?: string | null } = {},
): Promise<ReadableFolder> {
  const [code, key, hint] = FOLDERS[what];
  const local = await openFolder(path).catch((cause: unknown) => cause as SftError);
  if (!(local instanceof Error)) return local;
  const [id = '', revision = 'main'] = path.split('@');
  if (what === 'checkpoint' || !isHubId(id) || (await isFile(path))) throw asWrong(local, code, key, hint);
  const { hubUrl = null } = options;
  const folder = await openOnHub({ name: id, revision, hub_url: hubUrl }, options).catch((cause: unknown) => {
    throw asMissing(cause, code, key, path, 'folder');
  });
  return bringAdapter(folder, options);
}

/** What a key names cannot be opened: then the key is wrong, and not the disk. */
export function asWrong(cause: unknown, code: ErrorCode, key: string, hint: string): unknown {
  if (!(cause instanceof SftError) || cause.code !== 'IO') return cause;
  return new SftError(code, `${key}: ${cause.message}`, { hint, cause });
}

/** A model as a configuration names it. */
export type ModelName = Pick<Config['model'], 'name'> & Partial<Pick<Config['model'], 'revision' | 'hub_url'>>;

/** How much of a model is brought from a hub. */
export interface OpenModelOptions extends SourceOptions {
  /**
   * What has to be on this machine: what a memory plan needs (`config`), also tokenizer and template (`text`), also the weights. The
   * rest of a model of a hub is read from there, range by range.
   */
  readonly need?: 'config' | 'text' | 'weights';
}

/**
 * Opens the folder of a model, or the model of a hub with that id. Throws `MODEL` when there is none, or none that is supported, `CONFIG`,
 * and `IO` when a download fails.
 */
export async function openModelFolder(model: ModelName, options: OpenModelOptions = {}): Promise<ReadableFolder> {
  const { name, revision = 'main' } = model;
  const local = await openFolder(name).catch((cause: unknown) => cause as SftError);
  if (!(local instanceof Error)) {
    if (revision === 'main') return local;
    throw new SftError('CONFIG', `model.revision: expected main for the folder ${name}, got ${revision}`, {
      hint: 'folders have no revisions: remove model.revision, or name the id of a model on a hub',
    });
  }
  if (!isHubId(name) || (await isFile(name))) {
    const hint = 'name the folder of a model in Hugging Face layout, or its id on a hub: owner/name';
    throw asWrong(local, 'MODEL', 'model.name', hint);
  }
  const folder = await openOnHub(model, options).catch((cause: unknown) => {
    throw asMissing(cause, 'MODEL', 'model.name', name, 'folder');
  });
  return bringModel(folder, options);
}

function openOnHub({ name: id, revision = 'main', hub_url: hubUrl }: ModelName, options: SourceOptions) {
  const { onDownload: onProgress, signal } = options;
  return openHub({ type: 'model', id, revision }, { hubUrl, onProgress, signal });
}

async function bringModel(folder: HubFolder, { need = 'text', onWarning }: OpenModelOptions): Promise<HubFolder> {
  if (folder.notice !== null) onWarning?.(folder.notice);
  await folder.download(await present(folder, need === 'config' ? CONFIG_FILES : [...CONFIG_FILES, ...COMPANIONS]));
  if (need === 'weights') {
    // A model that is not supported is not worth its gigabytes.
    const { checkpoint } = await openModel(folder);
    await checkpoint.close();
    await bringWeights(folder, checkpoint);
  }
  return folder;
}

/** Brings what there is of an adapter, and checks its configuration. */
async function bringAdapter(folder: HubFolder, { onWarning }: SourceOptions): Promise<HubFolder> {
  if (folder.notice !== null) onWarning?.(folder.notice);
  await folder.download(await present(folder, [ADAPTER_CONFIG_FILE]));
  await readAdapterConfig(folder);
  await folder.download(await present(folder, [ADAPTER_WEIGHTS_FILE, ...COMPANIONS]));
  return folder;
}

/**
 * Brings a model or an adapter of a hub whole to this machine, whatever folders are here. `base`: the model that an adapter names as its own;
 * null for models. Throws `MODEL`, `ADAPTER`, `CONFIG`, `IO`.
 */
export async function downloadModel(
  model: ModelName,
  options: SourceOptions = {},
): Promise<{ folder: HubFolder; base: string | null }> {
  const folder = await openOnHub(model, options);
  if ((await folder.has('config.json')) || !(await folder.has(ADAPTER_CONFIG_FILE))) {
    return { folder: await bringModel(folder, { ...options, need: 'weights' }), base: null };
  }
  await bringAdapter(folder, options);
  return { folder, base: (await readAdapterConfig(folder)).base_model_name_or_path };
}

const CONFIG_FILES = ['config.json', 'generation_config.json', INDEX_FILE];

async function present(folder: ReadableFolder, paths: readonly string[]): Promise<string[]> {
  const there = await Promise.all(paths.map((path) => folder.has(path)));
  return paths.filter((_, index) => there[index]);
}

/** Brings the weights of a model of a hub to this machine. Sources that are open read from there then. */
export async function bringWeights(folder: ReadableFolder, { files }: Pick<Checkpoint, 'files'>): Promise<void> {
  if ('download' in folder) await (folder as HubFolder).download(files);
}

async function isFile(path: string): Promise<boolean> {
  const file = await openFile(path).catch(() => null);
  await file?.close();
  return file !== null;
}

/** Neither on this machine nor on the hub: both are said. What else a hub has to say gets the key. */
function asMissing(cause: unknown, code: ErrorCode, key: string, name: string, what: string): unknown {
  if (!(cause instanceof SftError)) return cause;
  const { hint } = cause;
  const failure = cause.cause;
  if (!(failure instanceof HubFailure) || ![null, 401, 404].includes(failure.status)) return withKey(cause, key);
  const message = `${key}: ${name}: no such ${what} here, and ${failure.message}`;
  return new SftError(code, message, { ...(hint && { hint }), cause });
}

function withKey(cause: SftError, key: string): SftError {
  return new SftError(cause.code, `${key}: ${cause.message}`, { ...(cause.hint && { hint: cause.hint }), cause });
}

/** Files of rows and the key or flag that names them. */
export interface NamedRows {
  readonly key: string;
  /** A file, a folder, or a data set of a hub: `owner/name`, with a config or split behind it. */
  readonly path: string;
  /** Which rows of a data set of a hub are meant; those of training if left out. */
  readonly split?: Split;
}

export interface OpenedRows {
  readonly sources: readonly ReadableSource[];
  /** What is read: the path, and which part of a data set of a hub. */
  readonly label: string;
}

/**
 * Opens a file, all data files of a folder in the order of their names, or files of a hub; `folder` stands for what is named.
 * Throws `DATA`, `IO`.
 */
export async function openSources(
  config: Config,
  rows: NamedRows,
  options: SourceOptions & { readonly folder?: ReadableFolder | undefined } = {},
): Promise<OpenedRows> {
  const { key, path } = rows;
  const folder = options.folder ?? (await openFolder(path).catch(() => null));
  if (folder) {
    const names = dataFilesOf(path, await folder.list());
    return { sources: await Promise.all(names.map((name) => folder.open(name))), label: path };
  }
  const file = await openFile(path).catch((cause: unknown) => cause as SftError);
  if (!(file instanceof Error)) return { sources: [file], label: path };
  const name = parseDatasetName(path);
  if (name) return openDataset(config, rows, name, options);
  throw asWrong(
    file,
    'DATA',
    key,
    'name a file of rows, such as train.jsonl, a folder of them, or a data set of a hub',
  );
}

/** Whether rows are named that can be looked for: a file or folder that is there, or a data set of a hub. */
export async function exists(path: string): Promise<boolean> {
  if (parseDatasetName(path) || (await openFolder(path).catch(() => null))) return true;
  return isFile(path);
}

const SPLITS: Readonly<Record<Split, DatasetSplit>> = { train: 'train', val: 'validation', test: 'test' };

async function openDataset(
  { model }: Config,
  { key, path, split = 'train' }: NamedRows,
  name: DatasetName,
  { onDownload: onProgress, onWarning, signal }: SourceOptions,
): Promise<OpenedRows> {
  const repo = { type: 'dataset', id: name.id, revision: name.revision } as const;
  const folder = await openHub(repo, { hubUrl: model.hub_url, onProgress, signal }).catch((cause: unknown) => {
    throw asMissing(cause, 'DATA', key, path, 'file or folder');
  });
  try {
    const [card] = await present(folder, ['README.md']);
    if (card !== undefined) await folder.download([card]);
    const readme = card === undefined ? null : await readText(folder, card);
    const { files, label, warnings } = chooseFiles(name, await folder.list(), readme, SPLITS[split]);
    await folder.download(files);
    for (const warning of [...(folder.notice === null ? [] : [folder.notice]), ...warnings]) onWarning?.(warning);
    const sources = await Promise.all(files.map((file) => folder.open(file)));
    return { sources, label: `${name.id} (${label}, commit ${folder.commit.slice(0, 7)})` };
  } catch (cause) {
    throw cause instanceof SftError && cause.code === 'DATA' ? withKey(cause, key) : cause;
  }
}
