/** What the hub on loopback speaks to those who write: repositories made, files asked about, contents taken in one or several parts, commits. */
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { type FakeRepo, gitObject, isLarge, TOKEN } from './fakeHub.ts';

/** A token that reads and does not write. */
export const READ_TOKEN = 'hf_lookOnly';

/** Bytes of a part; smaller files are taken whole. */
const PART = 100_000;

interface Store {
  readonly repos: Map<string, FakeRepo>;
  /** Content by SHA-256. */
  readonly large: Map<string, Buffer>;
  readonly url: string;
  readonly cdn: string;
}

export interface FakeCommit {
  readonly id: string;
  readonly summary: string;
  readonly paths: readonly string[];
}

export class FakeWriting {
  readonly commits: FakeCommit[] = [];
  /** What was asked for when a repository was made. */
  readonly made: Readonly<Record<string, unknown>>[] = [];
  readonly #parts = new Map<string, Buffer>();
  readonly #store: () => Store;

  constructor(store: () => Store) {
    this.#store = store;
  }

  /** Answers of the hub itself. */
  async hub(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const { pathname, searchParams } = new URL(request.url!, 'http://hub');
    const body = (await buffer(request)).toString();
    const token = request.headers.authorization?.replace(/^Bearer /, '');
    const say = (status: number, value: object) => response.writeHead(status).end(Buffer.from(JSON.stringify(value)));
    const json = () => JSON.parse(body) as Record<string, unknown>;
    // Its address is signed.
    if (pathname === '/complete' && token === undefined) return this.#complete(searchParams.get('oid')!, json(), say);
    if (token !== TOKEN && token !== READ_TOKEN)
      return say(401, { error: 'Invalid credentials in Authorization header' });
    if (token === READ_TOKEN) return say(403, { error: 'This token has no write access' });
    if (pathname === '/api/repos/create') return this.#create(json(), say);
    if (pathname === '/api/validate-yaml') return say(200, { errors: [], warnings: [] });
    if (pathname === '/verify') return say(this.#store().large.has(json().oid as string) ? 200 : 404, {});
    const [, id, action] =
      /^\/api\/models\/([^/]+\/[^/]+)\/(preupload|commit)\/main$/.exec(pathname) ??
      /^\/([^/]+\/[^/]+?)\.git\/info\/lfs\/objects\/(batch)$/.exec(pathname) ??
      [];
    const repo = this.#store().repos.get(`models/${id}`);
    if (!id || !repo) return say(404, { error: 'Repository not found' });
    if (action === 'preupload')
      return say(200, { files: (json().files as { path: string }[]).map(({ path }) => planned(repo, path)) });
    if (action === 'batch')
      return say(200, { transfer: 'multipart', objects: this.#batch(json().objects as FakeObject[]) });
    return this.#commit(id, repo, body, say);
  }

  /** Answers of the network that keeps contents, which sees no token. */
  async content(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const bytes = await buffer(request);
    const [, oid = '', part] = /^\/cdn\/upload\/(\w+)(?:\/(\d+))?$/.exec(request.url!) ?? [];
    const { authorization, 'content-length': length } = request.headers;
    if (authorization !== undefined || Number(length) !== bytes.length) return response.writeHead(400).end();
    if (part === undefined && sha256(bytes) === oid) this.#store().large.set(oid, bytes);
    else if (part !== undefined) this.#parts.set(`${oid}/${part}`, bytes);
    else return response.writeHead(400).end();
    return response.writeHead(200, { ETag: `"${sha256(bytes)}"` }).end();
  }

  #create(asked: Record<string, unknown>, say: (status: number, value: object) => unknown): unknown {
    const { organization, name } = asked;
    const key = `models/${organization}/${name}`;
    const { repos } = this.#store();
    if (organization === 'strangers')
      return say(403, { error: "You don't have the rights to create a model under it" });
    const url = `${this.#store().url}/${organization}/${name}`;
    if (repos.has(key)) return say(409, { error: 'You already created this model repo', url });
    this.made.push(asked);
    repos.set(key, { files: {}, access: asked.visibility === 'private' ? 'private' : 'public' });
    return say(200, { url });
  }

  #batch(objects: readonly FakeObject[]): object[] {
    const { large, url, cdn } = this.#store();
    return objects.map(({ oid, size }) => {
      if (large.has(oid)) return { oid, size };
      const verify = { href: `${url}/verify` };
      if (size <= PART) return { oid, size, actions: { verify, upload: { href: `${cdn}/cdn/upload/${oid}` } } };
      const header: Record<string, string> = { chunk_size: String(PART) };
      for (let part = 1; (part - 1) * PART < size; part += 1) {
        header[String(part).padStart(5, '0')] = `${cdn}/cdn/upload/${oid}/${part}`;
      }
      return { oid, size, actions: { verify, upload: { href: `${url}/complete?oid=${oid}`, header } } };
    });
  }

  #complete(oid: string, asked: Record<string, unknown>, say: (status: number, value: object) => unknown): unknown {
    const parts = (asked.parts as { partNumber: number; etag: string }[]).map(({ partNumber, etag }) => {
      const bytes = this.#parts.get(`${oid}/${partNumber}`);
      return bytes && etag === `"${sha256(bytes)}"` ? bytes : Buffer.of();
    });
    const whole = Buffer.concat(parts);
    if (sha256(whole) !== oid) return say(400, { error: 'The parts are not the content' });
    this.#store().large.set(oid, whole);
    return say(200, {});
  }

  #commit(id: string, repo: FakeRepo, body: string, say: (status: number, value: object) => unknown): unknown {
    const [header, ...lines] = body
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { key: string; value: Record<string, string> });
    const files: Record<string, Uint8Array> = {};
    for (const { key, value } of lines) {
      const { path = '', content = '', oid = '' } = value;
      if (key === 'file') files[path] = Buffer.from(content, 'base64');
      else {
        const large = this.#store().large.get(oid);
        if (!large) return say(400, { error: `${path} was not sent` });
        files[path] = large;
      }
    }
    if (/^base_model: "?[./]/m.test(String(files['README.md'] ?? ''))) {
      return say(400, { error: 'Invalid metadata in README.md: "base_model" is no model id' });
    }
    const commit = sha256(Buffer.from(body + this.commits.length)).slice(0, 40);
    this.commits.push({ id, summary: header!.value.summary!, paths: Object.keys(files) });
    this.#store().repos.set(`models/${id}`, {
      ...repo,
      files: { ...repo.files, ...files },
      revisions: { main: commit },
    });
    return say(200, { success: true, commitOid: commit, commitUrl: `${this.#store().url}/${id}/commit/${commit}` });
  }
}

interface FakeObject {
  readonly oid: string;
  readonly size: number;
}

/** How a file is to be sent, and what is there at its path. */
function planned({ files }: FakeRepo, path: string): object {
  const content = Object.hasOwn(files, path) ? Buffer.from(files[path] as Uint8Array) : null;
  const oid = content && (isLarge(path) ? sha256(content) : gitObject(content));
  return { path, uploadMode: isLarge(path) ? 'lfs' : 'regular', shouldIgnore: false, ...(oid && { oid }) };
}

const sha256 = (content: Uint8Array) => createHash('sha256').update(content).digest('hex');
