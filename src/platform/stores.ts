import { invariant, SftError } from './errors.ts';
import { checkPath } from './paths.ts';
import { bytesFolder } from './sources.ts';
import type { StagedFolder, WritableStore } from './types.ts';

/** Writes a folder that appears whole or not at all: `fill` writes the files; when it fails, nothing is left. */
export async function saveFolder(
  store: WritableStore,
  folder: string,
  fill: (staged: StagedFolder) => Promise<void>,
): Promise<void> {
  await commitOrAbort(await store.stage(folder), fill);
}

/** Replaces files as one (see `WritableStore.stageFiles`): `fill` writes them; when it fails, the former ones stay. */
export async function saveFiles(
  store: WritableStore,
  paths: readonly string[],
  fill: (staged: StagedFolder) => Promise<void>,
): Promise<void> {
  await commitOrAbort(await store.stageFiles(paths), fill);
}

async function commitOrAbort(staged: StagedFolder, fill: (staged: StagedFolder) => Promise<void>): Promise<void> {
  try {
    await fill(staged);
    await staged.commit();
  } catch (error) {
    // The first error is the one to tell; what cannot be removed now is swept by the next run.
    await staged.abort().catch(() => undefined);
    throw error;
  }
}

export function toBytes(content: string | Uint8Array): Uint8Array {
  return typeof content === 'string' ? new TextEncoder().encode(content) : content;
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

export function busyError(store: string, who: string): SftError {
  return new SftError('BUSY', `${store}: ${who} is writing here`, {
    hint: 'wait until it has ended, or choose another output_dir',
  });
}

/** A store in memory, for tests and for pages that hand their files out as a download. */
export function memoryStore(name = 'memory'): WritableStore {
  const files = new Map<string, Uint8Array>();
  const below = (folder: string) => [...files.keys()].filter((path) => path.startsWith(`${folder}/`));
  const remove = (path: string) => {
    for (const file of [path, ...below(path)]) files.delete(file);
  };
  /** Files that come to their places, after `prefix`, when `removed` have gone. */
  const stageInto = (prefix: string, removed: readonly string[]): StagedFolder => {
    const staged = new Map<string, Uint8Array>();
    const create = async (path: string) => {
      invariant(!staged.has(checkPath(path)), `${prefix}${path} is written twice`);
      const parts: Uint8Array[] = [];
      staged.set(path, new Uint8Array(0));
      return {
        write: async (bytes: Uint8Array) => void parts.push(bytes.slice()),
        close: async () => void staged.set(path, concatBytes(parts)),
      };
    };
    return {
      create,
      async write(path, content) {
        const file = await create(path);
        await file.write(toBytes(content));
        await file.close();
      },
      async commit() {
        for (const path of removed) remove(path);
        for (const [path, bytes] of staged) files.set(`${prefix}${path}`, bytes);
      },
      abort: async () => staged.clear(),
    };
  };
  let locked = false;
  return {
    name,
    stage: async (folder) => stageInto(`${checkPath(folder)}/`, [folder]),
    stageFiles: async (paths) => stageInto('', paths.map(checkPath)),
    async write(path, content) {
      files.set(checkPath(path), toBytes(content).slice());
    },
    async append(path, content) {
      files.set(path, concatBytes([files.get(checkPath(path)) ?? new Uint8Array(0), toBytes(content)]));
    },
    async read(path) {
      const bytes = files.get(checkPath(path));
      return bytes ? new Uint8Array(bytes) : null;
    },
    async folders() {
      const first = [...files.keys()]
        .filter((path) => path.includes('/'))
        .map((path) => path.slice(0, path.indexOf('/')));
      return [...new Set(first)].sort();
    },
    folder(folder) {
      checkPath(folder);
      const start = folder.length + 1;
      return bytesFolder(
        `${name}/${folder}`,
        new Map(below(folder).map((path) => [path.slice(start), files.get(path)!])),
      );
    },
    async remove(path) {
      remove(checkPath(path));
    },
    async lock() {
      if (locked) throw busyError(name, 'another run');
      locked = true;
      return async () => {
        locked = false;
      };
    },
  };
}
