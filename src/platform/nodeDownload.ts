/** One file of a hub into the cache: what an earlier try has brought is gone on with, and it gets its name when it is whole and right. */
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SftError } from './errors.ts';
import type { HubClient, HubFile } from './hub.ts';
import { NoAnswer, sleep } from './hubConnection.ts';
import { attempt, attemptIfThere } from './nodeErrors.ts';
import { processExists } from './nodeLock.ts';

/** Tries that bring nothing before it is given up; after each, the pause is twice as long. */
const TRIES = 4;
const FIRST_PAUSE = 500;

/** Bytes read at once where a part of a file is hashed again. */
const BLOCK_BYTES = 2 ** 22;

/** The etag of large files is the SHA-256 of their content. */
const SHA256 = /^[0-9a-f]{64}$/;

export interface Download {
  readonly client: HubClient;
  readonly file: HubFile;
  readonly commit: string;
  /** The folder `blobs` of the repository. */
  readonly blobs: string;
  /** Told how many bytes are there more, or fewer, than before. */
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal | undefined;
}

/** Brings a file to `blobs/<etag>`. Throws `IO`; what came by then stays and is gone on with by the next call. */
export async function downloadBlob(download: Download): Promise<void> {
  const { file, blobs, onBytes } = download;
  const target = join(blobs, file.etag);
  const part = await Part.open(target, file);
  let earlier = part.size;
  onBytes(part.size);
  try {
    for (;;) {
      await fill(part, download);
      const wrong = part.mismatch();
      if (wrong === null) break;
      onBytes(-part.size);
      await part.restart();
      // What an earlier try left may be to blame.
      if (earlier === 0) throw wrongContent(download, wrong);
      earlier = 0;
    }
    await part.finish(target);
  } finally {
    await part.leave(target);
  }
}

/** Asks for the rest of a file until it is there. */
async function fill(part: Part, { client, file, commit, onBytes, signal }: Download): Promise<void> {
  const { path, size } = file;
  for (let failures = 0; size === null || part.size < size; ) {
    const before = part.size;
    try {
      const { start, body } = await client.read(path, commit, part.size);
      if (start !== part.size) {
        onBytes(-part.size);
        await part.restart();
      }
      if (start !== part.size) {
        await body?.cancel();
        throw new NoAnswer('it sent another part of the file than was asked for');
      }
      for await (const bytes of body ?? []) {
        await part.append(bytes);
        onBytes(bytes.length);
      }
      if (size === null) return;
      if (part.size < size) throw new NoAnswer('the connection broke');
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof NoAnswer)) throw error;
      failures = part.size > before ? 1 : failures + 1;
      if (failures === TRIES) {
        const got = `${part.size}${size === null ? '' : ` of ${size}`} bytes`;
        throw new SftError('IO', `${client.name}/${path}: the hub stopped after ${got}: ${error.message}`, {
          hint: 'run the command again: it goes on where it stopped',
          cause: error,
        });
      }
      await sleep(FIRST_PAUSE * 2 ** (failures - 1), signal);
    }
  }
}

function wrongContent({ client, file }: Download, wrong: string): SftError {
  return new SftError('IO', `${client.name}/${file.path}: ${wrong}`, {
    hint: 'run the command again; if that does not help, the hub or a proxy on the way changes the file',
  });
}

let counter = 0;
/** Parts that this process writes now. */
const inUse = new Set<string>();

/**
 * A file that is not whole. It is called `<etag>.<process>-<number>.incomplete` while it is written, so that two processes do not
 * write one file, and `<etag>.incomplete` when it is left.
 */
class Part {
  size = 0;
  readonly #path: string;
  readonly #file: HubFile;
  readonly #handle: FileHandle;
  #hash: Hash;
  #open = true;

  private constructor(path: string, file: HubFile, handle: FileHandle) {
    this.#path = path;
    this.#file = file;
    this.#handle = handle;
    this.#hash = createHash('sha256');
  }

