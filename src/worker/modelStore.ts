/**
 * Models in the storage of the browser: `models/<name>/` holds the files that are needed, and `stored.json`, which is written
 * last. Without it a model is not there; what has come of it so far waits for the transfer to go on.
 */
import { openFile, openFolder, openStore } from '#platform';
import { hashText } from '../data/split.ts';
import { loadChatTemplate } from '../data/template.ts';
import { loadTokenizer } from '../data/tokenizer.ts';
import { TOKENIZER_FILES } from '../model/companions.ts';
import { countParameters, openModel, readSpec } from '../model/modelFiles.ts';
import { alone, openGrowing, removePath, storageEstimate } from '../platform/browserStorage.ts';
import { SftError } from '../platform/errors.ts';
import { HubFailure } from '../platform/hubConnection.ts';
import type { WritableStore } from '../platform/types.ts';
import type { CallOptions, ModelSource, StoredModel } from './api.ts';
import { chosenFiles, hubRepository, type ModelOrigin, webFolder } from './modelFiles.ts';
import { pour } from './pour.ts';

export const MODELS = 'models';
const RECORD = 'stored.json';
const TRANSFER = 'transfer.json';
const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const SMALL_FILES = ['generation_config.json', ...TOKENIZER_FILES, 'chat_template.jinja'];

/** How far the transfer of a file is: what it was when it began, and whether all of it is there. */
interface Transferred {
  readonly version: string | null;
  readonly complete: boolean;
}

/** How far the transfer of a model is, and of which version. */
interface Transfer {
  readonly version: string | null;
  readonly files: Record<string, Transferred>;
}

/** Brings a model into storage, or finds it there. Throws `MODEL`, `IO`, `CONFIG`. */
export async function fetchModel(source: ModelSource, options: CallOptions = {}): Promise<StoredModel> {
  const { title, name } = nameOf(source);
  const path = `${MODELS}/${name}`;
  return alone(path, async () => {
    const known = await readRecord(path);
    if (known) return known;
    const origin = await openOrigin(source, options.signal);
    const store = await openStore(path);
    try {
      const bytes = await transfer(store, origin, options);
      const stored = { ...(await describe(path)), path, title, bytes };
      await store.write(RECORD, JSON.stringify(stored));
      await store.remove(TRANSFER);
      return stored;
    } catch (error) {
      if (!canGoOn(error)) await removePath(path);
      throw named(error, path, title);
    }
  });
}

/** Errors name a model as the person knows it. */
function named(error: unknown, path: string, title: string): unknown {
  if (!(error instanceof SftError)) return error;
  const { code, message, hint, cause } = error;
  return new SftError(code, message.replaceAll(path, title.replace(/\/+$/, '')), {
    ...(hint !== undefined && { hint }),
    cause,
  });
}

/** What is wrong stays wrong, and what fills the storage must not stay in it; what a server refuses now it may give later. */
function canGoOn(error: unknown): boolean {
  if (!(error instanceof SftError) || error.cause instanceof HubFailure) return true;
  return error.code === 'IO' && (error.cause as Error | undefined)?.name !== 'QuotaExceededError';
}

async function readRecord(path: string): Promise<StoredModel | null> {
  if (!(await openFolder(path).catch(() => null))) return null;
  return readJson<StoredModel>(await openStore(path), RECORD);
}

export async function storedModels(): Promise<StoredModel[]> {
  const models = await openStore(MODELS);
  const found: StoredModel[] = [];
  for (const name of await models.folders()) {
    const stored = await readRecord(`${MODELS}/${name}`);
    if (stored) found.push(stored);
  }
  return found;
}

/** Removes a model. Throws `ARGUMENT` when the path is not one of a model. */
export async function removeModel(path: string): Promise<void> {
  if (!path.startsWith(`${MODELS}/`)) {
    throw new SftError('ARGUMENT', `removeModel: expected the path of a stored model, got ${path}`);
  }
  await alone(path, () => removePath(path));
}

/** What a person knows a model by, and the name of its folder. */
function nameOf(source: ModelSource): { title: string; name: string } {
  if (source.kind === 'url') return { title: source.url, name: folderName(source.url) };
  if (source.kind === 'hub') {
    const { id, revision = 'main' } = source;
    const title = revision === 'main' ? id : `${id}@${revision}`;
    return { title, name: folderName(title) };
  }
  const { name, files } = source;
  // Another folder may have the same name.
  const content = files.map((file) => `${file.webkitRelativePath || file.name} ${file.size} ${file.lastModified}`);
  const mark = hashText(content.sort().join('\n')).toString(36);
  return { title: name, name: `${folderName(name)}-${mark}` };
}

async function openOrigin(source: ModelSource, signal?: AbortSignal): Promise<ModelOrigin> {
  if (source.kind === 'url') return webFolder(source.url);
  return source.kind === 'hub' ? hubRepository(source, signal) : chosenFiles(source.files);
}

