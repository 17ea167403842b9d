/** The files of a model where it comes from: a web server, or a folder that the person chose. */
import { SftError } from '../platform/errors.ts';

/** A file from `from` on. */
export interface Part {
  readonly from: number;
  /** Bytes of the whole file; null where nobody says. */
  readonly total: number | null;
  /** What changes when the file does. */
  readonly version: string | null;
  readonly stream: ReadableStream<Uint8Array>;
}

/** Where the files of a model are. */
export interface ModelOrigin {
  /**
   * Opens a file: from `from` on when its version is still `version`, else from its beginning. Null when there is none of that
   * name. Throws `IO`.
   */
  open(path: string, from: number, version: string | null, signal?: AbortSignal): Promise<Part | null>;
}

/** Files that the person chose. The name of a chosen folder is not part of their paths. */
export function chosenFiles(files: readonly File[]): ModelOrigin {
  const byPath = new Map(
    files.map((file) => [file.webkitRelativePath.split('/').slice(1).join('/') || file.name, file]),
  );
  return {
    async open(path, wanted, before) {
      const file = byPath.get(path);
      if (!file) return null;
      const version = `${file.size} ${file.lastModified}`;
      const from = version === before ? Math.min(wanted, file.size) : 0;
      return { from, total: file.size, version, stream: file.slice(from).stream() };
    },
  };
}

/** A folder on a web server. It cannot be listed: files are asked for by their names. */
export function webFolder(url: string, headers: Readonly<Record<string, string>> = {}): ModelOrigin {
  const base = url.endsWith('/') ? url : `${url}/`;
  return webFiles((path) => base + path.split('/').map(encodeURIComponent).join('/'), headers);
}

/**
 * Files on web servers. A part is asked for with Range alone and its version compared here: `If-Range` would make browsers ask
 * other origins for leave first, which many do not give.
 */
export function webFiles(
  address: (path: string) => string,
  headers: Readonly<Record<string, string>> = {},
): ModelOrigin {
  return {
    async open(path, from, version, signal) {
      const url = address(path);
      const get = (range: Readonly<Record<string, string>>) => request(url, { ...headers, ...range }, signal);
      if (from > 0 && version !== null) {
        const part = await get({ Range: `bytes=${from}-` });
        if (part.status === 206 && versionOf(part, from) === version) return partOf(url, part, from);
        await part.body?.cancel();
      }
      const whole = await get({});
      // Servers of single-page apps answer every address with their page.
      const isPage = whole.headers.get('Content-Type')?.startsWith('text/html');
      if (whole.ok && !isPage) return partOf(url, whole, 0);
      await whole.body?.cancel();
      if (isPage || [403, 404, 410].includes(whole.status)) return null;
      throw new SftError(
        'IO',
        `${url}: expected the file, the server answered ${whole.status} ${whole.statusText}`.trimEnd(),
      );
    },
  };
}

async function request(url: string, headers: Record<string, string>, signal?: AbortSignal): Promise<Response> {
  try {
    // The storage of the page is where the file goes; another copy in the browser's cache would be for nothing.
    return await fetch(url, { headers, cache: 'no-store', ...(signal && { signal }) });
  } catch (cause) {
    signal?.throwIfAborted();
    throw new SftError('IO', `${url}: no answer from the server`, {
      hint: 'check the address and the connection; the server must also allow cross-origin requests (CORS)',
      cause,
    });
  }
}

function partOf(url: string, response: Response, from: number): Part {
  if (!response.body) throw new SftError('IO', `${url}: expected the file, the server answered with nothing`);
  return { from, total: totalOf(response, from), version: versionOf(response, from), stream: response.body };
}

/** Bytes of the whole file, where the body is sent as it is. */
function totalOf({ headers }: Response, from: number): number | null {
  const length = headers.get('Content-Length');
  return length === null || headers.get('Content-Encoding') !== null ? null : from + Number(length);
}

/** Servers of another origin may hide the entity tag; length and date they may not. */
function versionOf(response: Response, from: number): string | null {
  const tag = response.headers.get('ETag') ?? response.headers.get('Last-Modified');
  const total = totalOf(response, from);
  return tag === null && total === null ? null : `${tag} ${total}`;
}
