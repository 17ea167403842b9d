/**
 * What a model hub speaks over HTTP, with web standards alone: ids, addresses, requests that give up, and errors that say what to
 * do. `nodeHub.ts` keeps what it brings in the cache that Python has too; `browserHub.ts` reads from the hub itself.
 */
import { type ErrorCode, SftError } from './errors.ts';
import { httpSource } from './sources.ts';
import type { ReadableFolder, ReadableSource } from './types.ts';

/** Where models are looked for when nobody names another hub. */
export const PUBLIC_HUB = 'https://huggingface.co';

/** A repository at a revision: a branch, a tag or a commit. */
export interface HubRepo {
  readonly type: 'model' | 'dataset';
  /** `owner/name`. */
  readonly id: string;
  readonly revision: string;
}

/** Bytes of the files that are being brought. */
export interface HubProgress {
  /** The id of the repository. */
  readonly name: string;
  readonly loaded: number;
  readonly total: number;
}

export interface HubOptions {
  /** Null or left out: on Node `HF_ENDPOINT`, else the public hub. */
  readonly hubUrl?: string | null | undefined;
  /** Left out: on Node `HF_TOKEN`, or what `hf auth login` has stored. */
  readonly token?: string | undefined;
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The files of a repository at one commit. A file that is not on this machine is read from the hub, range by range. */
export interface HubFolder extends ReadableFolder {
  readonly commit: string;
  /** Said where the hub was not reached and an earlier look at the repository is used; else null. */
  readonly notice: string | null;
  /** Brings files whole, where they can be kept, so that they open without the hub from now on. */
  download(paths: readonly string[]): Promise<void>;
}

/** What the hub says of a repository. */
export interface HubListing {
  readonly commit: string;
  readonly paths: readonly string[];
}

/** What the hub says of a file. */
export interface HubFile {
  readonly path: string;
  /** Names the content: its SHA-256 for large files (LFS), else the object id of git. */
  readonly etag: string;
  /** Bytes; null where the hub does not say. */
  readonly size: number | null;
}

/** What the hub says of a file in its list. */
export interface HubContent {
  /** Bytes. */
  readonly size: number;
  /** 64 hexadecimal digits; null for small files, which have none. */
  readonly sha256: string | null;
}

/** The cause of an error of the hub: the part of its message after the name. */
export class HubFailure extends Error {
  /** Of the answer; null where there was none. */
  readonly status: number | null;

  constructor(reason: string, status: number | null, cause?: unknown) {
    super(reason, { cause });
    this.status = status;
  }
}

/** No answer, or one that broke off: worth another try. */
export class NoAnswer extends Error {}

/** How long is waited for an answer, and for more of it, in milliseconds. */
export interface HubPatience {
  readonly answer: number;
  readonly more: number;
}

export const PATIENCE: HubPatience = { answer: 10_000, more: 10_000 };

/** Answers that a later try may change, how often it is tried again, and after how long at most, in milliseconds. */
const BUSY: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);
const RETRIES = 3;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 20_000;

const MAX_REDIRECTS = 5;
/** The hub leaves files out of its short list above this number. */
const MAX_SHORT_LIST = 50_000;

/** A commit of git. */
export const COMMIT = /^[0-9a-f]{40}$/;

/** Whether a text can be the id of a repository with its owner, as the hub names them. */
export function isHubId(text: string): boolean {
  const part = /^[A-Za-z0-9_](?:[\w.-]*[\w])?$/;
  const parts = text.split('/');
  if (text.length > 96 || parts.length !== 2 || /--|\.\.|\.git$/.test(text)) return false;
  return parts.every((one) => part.test(one));
}

/** The address of a hub without a slash at its end. Throws `CONFIG`. */
export function hubAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url && /^https?:$/.test(url.protocol) && url.search === '' && url.hash === '') return text.replace(/\/+$/, '');
  throw new SftError(
    'CONFIG',
    `model.hub_url: expected an address such as ${PUBLIC_HUB}, got ${JSON.stringify(text)}`,
    {
      hint: 'correct model.hub_url or HF_ENDPOINT, or leave both out for the public hub',
    },
  );
}

/** An entry of the list that has pages, not yet checked. */
interface TreeFile {
  readonly path: string;
  readonly size: unknown;
  readonly lfs: unknown;
}

export class HubClient {
  /** `owner/name`, and `@revision` where it is not `main`. */
  readonly name: string;
  readonly #repo: HubRepo;
  readonly #url: string;
  readonly #token: string | null;
  readonly #patience: HubPatience;
  readonly #signal: AbortSignal | undefined;

