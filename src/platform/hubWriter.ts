/**
 * Writing to a model hub: small files travel in the commit, large ones before it, to where the hub keeps content by its SHA-256 (git's
 * LFS, with the hub's uploads in several parts). A commit is there with all of its files or not at all.
 */
import type { SftError } from './errors.ts';
import { inParallel } from './hub.ts';
import { FIRST_PAUSE, HubConnection, NoAnswer, RETRIES, type Sending, sleep } from './hubConnection.ts';
import type { ReadableSource } from './types.ts';

/** A file to be sent, and what its content is called. */
export interface FileToSend {
  /** In the repository. */
  readonly path: string;
  readonly source: ReadableSource;
  /** Of the content, in hexadecimal. */
  readonly sha256: string;
  /** Git's object id; null for contents that are surely too large to be kept by git. */
  readonly gitOid: string | null;
}

/** What the hub wants to do with a file. */
export interface PlannedFile extends FileToSend {
  /** Before the commit, or in it. */
  readonly mode: 'lfs' | 'regular';
  /** False where the repository has that content at that path already, or wants no file of that name. */
  readonly isWanted: boolean;
}

/** An action of the batch API of git's LFS. */
interface Action {
  readonly href: string;
  readonly header?: Readonly<Record<string, string>>;
}

/** Files that one request tells of. */
const FILES_AT_ONCE = 100;
/** Bytes of a file that the hub looks at to choose where it is kept. */
const SAMPLE_BYTES = 512;
/** Bytes that are handed to the network at once. */
const SLICE = 2 ** 16;
/** Files, and parts of a file, that are sent at once. */
const SENT_AT_ONCE = 3;

const LFS = { Accept: 'application/vnd.git-lfs+json', 'Content-Type': 'application/vnd.git-lfs+json' };

export class HubWriter extends HubConnection {
  /** The same without a signal: what must not be stopped halfway. */
  unstoppable(): HubWriter {
    const { url, token, patience } = this;
    return new HubWriter(this.repo, { url, token, patience });
  }

  /** What the hub says of the repository; null where there is none that this token may see. */
  async lookUp(): Promise<{ commit: string | null; isPrivate: boolean } | null> {
    const url = this.api('');
    const response = await this.explain(null, () => this.request(url, null, {}, [404]));
    if (response.status === 404) return null;
    const { sha, private: isPrivate } = ((await this.parse(url, response)) ?? {}) as Record<string, unknown>;
    return { commit: typeof sha === 'string' ? sha : null, isPrivate: isPrivate === true };
  }

  /** Makes the repository, where it is not there yet. */
  async create(isPrivate: boolean): Promise<void> {
    const [organization, name] = this.repo.id.split('/');
    // Hubs of before 2026 know `private` only, and would make a public repository of the other.
    const hidden = isPrivate && { private: true, visibility: 'private' };
    await this.#post(`${this.url}/api/repos/create`, { type: this.repo.type, name, organization, ...hidden }, [409]);
  }