/** A name for a folder. */
function folderName(title: string): string {
  const name = title.replace(/^[a-z]+:\/+/, '').replaceAll(/[^\w.-]+/g, '--');
  return name.replace(/^[.-]+|-+$/g, '') || 'model';
}

async function readJson<T>(store: WritableStore, path: string): Promise<T | null> {
  const bytes = await store.read(path);
  return bytes && (JSON.parse(new TextDecoder().decode(bytes)) as T);
}

/** Brings all files that are needed; their bytes together. */
async function transfer(store: WritableStore, origin: ModelOrigin, options: CallOptions): Promise<number> {
  const before = await readJson<Transfer>(store, TRANSFER);
  const { version } = origin;
  // Files of two versions do not make a model.
  const files = before?.version === version ? before.files : {};
  const note = (file: string, transferred: Transferred) => {
    files[file] = transferred;
    return store.write(TRANSFER, JSON.stringify({ version, files } satisfies Transfer));
  };
  let bytes = 0;
  const bring = async (file: string): Promise<boolean> => {
    const size = await bringFile(store.name, file, files[file], origin, note, options);
    bytes += size ?? 0;
    return size !== null;
  };
  if (!(await bring('config.json'))) {
    throw new SftError('MODEL', `${store.name}/config.json: there is no such file where the model should be`, {
      hint: 'give the folder of a Hugging Face model (config.json, *.safetensors, tokenizer.json)',
    });
  }
  // What cannot be used is refused before it is brought.
  await readSpec(await openFolder(store.name));
  for (const file of SMALL_FILES) await bring(file);
  if (await bring(SINGLE)) return bytes;
  if (!(await bring(INDEX))) {
    throw new SftError('MODEL', `${store.name}: expected ${SINGLE} or ${INDEX}, found neither`, {
      hint: 'choose a model in safetensors format',
    });
  }
  for (const file of await shardsOf(store)) await bring(file);
  return bytes;
}

async function shardsOf(store: WritableStore): Promise<string[]> {
  const index = await readJson<{ weight_map?: Record<string, string> }>(store, INDEX);
  const files = [...new Set(Object.values(index?.weight_map ?? {}))];
  const wrong = files.find((file) => !/^[^/\\:\0]+\.safetensors$/.test(file));
  if (wrong === undefined) return files.sort();
  throw new SftError(
    'MODEL',
    `${store.name}/${INDEX}: expected names of safetensors files, got ${JSON.stringify(wrong)}`,
  );
}

/** Brings a file, or the rest of it. Its bytes; null when there is none of that name. */
async function bringFile(
  folder: string,
  file: string,
  before: Transferred | undefined,
  origin: ModelOrigin,
  note: (file: string, transferred: Transferred) => Promise<void>,
  options: CallOptions,
): Promise<number | null> {
  const { signal } = options;
  signal?.throwIfAborted();
  const path = `${folder}/${file}`;
  const have = before ? await sizeOf(path) : 0;
  if (before?.complete) return have;
  const part = await origin.open(file, have, before?.version ?? null, signal);
  if (!part) return null;
  await refuseTooLarge(file, (part.total ?? 0) - part.from);
  await note(file, { version: part.version, complete: false });
  const target = await openGrowing(path);
  try {
    if (target.size !== part.from) target.clear();
    await pour(part.stream, target, { what: file, total: part.total }, options);
    if (part.total !== null && target.size < part.total) {
      throw new SftError('IO', `${file}: expected ${part.total} bytes, got ${target.size}`, { hint: 'try again' });
    }
    if (part.sha256 !== null && (await target.sha256()) !== part.sha256) {
      target.clear();
      throw new SftError('IO', `${file}: the bytes that came do not have the checksum that the hub tells`, {
        hint: 'try again',
      });
    }
    await note(file, { version: part.version, complete: true });
    return target.size;
  } finally {
    target.close();
  }
}

async function sizeOf(path: string): Promise<number> {
  const source = await openFile(path);
  await source.close();
  return source.size;
}

async function refuseTooLarge(file: string, bytes: number): Promise<void> {
  const { usage, quota } = await storageEstimate();
  if (bytes <= quota - usage) return;
  throw new SftError(
    'IO',
    `${file}: expected room for ${bytes} bytes, the browser gives ${Math.max(0, quota - usage)} more`,
    {
      hint: 'remove models that are not used any more, or free space on the disk',
    },
  );
}

/** What there is to know of a model whose files are all there. Throws `MODEL`. */
async function describe(path: string): Promise<Omit<StoredModel, 'path' | 'title' | 'bytes'>> {
  const folder = await openFolder(path);
  const files = await openModel(folder);
  try {
    const { namedTokens } = await loadTokenizer(folder);
    return {
      type: files.spec.modelType,
      parameters: countParameters(files),
      contextLength: files.spec.rope.maxPositions,
      hasTemplate: (await loadChatTemplate(folder, namedTokens)) !== null,
    };
  } finally {
    await files.checkpoint.close();
  }
}
