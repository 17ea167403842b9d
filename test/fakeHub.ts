/**
 * A model hub on loopback that speaks what the real one speaks: the API of repositories, `resolve` addresses with etags and redirects, a
 * content network at another address for large files (LFS), ranges, gated and private repositories. What goes wrong is up to the test.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { FakeWriting, READ_TOKEN } from './fakeHubWriting.ts';

export interface FakeRepo {
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  /** Branches and tags, and the commits they stand for; `main` is there unless told otherwise. */
  readonly revisions?: Readonly<Record<string, string>>;
  /** Files only with a token; `private` hides the repository as well. */
  readonly access?: 'public' | 'gated' | 'private';
  /** The front matter of its README, as the hub has read it. */
  readonly card?: Readonly<Record<string, unknown>>;
  /** Leaves the files out of what the API says of a repository, so that they have to be asked for page by page. */
  readonly paged?: boolean;
}

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

/** The token that the hub lets in. */
export const TOKEN = 'hf_letMeIn';

/** A request as tests look at it. */
export interface Asked {
  readonly method: string;
  /** With the query; of the content network it begins with `/cdn/`. */
  readonly path: string;
  readonly range: string | undefined;
  readonly token: string | undefined;
}

/** Instead of the answer: a status, silence, another body, or one that breaks off, or stops, after so many bytes. */
export type Fault =
  | number
  | 'hang'
  | { readonly body: string | Uint8Array }
  | { readonly breakAfter: number }
  | { readonly stopAfter: number };