  /** Asks how each file is to be sent, and which are there already. */
  async plan(files: readonly FileToSend[]): Promise<PlannedFile[]> {
    const url = this.api(`preupload/${encodeURIComponent(this.repo.revision)}`);
    const planned: PlannedFile[] = [];
    for (let at = 0; at < files.length; at += FILES_AT_ONCE) {
      const some = files.slice(at, at + FILES_AT_ONCE);
      const told = await Promise.all(
        some.map(async ({ path, source }) => {
          const sample = await source.read(0, Math.min(SAMPLE_BYTES, source.size));
          return { path, size: source.size, sample: toBase64(sample) };
        }),
      );
      const answer = (await this.#post(url, { files: told })) as { files?: unknown } | null;
      if (!Array.isArray(answer?.files)) throw this.strange(url);
      const byPath = new Map((answer.files as Record<string, unknown>[]).map((file) => [file.path, file]));
      for (const file of some) {
        const { uploadMode, shouldIgnore, oid } = byPath.get(file.path) ?? {};
        if (uploadMode !== 'lfs' && uploadMode !== 'regular') throw this.strange(url);
        // There is no way to send nothing beforehand.
        const mode = file.source.size === 0 ? 'regular' : uploadMode;
        const isThere = typeof oid === 'string' && oid === (mode === 'lfs' ? file.sha256 : file.gitOid);
        planned.push({ ...file, mode, isWanted: shouldIgnore !== true && !isThere });
      }
    }
    return planned;
  }

  /** Sends files to where the hub keeps large ones. Content that is there already is not sent again. */
  async send(files: readonly FileToSend[], onBytes: (bytes: number) => void): Promise<void> {
    const url = `${this.page}.git/info/lfs/objects/batch`;
    for (let at = 0; at < files.length; at += FILES_AT_ONCE) {
      const byOid = new Map(files.slice(at, at + FILES_AT_ONCE).map((file) => [file.sha256, file]));
      const objects = [...byOid.values()].map(({ sha256: oid, source: { size } }) => ({ oid, size }));
      const asked = { operation: 'upload', transfers: ['basic', 'multipart'], hash_algo: 'sha256', objects };
      const answer = (await this.#post(url, { ...asked, ref: { name: this.repo.revision } }, [], LFS)) as {
        objects?: unknown;
      } | null;
      if (!Array.isArray(answer?.objects)) throw this.strange(url);
      await inParallel(answer.objects as Record<string, unknown>[], SENT_AT_ONCE, async ({ oid, actions, error }) => {
        const file = byOid.get(oid as string);
        if (!file) throw this.strange(url);
        if (error) throw this.#wrongObject(file, error);
        const { upload, verify } = (actions ?? {}) as { upload?: Action; verify?: Action };
        if (upload) await this.#upload(file, upload, onBytes);
        else onBytes(file.source.size);
        if (verify) await this.#post(verify.href, { oid, size: file.source.size }, [], { ...LFS, ...verify.header });
      });
    }
  }

  /** Makes the commit, in one try: whether it was made must be looked at before another. Resolves to its id. */
  async commit(summary: string, files: readonly PlannedFile[]): Promise<string> {
    const lines: object[] = [{ key: 'header', value: { summary, description: '' } }];
    for (const { path, mode, source, sha256: oid } of files) {
      const { size } = source;
      if (mode === 'lfs') lines.push({ key: 'lfsFile', value: { path, algo: 'sha256', oid, size } });
      else {
        const content = toBase64(await source.read(0, size));
        lines.push({ key: 'file', value: { path, content, encoding: 'base64' } });
      }
    }
    const url = this.api(`commit/${encodeURIComponent(this.repo.revision)}`);
    const body = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    const init = { method: 'POST', body, headers: { 'Content-Type': 'application/x-ndjson' } };
    const response = await this.explain(null, () => this.request(url, null, init, [], 0));
    const { commitOid } = ((await this.parse(url, response)) ?? {}) as { commitOid?: unknown };
    if (typeof commitOid !== 'string') throw this.strange(url);
    return commitOid;
  }

  async #upload(file: FileToSend, { href, header = {} }: Action, onBytes: (bytes: number) => void): Promise<void> {
    const { size } = file.source;
    if (header.chunk_size === undefined) {
      await this.#put(file, href, 0, size, header, onBytes);
      return;
    }
    const chunk = Number(header.chunk_size);
    const parts = Object.entries(header)
      .filter(([name]) => /^\d+$/.test(name))
      .sort(([a], [b]) => Number(a) - Number(b));
    if (!(chunk > 0) || parts.length !== Math.ceil(size / chunk)) throw this.strange(href);
    const etags = await inParallel(parts, SENT_AT_ONCE, async ([, url], index) => {
      const from = index * chunk;
      const { headers } = await this.#put(file, url, from, Math.min(from + chunk, size), {}, onBytes);
      const etag = headers.get('ETag');
      if (!etag) throw this.strange(url);
      return { partNumber: index + 1, etag };
    });
    // The address is signed, and that is what counts.
    const { url, patience, signal } = this;
    const anyone = new HubWriter(this.repo, { url, token: null, patience, signal });
    await anyone.#post(href, { oid: file.sha256, parts: etags }, [], LFS);
  }