  /** `url`: as `hubAddress` gives it. Throws `CONFIG` for a repository or revision that cannot be one. */
  constructor(
    repo: HubRepo,
    options: { url: string; token: string | null; patience?: HubPatience; signal?: AbortSignal | undefined },
  ) {
    const { id, revision } = repo;
    if (!isHubId(id)) {
      throw new SftError('CONFIG', `${JSON.stringify(id)}: expected the id of a hub, owner/name`, {
        hint: 'write it as the page of the repository does',
      });
    }
    if (!/^\w[\w.+/-]*$/.test(revision) || /\.\.|\/\/|\/\.|[/.]$/.test(revision)) {
      throw new SftError('CONFIG', `${id}: expected a branch, tag or commit, got ${JSON.stringify(revision)}`, {
        hint: 'correct the revision, or leave it out for main',
      });
    }
    this.name = revision === 'main' ? id : `${id}@${revision}`;
    this.#repo = repo;
    this.#url = options.url;
    this.#token = options.token;
    this.#patience = options.patience ?? PATIENCE;
    this.#signal = options.signal;
  }

  /** The same, ended by another signal. */
  with(signal: AbortSignal): HubClient {
    return new HubClient(this.#repo, { url: this.#url, token: this.#token, patience: this.#patience, signal });
  }

  /** The commit that the revision stands for now, and its files. */
  async lookUp(): Promise<HubListing> {
    const api = this.#api(`revision/${encodeURIComponent(this.#repo.revision)}`);
    const answer = (await this.#json(api)) as { sha?: unknown; siblings?: unknown } | null;
    const { sha, siblings } = answer ?? {};
    // It becomes the name of a folder.
    if (typeof sha !== 'string' || !/^\w{1,64}$/.test(sha)) throw this.#strange(api);
    if (!Array.isArray(siblings) || siblings.length >= MAX_SHORT_LIST)
      return { commit: sha, paths: (await this.#tree(sha)).map(({ path }) => path) };
    const paths = (siblings as { rfilename?: unknown }[]).map(({ rfilename }) => rfilename);
    if (!paths.every((path) => typeof path === 'string')) throw this.#strange(api);
    return { commit: sha, paths };
  }

  /** Sizes and checksums of all files. */
  async contents(commit: string): Promise<ReadonlyMap<string, HubContent>> {
    const entries = await this.#tree(commit);
    return new Map(
      entries.map(({ path, size, lfs }) => {
        const oid = (lfs as { oid?: unknown } | undefined)?.oid;
        if (!Number.isSafeInteger(size)) throw this.#strange(this.#api(`tree/${commit}`));
        return [
          path,
          { size: size as number, sha256: typeof oid === 'string' && /^[0-9a-f]{64}$/.test(oid) ? oid : null },
        ];
      }),
    );
  }

  /** Etag and size of a file. Only where redirects can be looked at, which a page may not. */
  async describe(path: string, commit: string): Promise<HubFile> {
    let url = this.address(path, commit);
    for (let hop = 0; ; hop += 1) {
      const init = { method: 'HEAD', redirect: 'manual', headers: { 'Accept-Encoding': 'identity' } } as const;
      const { status, headers } = await this.#request(url, path, init, [301, 302, 303, 307, 308]);
      const linked = headers.get('X-Linked-Etag');
      const location = headers.get('Location');
      if (status >= 300 && linked === null && location !== null && hop < MAX_REDIRECTS) {
        url = new URL(location, url).href;
        continue;
      }
      const etag = (linked ?? headers.get('ETag') ?? '').replace(/^W\//, '').replaceAll('"', '');
      // It becomes the name of a file.
      if (!/^\w[\w.+-]{0,199}$/.test(etag)) throw this.#strange(url);
      const size = headers.get('X-Linked-Size') ?? (status < 300 ? headers.get('Content-Length') : null);
      return { path, etag, size: size === null ? null : Number(size) };
    }
  }

  /**
   * The bytes of a file from `from` on. `start` is where they really begin: 0 from a server that knows no ranges. Throws `NoAnswer`, as
   * does reading the stream.
   */
  async read(
    path: string,
    commit: string,
    from: number,
  ): Promise<{ start: number; body: ReadableStream<Uint8Array<ArrayBuffer>> | null }> {
    const range = from > 0 ? { Range: `bytes=${from}-` } : {};
    const init = { headers: { 'Accept-Encoding': 'identity', ...range } };
    const { status, headers, body } = await this.#request(this.address(path, commit), path, init);
    const start = status === 206 ? Number(/^bytes (\d+)-/.exec(headers.get('Content-Range') ?? '')?.[1]) : 0;
    return { start: Number.isSafeInteger(start) ? start : from, body };
  }

  /** A file as a source that asks the hub for each range. */
  async open(path: string, commit: string): Promise<ReadableSource> {
    const url = this.address(path, commit);
    const source = await httpSource(url, (address, init) =>
      this.explain(path, () => this.#request(address, path, init, [416])),
    );
    return { ...source, name: `${this.#repo.id}/${path}` };
  }

  /** Where a file is. */
  address(path: string, commit: string): string {
    const { type, id } = this.#repo;
    const folder = `${this.#url}/${type === 'dataset' ? 'datasets/' : ''}${id}`;
    return `${folder}/resolve/${encodeURIComponent(commit)}/${path.split('/').map(encodeURIComponent).join('/')}`;
  }

  /** Makes the error of an answer that did not come. `path`: the file that was asked for, or null. */
  async explain<T>(path: string | null, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (cause) {
      this.#signal?.throwIfAborted();
      if (!(cause instanceof NoAnswer)) throw cause;
      throw this.#error('IO', path, `${this.#url} gave no answer (${cause.message})`, null, {
        hint: 'check the connection, and the address in model.hub_url or HF_ENDPOINT',
        cause,
      });
    }
  }

  #api(rest: string): string {
    return `${this.#url}/api/${this.#repo.type}s/${this.#repo.id}/${rest}`;
  }

  /** All files, from the list that has pages. */
  async #tree(commit: string): Promise<TreeFile[]> {
    const files: TreeFile[] = [];
    for (let url: string | null = this.#api(`tree/${commit}?recursive=true`); url !== null; ) {
      const response: Response = await this.explain(null, () => this.#request(url!, null));
      const entries = await this.#parse(url, response);
      if (!Array.isArray(entries)) throw this.#strange(url);
      for (const { type, path, size, lfs } of entries as Record<string, unknown>[]) {
        if (type === 'file' && typeof path === 'string') files.push({ path, size, lfs });
      }
      const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get('Link') ?? '')?.[1];
      const following: URL | null = next === undefined ? null : new URL(next, url);
      // The token goes along, so it has to be the same hub.
      if (following && following.origin !== new URL(url).origin) throw this.#strange(url);
      url = following?.href ?? null;
    }
    return files;
  }

  async #json(url: string): Promise<unknown> {
    return this.#parse(url, await this.explain(null, () => this.#request(url, null)));
  }

  async #parse(url: string, response: Response): Promise<unknown> {
    const text = await this.explain(null, () => response.text());
    try {
      return JSON.parse(text);
    } catch {
      throw this.#strange(url);
    }
  }