export class FakeHub {
  /** All requests so far. */
  readonly asked: Asked[] = [];
  /** Decides about each request. */
  fault: (asked: Asked) => Fault | undefined = () => undefined;
  /** Headers of answers that are faults. */
  faultHeaders: Readonly<Record<string, string>> = {};
  url = '';
  readonly #repos = new Map<string, FakeRepo>();
  /** Content by SHA-256. */
  readonly #large = new Map<string, Buffer>();
  readonly #servers: Server[] = [];
  #cdn = '';
  /** What was written to it. */
  readonly writing = new FakeWriting(() => ({ repos: this.#repos, large: this.#large, url: this.url, cdn: this.#cdn }));

  static async start(): Promise<FakeHub> {
    const hub = new FakeHub();
    hub.url = await hub.#listen((request, response) => hub.#hub(request, response));
    hub.#cdn = await hub.#listen((request, response) => hub.#content(request, response));
    return hub;
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  add(type: 'model' | 'dataset', id: string, repo: FakeRepo): void {
    this.#repos.set(`${type}s/${id}`, repo);
    for (const [path, content] of Object.entries(repo.files)) {
      if (isLarge(path)) this.#large.set(sha256(content), toBytes(content));
    }
  }

  /** Adds the files of a folder on disk. */
  addFolder(type: 'model' | 'dataset', id: string, folder: string, repo: Omit<FakeRepo, 'files'> = {}): void {
    const names = readdirSync(folder);
    this.add(type, id, {
      ...repo,
      files: Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name))])),
    });
  }

  /** The files of a repository. */
  filesOf(id: string): FakeRepo['files'] {
    return this.#repos.get(`models/${id}`)?.files ?? {};
  }

  /** Forgets the requests and the faults. */
  reset(): void {
    this.asked.length = 0;
    this.fault = () => undefined;
    this.faultHeaders = {};
  }

  async #listen(handle: (request: IncomingMessage, response: ServerResponse) => unknown): Promise<string> {
    const server = createServer((request, response) => {
      response.setHeader('Access-Control-Allow-Origin', '*');
      response.setHeader('Access-Control-Expose-Headers', 'Content-Range, Link, X-Error-Code, X-Repo-Commit');
      handle(request, response);
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** Notes a request and does what the test wants to go wrong; true where that was the answer. */
  #isFaulty(request: IncomingMessage, response: ServerResponse): boolean {
    const token = request.headers.authorization?.replace(/^Bearer /, '');
    const asked = { method: request.method!, path: request.url!, range: request.headers.range, token };
    this.asked.push(asked);
    const fault = this.fault(asked);
    if (fault === undefined) return false;
    if (typeof fault === 'number') response.writeHead(fault, this.faultHeaders).end();
    else if (fault !== 'hang' && 'body' in fault) response.end(fault.body);
    else if (fault !== 'hang') {
      const most = 'breakAfter' in fault ? fault.breakAfter : fault.stopAfter;
      const write = response.write.bind(response);
      response.end = ((body: Uint8Array) => {
        write(body.subarray(0, most), () => {
          // Not `destroy`, which takes back what the other side has not read.
          if ('breakAfter' in fault) response.socket?.end();
        });
        return response;
      }) as typeof response.end;
      return false;
    }
    return true;
  }

  #hub(request: IncomingMessage, response: ServerResponse): unknown {
    if (this.#isFaulty(request, response)) return undefined;
    if (request.method === 'POST') return this.writing.hub(request, response);
    const { pathname } = new URL(request.url!, this.url);
    const token = request.headers.authorization?.replace(/^Bearer /, '');
    const refuse = (status: number, code?: string) =>
      response.writeHead(status, code === undefined ? {} : { 'X-Error-Code': code }).end();

    const api = /^\/api\/(?<kind>models|datasets)\/(?<id>[^/]+\/[^/]+)\/(?<what>revision|tree)\/(?<revision>[^/]+)$/;
    const whole = /^\/api\/(?<kind>models|datasets)\/(?<id>[^/]+\/[^/]+)$/;
    const file = /^\/(?:(?<kind>datasets)\/)?(?<id>[^/]+\/[^/]+)\/resolve\/(?<revision>[^/]+)\/(?<path>.+)$/;
    const cached =
      /^\/api\/resolve-cache\/(?<kind>models|datasets)\/(?<id>[^/]+\/[^/]+)\/(?<revision>[^/]+)\/(?<path>.+)$/;
    const match = whole.exec(pathname) ?? api.exec(pathname) ?? cached.exec(pathname) ?? file.exec(pathname);
    const {
      kind = 'models',
      id = '',
      what = 'revision',
      revision: encoded = 'main',
      path: place,
    } = match?.groups ?? {};
    const repo = this.#repos.get(`${kind}/${id}`);
    if (token !== undefined && token !== TOKEN && token !== READ_TOKEN) return refuse(401);
    // To strangers the hub does not say whether something is hidden or missing.
    if (!repo || (repo.access === 'private' && token !== TOKEN)) {
      return refuse(token === undefined ? 401 : 404, 'RepoNotFound');
    }
    const revisions = repo.revisions ?? { main: COMMIT };
    const revision = decodeURIComponent(encoded);
    const commit = revisions[revision] ?? (Object.values(revisions).includes(revision) ? revision : undefined);
    if (commit === undefined) return refuse(404, 'RevisionNotFound');
    if (place === undefined) return this.#api(response, repo, { kind, id, what, commit, url: request.url! });

    if (repo.access === 'gated' && token !== TOKEN) return refuse(token === undefined ? 401 : 403, 'GatedRepo');
    const path = decodeURIComponent(place);
    const content = Object.hasOwn(repo.files, path) ? repo.files[path] : undefined;
    if (content === undefined) return refuse(404, 'EntryNotFound');
    response.setHeader('X-Repo-Commit', commit);
    if (isLarge(path)) {
      const sha = sha256(content);
      const linked = {
        'X-Linked-Etag': `"${sha}"`,
        'X-Linked-Size': toBytes(content).length,
        ETag: '"of-the-redirect"',
      };
      response.writeHead(302, { ...linked, Location: `${this.#cdn}/cdn/${sha}` }).end();
    } else if (!cached.test(pathname)) {
      const location = `/api/resolve-cache/${kind}/${id}/${commit}/${encodeURIComponent(path)}`;
      response.writeHead(307, { Location: location }).end();
    } else {
      response.setHeader('ETag', `W/"${gitObject(content)}"`);
      send(request, response, toBytes(content));
    }
    return undefined;
  }

  #api(
    response: ServerResponse,
    repo: FakeRepo,
    { kind, id, what, commit, url }: Readonly<Record<'kind' | 'id' | 'what' | 'commit' | 'url', string>>,
  ): void {
    const paths = Object.keys(repo.files);
    response.setHeader('Content-Type', 'application/json');
    if (what === 'revision') {
      const siblings = paths.map((rfilename) => ({ rfilename }));
      const { access = 'public' } = repo;
      const flags = { private: access === 'private', gated: access === 'gated' ? 'auto' : false };
      response.end(
        Buffer.from(
          JSON.stringify({ id, sha: commit, cardData: repo.card, ...flags, ...(!repo.paged && { siblings }) }),
        ),
      );
      return;
    }
    const cursor = Number(new URL(url, this.url).searchParams.get('cursor') ?? 0);
    if (cursor + 2 < paths.length) {
      const next = `${this.url}/api/${kind}/${id}/tree/${commit}?recursive=true&cursor=${cursor + 2}`;
      response.setHeader('Link', `<${next}>; rel="next"`);
    }
    const page = paths.slice(cursor, cursor + 2).map((path) => {
      const content = repo.files[path]!;
      const size = toBytes(content).length;
      const lfs = isLarge(path) && { lfs: { oid: sha256(content), size, pointerSize: 130 } };
      return { type: 'file', path, oid: gitObject(content), size, ...lfs };
    });
    response.end(
      Buffer.from(JSON.stringify([{ type: 'directory', path: 'folder', oid: gitObject(''), size: 0 }, ...page])),
    );
  }

  #content(request: IncomingMessage, response: ServerResponse): void {
    if (this.#isFaulty(request, response)) return;
    if (request.method === 'PUT') return void this.writing.content(request, response);
    const content = this.#large.get(request.url!.replace('/cdn/', ''));
    if (content) send(request, response, content);
    else response.writeHead(404).end();
  }
}

/** What the hub keeps as LFS. */
export const isLarge = (path: string) => /\.(safetensors|parquet|bin)$/.test(path);

const toBytes = (content: string | Uint8Array) => Buffer.from(content as Uint8Array);
const sha256 = (content: string | Uint8Array) => createHash('sha256').update(content).digest('hex');

export function gitObject(content: string | Uint8Array): string {
  const bytes = toBytes(content);
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

function send(request: IncomingMessage, response: ServerResponse, content: Buffer): void {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  if (first === undefined) {
    response.writeHead(200, { 'Content-Length': content.length, 'Accept-Ranges': 'bytes' });
    response.end(request.method === 'HEAD' ? Buffer.alloc(0) : content);
    return;
  }
  if (Number(first) >= content.length) {
    response.writeHead(416, { 'Content-Range': `bytes */${content.length}` }).end(Buffer.alloc(0));
    return;
  }
  const part = content.subarray(Number(first), last === '' ? content.length : Number(last) + 1);
  const range = `bytes ${first}-${Number(first) + part.length - 1}/${content.length}`;
  response.writeHead(206, { 'Content-Range': range, 'Content-Length': part.length }).end(part);
}
