/** The weights of a model folder: `model.safetensors`, or several files and an index of what is where. */
import { SftError } from '../platform/errors.ts';
import { readText } from '../platform/sources.ts';
import type { ReadableFolder, ReadableSource, StagedFolder } from '../platform/types.ts';
import { readSafetensors, type TensorInfo, type TensorToWrite, tensorBytes, writeSafetensors } from './safetensors.ts';
import { parseStrictJson } from './strictJson.ts';

const SINGLE_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';

/** Pickle files run code when they are read. They are never read. */
const PICKLE_FILES = ['pytorch_model.bin', 'pytorch_model.bin.index.json', 'model.pt', 'consolidated.00.pth'];

/** Bytes of one file of a large model: transformers' default. */
const MAX_FILE_BYTES = 5_000_000_000;

export interface Checkpoint {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Names of the files that hold them. */
  readonly files: readonly string[];
  /** Bytes of all tensors. */
  readonly totalBytes: number;
  close(): Promise<void>;
}

/** Opens the weights of a model folder and checks every header. Throws `MODEL`. */
export async function openCheckpoint(folder: ReadableFolder): Promise<Checkpoint> {
  if (await folder.has(SINGLE_FILE)) return collect(folder, [SINGLE_FILE], () => SINGLE_FILE);
  if (await folder.has(INDEX_FILE)) {
    const index = await readIndex(folder);
    return collect(folder, [...new Set(index.values())], (name) => index.get(name), index.keys());
  }
  for (const file of PICKLE_FILES) {
    if (!(await folder.has(file))) continue;
    throw new SftError(
      'MODEL',
      `${folder.name}: expected ${SINGLE_FILE}, found ${file}, a pickle file, which is never read`,
      {
        hint: 'use a copy of the model in safetensors format, or convert it with save_pretrained of transformers',
      },
    );
  }
  throw new SftError('MODEL', `${folder.name}: expected ${SINGLE_FILE} or ${INDEX_FILE}, found neither`, {
    hint: 'check that this is the folder of a Hugging Face model and that its download is complete',
  });
}

/** Tensor name → file name. */
async function readIndex(folder: ReadableFolder): Promise<Map<string, string>> {
  const where = `${folder.name}/${INDEX_FILE}`;
  let index: unknown;
  try {
    index = parseStrictJson(await readText(folder, INDEX_FILE));
  } catch (cause) {
    throw new SftError('MODEL', `${where}: expected JSON: ${(cause as Error).message}`, { cause });
  }
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null) throw new SftError('MODEL', `${where}: expected a "weight_map"`);
  const files = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    // The index may name files beside it and nothing else.
    if (typeof file !== 'string' || !/^[^/\\:\0]+\.safetensors$/.test(file)) {
      throw new SftError(
        'MODEL',
        `${where}: "${name}": expected the name of a safetensors file, got ${JSON.stringify(file)}`,
      );
    }
    files.set(name, file);
  }
  return files;
}

/**
 * Opens the files and joins their tensors. `home` says in which file a tensor belongs; tensors that it does not know
 * are left out, and all of `expected` must be found.
 */
async function collect(
  folder: ReadableFolder,
  files: readonly string[],
  home: (tensor: string) => string | undefined,
  expected: Iterable<string> = [],
): Promise<Checkpoint> {
  const sources: ReadableSource[] = [];
  const close = async () => {
    for (const source of sources) await source.close();
  };
  try {
    const missing: string[] = [];
    for (const file of files) if (!(await folder.has(file))) missing.push(file);
    if (missing.length > 0) throw missingError(folder, 'file', missing);
    const tensors = new Map<string, TensorInfo>();
    for (const file of files) {
      const source = await folder.open(file);
      sources.push(source);
      for (const [name, tensor] of (await readSafetensors(source)).tensors) {
        const owner = home(name);
        if (owner !== undefined && owner !== file) {
          throw new SftError('MODEL', `${source.name}: holds "${name}", which ${INDEX_FILE} places in ${owner}`);
        }
        if (owner) tensors.set(name, tensor);
      }
    }
    const absent = [...expected].filter((name) => !tensors.has(name));
    if (absent.length > 0)
      throw missingError(
        folder,
        'tensor',
        absent.map((name) => `${name} (${home(name)})`),
      );
    const totalBytes = [...tensors.values()].reduce((sum, { length }) => sum + length, 0);
    return { tensors, files, totalBytes, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function missingError(folder: ReadableFolder, what: 'file' | 'tensor', names: readonly string[]): SftError {
  const message = `${folder.name}: ${INDEX_FILE} names ${what}s that are missing: ${someOf(names)}`;
  return new SftError('MODEL', message, { hint: 'download the model again: it is not complete' });
}

/** The first names of a list that may be long. */
export function someOf(names: readonly string[], limit = 8): string {
  const rest = names.length - limit;
  return names.slice(0, limit).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

/** Writes the weights of a model, in the given order, as one file or as several and an index. */
export async function writeCheckpoint(
  folder: StagedFolder,
  tensors: readonly TensorToWrite[],
  maxFileBytes = MAX_FILE_BYTES,
): Promise<void> {
  const shards = split(tensors, maxFileBytes);
  const number = (n: number) => String(n).padStart(5, '0');
  const name = (index: number) =>
    shards.length === 1 ? SINGLE_FILE : `model-${number(index + 1)}-of-${number(shards.length)}.safetensors`;
  for (const [index, shard] of shards.entries()) {
    const file = await folder.create(name(index));
    await writeSafetensors(file, shard);
    await file.close();
  }
  if (shards.length === 1) return;
  const homes = shards.flatMap((shard, index) => shard.map((tensor) => [tensor.name, name(index)] as const));
  const index = {
    metadata: { total_size: tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0) },
    weight_map: Object.fromEntries(homes.sort(([a], [b]) => (a < b ? -1 : 1))),
  };
  await folder.write(INDEX_FILE, `${JSON.stringify(index, null, 2)}\n`);
}

/** Fills one file after the other. A tensor that is larger than a file has one for itself. */
function split(tensors: readonly TensorToWrite[], maxFileBytes: number): TensorToWrite[][] {
  const shards: TensorToWrite[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const length = tensorBytes(tensor);
    if (bytes > 0 && bytes + length > maxFileBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)!.push(tensor);
    bytes += length;
  }
  return shards;
}
