/** What a configuration names: folders, models and files of rows, on this machine or on a hub. What is on this machine comes first. */
import { openFile, openFolder, openHub } from '#platform';
import { chooseFiles, type DatasetName, type DatasetSplit, parseDatasetName } from '../data/hubDataset.ts';
import { dataFilesOf } from '../data/records.ts';
import type { Split } from '../data/split.ts';
import { type Checkpoint, INDEX_FILE } from '../model/checkpoint.ts';
import { COMPANIONS } from '../model/companions.ts';
import { openModel } from '../model/model.ts';
import { type ErrorCode, SftError } from '../platform/errors.ts';
import { HubFailure, type HubFolder, type HubProgress, isHubId } from '../platform/hub.ts';
import { readText } from '../platform/sources.ts';
import type { ReadableFolder, ReadableSource } from '../platform/types.ts';
import type { Config } from './config.ts';

export interface SourceOptions {
  /** Told of bytes that come from a hub. */
  readonly onDownload?: ((progress: HubProgress) => void) | undefined;
  /** Told what a person should know: a hub that was not reached, files that are left out. */
  readonly onWarning?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What this project opens folders as: the error that a missing one is, the key that names it, and what to do. */
const FOLDERS = {
  adapter: ['ADAPTER', 'adapter', 'name the folder of an adapter; `webgpu-sft train` writes <output_dir>/final_model'],
  initFrom: ['ADAPTER', 'tuning.lora.init_from', 'name the folder of a PEFT adapter, or leave the key out'],
  checkpoint: ['RESUME', '--resume-from', 'name a checkpoint-<step> folder, or `last`'],
} as const;

/** Opens a folder that a person has named. Throws `ADAPTER` or `RESUME` where there is none. */
export async function openNamedFolder(what: keyof typeof FOLDERS, path: string): Promise<ReadableFolder> {
  try {
    return await openFolder(path);
  } catch (cause) {
    const [code, key, hint] = FOLDERS[what];
    throw asWrong(cause, code, key, hint);
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

/** A model as a configuration names it. */
export type ModelName = Pick<Config['model'], 'name'> & Partial<Pick<Config['model'], 'revision' | 'hub_url'>>;

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
  const { name, revision = 'main', hub_url: hubUrl } = model;
  const { need = 'text', onDownload: onProgress, onWarning, signal } = options;
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
  const hub = { type: 'model', id: name, revision } as const;
  const folder = await openHub(hub, { hubUrl, onProgress, signal }).catch((cause: unknown) => {
    throw asMissing(cause, 'MODEL', 'model.name', name, 'folder');
  });
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

/** Opens a file, all data files of a folder in the order of their names, or files of a hub. Throws `DATA`, `IO`. */
export async function openSources(config: Config, rows: NamedRows, options: SourceOptions = {}): Promise<OpenedRows> {
  const { key, path } = rows;
  const folder = await openFolder(path).catch(() => null);
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
