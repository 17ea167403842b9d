/** What all requests to a model hub share: ids and addresses, requests that give up, and errors that say what to do. */
import { type ErrorCode, SftError } from './errors.ts';

/** Where models are looked for when nobody names another hub. */
export const PUBLIC_HUB = 'https://huggingface.co';

/** A repository at a revision: a branch, a tag or a commit. */
export interface HubRepo {
  readonly type: 'model' | 'dataset';
  /** `owner/name`. */
  readonly id: string;
  readonly revision: string;
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
export const BUSY: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);
export const RETRIES = 3;
export const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 20_000;

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

export interface ConnectionOptions {
  /** As `hubAddress` gives it. */
  readonly url: string;
  readonly token: string | null;
  readonly patience?: HubPatience;
  readonly signal?: AbortSignal | undefined;
}

/** A request; with a body that takes long, a function that makes it anew for each try and is told what to call while it goes on. */
export type Sending = RequestInit | ((goesOn: () => void) => RequestInit);

export class HubConnection {
  /** `owner/name`, and `@revision` where it is not `main`. */
  readonly name: string;
  readonly repo: HubRepo;
  /** Where a person looks at the repository. */
  readonly page: string;
  protected readonly url: string;
  protected readonly token: string | null;
  protected readonly patience: HubPatience;
  protected readonly signal: AbortSignal | undefined;

  /** Throws `CONFIG` for a repository or revision that cannot be one. */
  constructor(repo: HubRepo, options: ConnectionOptions) {
    const { type, id, revision } = repo;
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
    this.repo = repo;
    this.page = `${options.url}/${type === 'dataset' ? 'datasets/' : ''}${id}`;
    this.url = options.url;
    this.token = options.token;
    this.patience = options.patience ?? PATIENCE;
    this.signal = options.signal;
  }

  /** Makes the error of an answer that did not come. `path`: the file that was asked for, or null. */
  async explain<T>(path: string | null, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (cause) {
      this.signal?.throwIfAborted();
      if (!(cause instanceof NoAnswer)) throw cause;
      throw this.error('IO', path, `${this.url} gave no answer (${cause.message})`, null, {
        hint: 'check the connection, and the address in model.hub_url or HF_ENDPOINT',
        cause,
      });
    }
  }

  /** Where programs ask of the repository, or of something in it. */
  protected api(rest: string): string {
    return `${this.url}/api/${this.repo.type}s/${this.repo.id}${rest === '' ? '' : `/${rest}`}`;
  }

  protected async json(url: string): Promise<unknown> {
    return this.parse(url, await this.explain(null, () => this.request(url, null)));
  }

  protected async parse(url: string, response: Response): Promise<unknown> {
    const text = await this.explain(null, () => response.text());
    try {
      return JSON.parse(text);
    } catch {
      throw this.strange(url);
    }
  }

  /**
   * Sends a request, again where the hub is busy. Throws `NoAnswer`, and the error of an answer that is neither good nor `expected`.
   * Redirects to another server are followed without the token.
   */
  protected async request(
    url: string,
    path: string | null,
    init: Sending = {},
    expected: readonly number[] = [],
    retries = RETRIES,
  ): Promise<Response> {
    for (let attempt = 0; ; attempt += 1) {
      const response = await this.ask(url, init);
      const { status, ok } = response;
      if (ok || expected.includes(status)) return response;
      const said = await messageOf(response);
      if (!BUSY.has(status)) throw this.refused(path, response, said);
      const pause = pauseOf(response, attempt);
      if (attempt === retries || pause > LONGEST_PAUSE) throw this.busy(path, response, pause);
      await sleep(pause, this.signal);
    }
  }

