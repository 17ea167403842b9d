/** The files of a model where it comes from: a web server, a hub, or a folder that the person chose. */
import { SftError } from '../platform/errors.ts';
import { HubClient } from '../platform/hub.ts';
import { hubAddress, PUBLIC_HUB } from '../platform/hubConnection.ts';
import type { ModelSource } from './api.ts';

/** A file from `from` on. */
export interface Part {
  readonly from: number;
  /** Bytes of the whole file; null where nobody says. */
  readonly total: number | null;
  /** What changes when the file does. */
  readonly version: string | null;
  readonly stream: ReadableStream<Uint8Array>;
  /** Of the whole file, 64 hexadecimal digits; null where nobody says. */
  readonly sha256: string | null;
}

/** Where the files of a model are. */
export interface ModelOrigin {
  /** What changes when any file does; null where only each file has a version. */
  readonly version: string | null;
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
    version: null,
    async open(path, wanted, before) {
      const file = byPath.get(path);
      if (!file) return null;
      const version = `${file.size} ${file.lastModified}`;
      const from = version === before ? Math.min(wanted, file.size) : 0;
      return { from, total: file.size, version, stream: file.slice(from).stream(), sha256: null };
    },
  };
}

/**
 * A folder on a web server. It cannot be listed: files are asked for by their names. A part is asked for with Range alone and its
 * version compared here: `If-Range` would make browsers ask other origins for leave first, which many do not give.
 */
export function webFolder(url: string): ModelOrigin {
  const base = url.endsWith('/') ? url : `${url}/`;
  return {
    version: null,
    async open(path, from, version, signal) {
      const address = base + path.split('/').map(encodeURIComponent).join('/');
      if (from > 0 && version !== null) {
        const part = await request(address, { Range: `bytes=${from}-` }, signal);
        if (part.status === 206 && versionOf(part, from) === version) return partOf(address, part, from);
        await part.body?.cancel();
      }
      const whole = await request(address, {}, signal);
      // Servers of single-page apps answer every address with their page.
      const isPage = whole.headers.get('Content-Type')?.startsWith('text/html');
      if (whole.ok && !isPage) return partOf(address, whole, 0);
      await whole.body?.cancel();
      if (isPage || [403, 404, 410].includes(whole.status)) return null;
      const answer = `${whole.status} ${whole.statusText}`.trimEnd();
      throw new SftError('IO', `${address}: expected the file, the server answered ${answer}`);
    },
  };
}

/** A repository of a hub at the commit that its revision stands for now. Throws `MODEL`, `IO`, `CONFIG`. */
export async function hubRepository(
  { id, revision = 'main', hubUrl, token }: Extract<ModelSource, { kind: 'hub' }>,
  signal?: AbortSignal,
): Promise<ModelOrigin> {
  const url = hubAddress(hubUrl ?? PUBLIC_HUB);
  const client = new HubClient({ type: 'model', id, revision }, { url, token: token ?? null, signal });
  const { commit } = await client.lookUp();
  const contents = await client.contents(commit);
  return {
    version: commit,
    async open(path, wanted, version) {
      const file = contents.get(path);
      if (!file) return null;
      const from = version === commit ? Math.min(wanted, file.size) : 0;
      const whole = { total: file.size, version: commit, sha256: file.sha256 };
      // Nothing is left to ask for.
      if (from === file.size) return { ...whole, from, stream: new Blob([]).stream() };
      const { start, body } = await client.explain(path, () => client.read(path, commit, from));
      return { ...whole, from: start, stream: body ?? new Blob([]).stream() };
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
  return {
    from,
    total: totalOf(response, from),
    version: versionOf(response, from),
    stream: response.body,
    sha256: null,
  };
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