  /**
   * Sends a request, again where the hub is busy. Throws `NoAnswer`, and the error of an answer that is neither good nor `expected`.
   * Redirects to another server are followed without the token.
   */
  async #request(
    url: string,
    path: string | null,
    init: RequestInit = {},
    expected: readonly number[] = [],
  ): Promise<Response> {
    for (let attempt = 0; ; attempt += 1) {
      const response = await this.#ask(url, init);
      const { status, ok } = response;
      if (ok || expected.includes(status)) return response;
      await response.body?.cancel().catch(() => {});
      if (!BUSY.has(status)) throw this.#refused(path, response);
      const pause = pauseOf(response, attempt);
      if (attempt === RETRIES || pause > LONGEST_PAUSE) throw this.#busy(path, response, pause);
      await sleep(pause, this.#signal);
    }
  }

  async #ask(url: string, init: RequestInit): Promise<Response> {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, ...(this.#signal ? [this.#signal] : [])]);
    const { answer, more } = this.#patience;
    const timer = setTimeout(() => stop.abort(), answer);
    // A redirect that is followed by hand may lead to another server.
    const ours = this.#token !== null && url.startsWith(`${this.#url}/`);
    const headers = {
      ...(init.headers as Record<string, string>),
      ...(ours && { Authorization: `Bearer ${this.#token}` }),
    };
    try {
      const response = await fetch(url, { ...init, headers, signal });
      if (!response.body) return response;
      const { status, statusText, headers: received } = response;
      return new Response(watched(response.body, more, stop), { status, statusText, headers: received });
    } catch (cause) {
      this.#signal?.throwIfAborted();
      throw new NoAnswer(stop.signal.aborted ? silence(answer) : reasonOf(cause), { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  /** An error whose message begins with what was asked for. */
  #error(
    code: ErrorCode,
    path: string | null,
    reason: string,
    status: number | null,
    { hint, cause }: { hint: string; cause?: unknown },
  ): SftError {
    const where = path === null ? this.name : `${this.name}/${path}`;
    return new SftError(code, `${where}: ${reason}`, { hint, cause: new HubFailure(reason, status, cause) });
  }

  #refused(path: string | null, { status, statusText, headers }: Response): SftError {
    const { type, id, revision } = this.#repo;
    const wrong = type === 'model' ? 'MODEL' : 'DATA';
    const page = `${this.#url}/${type === 'dataset' ? 'datasets/' : ''}${id}`;
    const code = headers.get('X-Error-Code');
    const say = (reason: string, hint: string) => this.#error(wrong, path, `${reason} (${status})`, status, { hint });
    if (code === 'GatedRepo' || status === 403) {
      const who = this.#token === null ? 'nobody without a token' : 'nobody with this token';
      const hint = `open ${page} in a browser, log in and ask for access, then set HF_TOKEN to a token of that account`;
      return say(`${this.#url} lets ${who} have this ${type}`, hint);
    }
    if (status === 401 && this.#token === null) {
      const hint = `check the id; if it is right, log in at ${page} and set HF_TOKEN to a token of that account`;
      return say(`${this.#url} has no ${type} of that id, or it is private or gated`, hint);
    }
    if (status === 401) return say(`${this.#url} does not know this token`, `set HF_TOKEN to a token that is valid`);
    if (code === 'RevisionNotFound') {
      return say(
        `${this.#url} has no revision ${JSON.stringify(revision)} of it`,
        `choose a branch, tag or commit of ${page}`,
      );
    }
    if (status === 404 && path !== null) return say(`${this.#url} has no such file`, `look at what there is: ${page}`);
    if (status === 404)
      return say(`${this.#url} has no ${type} of that id`, 'check the id; a private one needs HF_TOKEN');
    const reason = `${this.#url} answered ${`${status} ${statusText}`.trim()}`;
    return this.#error('IO', path, reason, status, { hint: `look at ${page}` });
  }

  #busy(path: string | null, { status }: Response, pause: number): SftError {
    const meaning = status === 429 ? 'too many requests' : 'it has a problem of its own';
    const reason = `${this.#url} answered ${status} (${meaning})`;
    const minutes = Math.ceil(pause / 60_000);
    const when = pause > LONGEST_PAUSE ? `in ${minutes} minute${minutes === 1 ? '' : 's'}` : 'later';
    const more = status === 429 && this.#token === null ? '; with HF_TOKEN set, more requests are allowed' : '';
    return this.#error('IO', path, reason, status, { hint: `try again ${when}${more}` });
  }

  #strange(url: string): SftError {
    return this.#error('IO', null, `expected the answer of a model hub at ${url}, got something else`, null, {
      hint: 'check the address of the hub in model.hub_url or HF_ENDPOINT',
    });
  }
}