  private async ask(url: string, init: Sending): Promise<Response> {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, ...(this.signal ? [this.signal] : [])]);
    const { answer, more } = this.patience;
    let timer = setTimeout(() => stop.abort(), answer);
    const goesOn = () => {
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), answer);
    };
    const sent = typeof init === 'function' ? init(goesOn) : init;
    // A redirect that is followed by hand may lead to another server.
    const ours = this.token !== null && url.startsWith(`${this.url}/`);
    const headers = {
      ...(sent.headers as Record<string, string>),
      ...(ours && { Authorization: `Bearer ${this.token}` }),
    };
    try {
      const response = await fetch(url, { ...sent, headers, signal });
      if (!response.body) return response;
      const { status, statusText, headers: received } = response;
      return new Response(watched(response.body, more, stop), { status, statusText, headers: received });
    } catch (cause) {
      this.signal?.throwIfAborted();
      throw new NoAnswer(stop.signal.aborted ? silence(answer) : reasonOf(cause), { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  /** An error whose message begins with what was asked for. */
  protected error(
    code: ErrorCode,
    path: string | null,
    reason: string,
    status: number | null,
    { hint, cause }: { hint: string; cause?: unknown },
  ): SftError {
    const where = path === null ? this.name : `${this.name}/${path}`;
    return new SftError(code, `${where}: ${reason}`, { hint, cause: new HubFailure(reason, status, cause) });
  }

  /** The error of an answer that another try would not change. `said`: what the hub says of it, or null. */
  protected refused(path: string | null, { status, statusText, headers }: Response, said: string | null): SftError {
    const { type, revision } = this.repo;
    const wrong = type === 'model' ? 'MODEL' : 'DATA';
    const code = headers.get('X-Error-Code');
    const say = (reason: string, hint: string) => this.error(wrong, path, `${reason} (${status})`, status, { hint });
    if (code === 'GatedRepo' || status === 403) {
      const who = this.token === null ? 'nobody without a token' : 'nobody with this token';
      const hint = `open ${this.page} in a browser, log in and ask for access, then set HF_TOKEN to a token of that account`;
      return say(`${this.url} lets ${who} have this ${type}`, hint);
    }
    if (status === 401 && this.token === null) {
      const hint = `check the id; if it is right, log in at ${this.page} and set HF_TOKEN to a token of that account`;
      return say(`${this.url} has no ${type} of that id, or it is private or gated`, hint);
    }
    if (status === 401) return say(`${this.url} does not know this token`, `set HF_TOKEN to a token that is valid`);
    if (code === 'RevisionNotFound') {
      return say(
        `${this.url} has no revision ${JSON.stringify(revision)} of it`,
        `choose a branch, tag or commit of ${this.page}`,
      );
    }
    if (status === 404 && path !== null)
      return say(`${this.url} has no such file`, `look at what there is: ${this.page}`);
    if (status === 404)
      return say(`${this.url} has no ${type} of that id`, 'check the id; a private one needs HF_TOKEN');
    const reason = `${this.url} answered ${`${status} ${said ?? statusText}`.trim()}`;
    return this.error('IO', path, reason, status, { hint: `look at ${this.page}` });
  }

  private busy(path: string | null, { status }: Response, pause: number): SftError {
    const meaning = status === 429 ? 'too many requests' : 'it has a problem of its own';
    const reason = `${this.url} answered ${status} (${meaning})`;
    const minutes = Math.ceil(pause / 60_000);
    const when = pause > LONGEST_PAUSE ? `in ${minutes} minute${minutes === 1 ? '' : 's'}` : 'later';
    const more = status === 429 && this.token === null ? '; with HF_TOKEN set, more requests are allowed' : '';
    return this.error('IO', path, reason, status, { hint: `try again ${when}${more}` });
  }

  protected strange(url: string): SftError {
    return this.error('IO', null, `expected the answer of a model hub at ${url}, got something else`, null, {
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

/** What the hub says of an answer that is not good, in one line. */
async function messageOf(response: Response): Promise<string | null> {
  const text = await response.text().catch(() => '');
  let said: unknown = response.headers.get('X-Error-Message');
  try {
    said ??= (JSON.parse(text) as { error?: unknown }).error;
  } catch {} // such as the page of a proxy
  return typeof said === 'string' ? said.replaceAll(/\s+/g, ' ').trim().slice(0, 300) || null : null;
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
