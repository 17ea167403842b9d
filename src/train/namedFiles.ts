/** Files and folders that a configuration names. Where one is not there, the key that names it is wrong. */
import { openFile, openFolder } from '#platform';
import { dataFilesOf } from '../data/records.ts';
import { type ErrorCode, SftError } from '../platform/errors.ts';
import type { ReadableFolder, ReadableSource } from '../platform/types.ts';

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

/** The files of a split. Throws `DATA` naming its key. */
export async function openNamedSources(path: string, split: string): Promise<ReadableSource[]> {
  try {
    return await openSources(path);
  } catch (cause) {
    throw asWrong(cause, 'DATA', `data.${split}_path`, `name a file of rows, such as train.jsonl, or a folder of them`);
  }
}