/** The same bytes; when none come for `patience` milliseconds, `stop` ends the request. Reading throws `NoAnswer`. */
function watched(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  patience: number,
  stop: AbortController,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader();
  return new ReadableStream(
    {
      async pull(out) {
        const timer = setTimeout(() => stop.abort(), patience);
        try {
          const { done, value } = await reader.read();
          if (done) out.close();
          else out.enqueue(value);
        } catch (cause) {
          throw new NoAnswer(stop.signal.aborted ? silence(patience) : reasonOf(cause), { cause });
        } finally {
          clearTimeout(timer);
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

function silence(patience: number): string {
  return `nothing came for ${patience / 1000} s`;
}

/** What `fetch` has to say: the reason is in the cause. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as Error;
  const { code, message: inner } = (cause ?? {}) as { code?: string; message?: string };
  return code ?? inner ?? message;
}

/** Milliseconds until the next try: what the server asks for, else twice as long each time. */
function pauseOf({ headers }: Response, attempt: number): number {
  const wanted = headers.get('Retry-After');
  const seconds = wanted === null ? Number.NaN : Number(wanted);
  const asked = Number.isNaN(seconds) ? Date.parse(wanted ?? '') - Date.now() : seconds * 1000;
  return Number.isNaN(asked) ? FIRST_PAUSE * 2 ** attempt : Math.max(0, asked);
}

export async function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/** Calls `work` for each item, a few at a time. A failure ends all: those that are begun are waited for, and the first item's is told. */
export async function inParallel<T, R>(items: readonly T[], most: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const failures: { index: number; error: unknown }[] = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length && failures.length === 0) {
      const index = next++;
      try {
        results[index] = await work(items[index]!);
      } catch (error) {
        failures.push({ index, error });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, worker));
  const [first] = failures.sort((a, b) => a.index - b.index);
  if (first) throw first.error;
  return results;
}
