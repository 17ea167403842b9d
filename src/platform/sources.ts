/** Sources and folders made of web standards only: bytes in memory, Blobs, and URLs with HTTP Range. */
import { SftError } from './errors.ts';
import { checkPath } from './paths.ts';
import type { ReadableFolder, ReadableSource } from './types.ts';

/** Throws `IO` unless the range lies inside the source. */
export function checkRange(source: { name: string; size: number }, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= source.size) return;
  throw new SftError('IO', `${source.name}: expected ${length} bytes at ${offset}, the file has ${source.size}`, {
    hint: 'the file was cut off or changed while it was read',
  });
}

/** A source made of a way to read ranges that lie inside it. */
export function rangeSource(
  name: string,
  size: number,
  read: ReadableSource['read'],
  close: ReadableSource['close'] = async () => {},
): ReadableSource {
  return {
    name,
    size,
    async read(offset, length) {
      checkRange({ name, size }, offset, length);
      return read(offset, length);
    },
    close,
  };
}

/** Bytes in memory. What is read is a copy of them. */
export function bytesSource(name: string, bytes: Uint8Array): ReadableSource {
  return rangeSource(
    name,
    bytes.length,
    async (offset, length) => new Uint8Array(bytes.subarray(offset, offset + length)),
  );
}

/** A Blob, or a File that a person chose. Reading throws `IO` when the file was changed or moved meanwhile. */
export function blobSource(name: string, blob: Blob): ReadableSource {
  return rangeSource(name, blob.size, async (offset, length) => {
    try {
      return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
    } catch (cause) {
      throw new SftError('IO', `${name}: could not be read`, {
        hint: 'choose the file again: it was changed or moved',
        cause,
      });
    }
  });
}

/** Sends a request as `fetch` does, with errors of this project. */
export type SendRequest = (url: string, init: RequestInit) => Promise<Response>;

/**
 * A file on a web server, read with HTTP Range. Where a server ignores Range, the file is taken whole, up to
 * `MAX_WHOLE_BYTES`. Throws `IO` when there is no such file. `send`: for requests that need more than an address.
 */
export async function httpSource(url: string, send: SendRequest = request): Promise<ReadableSource> {
  const response = await send(url, { headers: { Range: 'bytes=0-0' } });
  // A range of an empty file cannot be satisfied.
  if (response.status === 416) return bytesSource(url, new Uint8Array(0));
  if (!response.ok) throw httpError(url, response);
  if (response.status !== 206) return wholeSource(url, response);
  await response.arrayBuffer();
  const size = await remoteSize(url, response.headers.get('Content-Range'), send);
  return rangeSource(url, size, async (offset, length) => {
    if (length === 0) return new Uint8Array(0);
    const part = await send(url, { headers: { Range: `bytes=${offset}-${offset + length - 1}` } });
    if (part.status !== 206) throw httpError(url, part);
    const bytes = await body(url, part);
    if (bytes.length === length) return bytes;
    throw new SftError('IO', `${url}: expected ${length} bytes at ${offset}, got ${bytes.length}`);
  });
}

/** 256 MiB: more than any tokenizer or config, less than a model that is worth reading in parts. */
const MAX_WHOLE_BYTES = 2 ** 28;

async function wholeSource(url: string, response: Response): Promise<ReadableSource> {
  if (Number(response.headers.get('Content-Length')) > MAX_WHOLE_BYTES) {
    await response.body?.cancel();
    throw new SftError('IO', `${url}: expected a server that supports HTTP Range, got the whole file`, {
      hint: 'serve the model with a web server that answers Range requests',
    });
  }
  return bytesSource(url, await body(url, response));
}

/** A page may read `Content-Range` only when the server exposes it; `Content-Length` it may always read. */
async function remoteSize(url: string, contentRange: string | null, send: SendRequest): Promise<number> {
  const total = /\/(\d+)$/.exec(contentRange ?? '')?.[1];
  if (total !== undefined) return Number(total);
  const head = await send(url, { method: 'HEAD' });
  const length = head.headers.get('Content-Length');
  if (!head.ok || length === null) throw new SftError('IO', `${url}: the server does not tell the size of the file`);
  return Number(length);
}

async function request(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (cause) {
    throw new SftError('IO', `${url}: no answer from the server`, {
      hint: 'check the address and the connection; in a page the server must also allow cross-origin requests (CORS)',
      cause,
    });
  }
}

async function body(url: string, response: Response): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw new SftError('IO', `${url}: the connection broke`, { hint: 'try again', cause });
  }
}

function httpError(url: string, response: Response): SftError {
  return new SftError(
    'IO',
    `${url}: expected the file, the server answered ${response.status} ${response.statusText}`.trimEnd(),
  );
}

/** A folder whose files are known: `open` makes the source of one of them. */
function mapFolder<T>(
  name: string,
  files: ReadonlyMap<string, T>,
  open: (path: string, file: T) => ReadableSource,
): ReadableFolder {
  return {
    name,
    list: async () => [...files.keys()].sort(),
    has: async (path) => files.has(checkPath(path)),
    async open(path) {
      const file = files.get(checkPath(path));
      if (file === undefined) throw noSuchFile(name, path);
      return open(`${name}/${path}`, file);
    },
  };
}

export function noSuchFile(folder: string, path: string): SftError {
  return new SftError('IO', `${folder}/${path}: there is no such file`);
}

/** Files in memory, by their paths in the folder. */
export function bytesFolder(name: string, files: ReadonlyMap<string, Uint8Array>): ReadableFolder {
  return mapFolder(name, files, bytesSource);
}

/** The files that a person chose in a page. The name of a chosen folder is not part of the paths. */
export function filesFolder(name: string, files: Iterable<File>): ReadableFolder {
  const paths = new Map<string, Blob>();
  for (const file of files) paths.set(file.webkitRelativePath?.split('/').slice(1).join('/') || file.name, file);
  return mapFolder(name, paths, blobSource);
}

/** A folder on a web server. It cannot be listed: `list` throws `IO`. */
export function httpFolder(url: string): ReadableFolder {
  const base = url.endsWith('/') ? url : `${url}/`;
  const address = (path: string) => base + checkPath(path).split('/').map(encodeURIComponent).join('/');
  return {
    name: url,
    async list() {
      throw new SftError('IO', `${url}: a folder on a web server cannot be listed`);
    },
    async has(path) {
      const response = await request(address(path), { method: 'HEAD' });
      // Servers of single-page apps answer every address with their page.
      if (response.ok) return !response.headers.get('Content-Type')?.startsWith('text/html');
      if ([403, 404, 410].includes(response.status)) return false;
      throw httpError(address(path), response);
    },
    open: async (path) => httpSource(address(path)),
  };
}

/** Reads a whole small file of a folder. */
export async function readBytes(folder: ReadableFolder, path: string): Promise<Uint8Array<ArrayBuffer>> {
  const source = await folder.open(path);
  try {
    return await source.read(0, source.size);
  } finally {
    await source.close();
  }
}

/** Reads a whole UTF-8 file of a folder, without a byte order mark. Throws `IO` when it is not UTF-8. */
export async function readText(folder: ReadableFolder, path: string): Promise<string> {
  const bytes = await readBytes(folder, path);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new SftError('IO', `${folder.name}/${path}: expected UTF-8 text`, { cause });
  }
}