  /** Goes on with the largest part that nobody writes, or begins anew. */
  static async open(target: string, file: HubFile): Promise<Part> {
    counter += 1;
    const path = `${target}.${process.pid}-${counter}.incomplete`;
    inUse.add(path);
    // Without a size nobody knows whether a part is all of it.
    if (file.size !== null) await claim(target, path);
    const handle = await attempt('write', path, () => open(path, 'a+'));
    const part = new Part(path, file, handle);
    const { size } = await handle.stat();
    if (file.size === null || size > file.size) await part.restart();
    else await part.#rehash(size);
    return part;
  }

  async #rehash(size: number): Promise<void> {
    const block = new Uint8Array(BLOCK_BYTES);
    while (this.size < size) {
      const { bytesRead } = await attempt('read', this.#path, () =>
        this.#handle.read(block, 0, BLOCK_BYTES, this.size),
      );
      if (bytesRead === 0) break;
      this.#note(block.subarray(0, bytesRead));
    }
  }

  #note(bytes: Uint8Array): void {
    if (SHA256.test(this.#file.etag)) this.#hash.update(bytes);
    this.size += bytes.length;
  }

  async append(bytes: Uint8Array): Promise<void> {
    await attempt('write', this.#path, () => this.#handle.writeFile(bytes));
    this.#note(bytes);
  }

  async restart(): Promise<void> {
    await attempt('write', this.#path, () => this.#handle.truncate(0));
    this.size = 0;
    this.#hash = createHash('sha256');
  }

  /** What is wrong with the content, or null. Large files are hashed; of others the hub tells only the size. */
  mismatch(): string | null {
    const { etag, size } = this.#file;
    if (size !== null && this.size !== size) return `expected ${size} bytes, got ${this.size}`;
    const got = this.#hash.copy().digest('hex');
    return SHA256.test(etag) && got !== etag ? `expected content with SHA-256 ${etag}, got ${got}` : null;
  }

  /** Gives the file its name. */
  async finish(target: string): Promise<void> {
    await attempt('write', target, () => this.#handle.sync());
    await this.#close();
    await attempt('write', target, () => rename(this.#path, target));
  }

  /** Leaves what is there to a later try; nothing after `finish`. */
  async leave(target: string): Promise<void> {
    if (!this.#open) return;
    await this.#close();
    const end = this.size > 0 ? rename(this.#path, `${target}.incomplete`) : rm(this.#path, { force: true });
    await end.catch(() => {});
  }

  async #close(): Promise<void> {
    this.#open = false;
    inUse.delete(this.#path);
    await this.#handle.close();
  }
}

/** Takes over the largest part of a file that no living process writes. */
async function claim(target: string, path: string): Promise<void> {
  const folder = dirname(target);
  const etag = basename(target);
  const names = await attempt('read', folder, () => readdir(folder));
  const parts: { name: string; size: number }[] = [];
  for (const name of names) {
    if (!name.startsWith(`${etag}.`) || !name.endsWith('.incomplete')) continue;
    const owner = /^(?:(?<pid>\d+)-\d+\.)?incomplete$/.exec(name.slice(etag.length + 1));
    if (!owner || (owner.groups?.pid && isWritten(join(folder, name), Number(owner.groups.pid)))) continue;
    const handle = await attemptIfThere('read', join(folder, name), () => open(join(folder, name)));
    if (!handle) continue;
    parts.push({ name, size: (await handle.stat().finally(() => handle.close())).size });
  }
  parts.sort((a, b) => b.size - a.size);
  for (const { name } of parts) {
    if (await attemptIfThere('write', path, () => rename(join(folder, name), path).then(() => true))) return;
  }
}

/** Whether somebody may be writing a part. The number of this process may have been that of one before it. */
const isWritten = (path: string, pid: number) => (pid === process.pid ? inUse.has(path) : processExists(pid));