  /** Sends bytes of a file, again where the connection breaks. */
  async #put(
    file: FileToSend,
    url: string,
    from: number,
    to: number,
    headers: Readonly<Record<string, string>>,
    onBytes: (bytes: number) => void,
  ): Promise<Response> {
    let sent = 0;
    const sending: Sending = (goesOn) => {
      onBytes(-sent);
      sent = 0;
      const body = new ReadableStream<Uint8Array>(
        {
          async pull(out) {
            goesOn();
            const length = Math.min(SLICE, to - from - sent);
            out.enqueue(await file.source.read(from + sent, length));
            sent += length;
            onBytes(length);
            if (sent === to - from) out.close();
          },
        },
        { highWaterMark: 0 },
      );
      // Stores of content take no body of unknown length.
      return {
        method: 'PUT',
        body,
        headers: { ...headers, 'Content-Length': String(to - from) },
        duplex: 'half',
      } as RequestInit;
    };
    return this.explain(file.path, async () => {
      for (let attempt = 0; ; attempt += 1) {
        try {
          return await this.request(url, file.path, sending);
        } catch (error) {
          if (!(error instanceof NoAnswer) || attempt === RETRIES) throw error;
          await sleep(FIRST_PAUSE * 2 ** attempt, this.signal);
        }
      }
    });
  }

  protected override refused(path: string | null, response: Response, said: string | null): SftError {
    const { status } = response;
    const [owner] = this.repo.id.split('/');
    const tokens = `${this.url}/settings/tokens`;
    const why = `(${status}${said === null ? '' : `: ${said}`})`;
    // Contents go elsewhere, to where no token counts.
    if (path !== null) {
      const hint = 'run the command again: what has been sent whole is not sent again';
      return this.error('IO', path, `the store of large files did not take it ${why}`, status, { hint });
    }
    if (status === 401) {
      const hint = `make one with write permission at ${tokens} and set HF_TOKEN to it`;
      return this.error('CONFIG', path, `${this.url} does not know this token ${why}`, status, { hint });
    }
    if (status === 403) {
      const hint = `set HF_TOKEN to a token with write permission (${tokens}) of an account that may write for ${owner}`;
      return this.error('CONFIG', path, `${this.url} does not let this token write to it ${why}`, status, { hint });
    }
    if (status === 404) {
      const hint = `check the id: ${owner} has to be your account or an organisation of yours`;
      return this.error('MODEL', path, `${this.url} has no such place ${why}`, status, { hint });
    }
    return super.refused(path, response, said);
  }

  #wrongObject(file: FileToSend, error: unknown): SftError {
    const { code, message } = error as { code?: unknown; message?: unknown };
    const hint = `look at ${this.page}`;
    return this.error('IO', file.path, `${this.url} does not take it (${code}: ${message})`, Number(code), { hint });
  }

  async #post(
    url: string,
    body: object,
    expected: readonly number[] = [],
    headers: Readonly<Record<string, string>> = { 'Content-Type': 'application/json' },
  ): Promise<unknown> {
    const init = { method: 'POST', body: JSON.stringify(body), headers };
    const response = await this.explain(null, () => this.request(url, null, init, expected));
    if (!response.ok) {
      await response.body?.cancel();
      return null;
    }
    const text = await this.explain(null, () => response.text());
    try {
      return text === '' ? null : JSON.parse(text);
    } catch {
      throw this.strange(url);
    }
  }
}

const toBase64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
