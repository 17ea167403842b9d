/**
 * Reading from a model hub, with web standards alone. `nodeHub.ts` keeps what it brings in the cache that Python has too;
 * `browserHub.ts` reads from the hub itself.
 */
import { HubConnection } from './hubConnection.ts';
import { httpSource } from './sources.ts';
import type { ReadableFolder, ReadableSource } from './types.ts';

/** Bytes of the files that are being brought. */
export interface HubProgress {
  /** The id of the repository. */
  readonly name: string;
  readonly loaded: number;
  readonly total: number;
}

/** Which hub is asked, as whom, and who is told of it. */
export interface HubOptions {
  /** Null or left out: on Node `HF_ENDPOINT`, else the public hub. */
  readonly hubUrl?: string | null | undefined;
  /** Left out: on Node `HF_TOKEN`, or what `hf auth login` has stored. */
  readonly token?: string | undefined;
  /** Told of the bytes that `HubFolder.download` brings. */
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

const MAX_REDIRECTS = 5;
/** The hub leaves files out of its short list above this number. */
const MAX_SHORT_LIST = 50_000;

/** An entry of the list that has pages, not yet checked. */
interface TreeFile {
  readonly path: string;
  readonly size: unknown;
  readonly lfs: unknown;
}

export class HubClient extends HubConnection {
  /** The same, ended by another signal. */
  with(signal: AbortSignal): HubClient {
    const { url, token, patience } = this;
    return new HubClient(this.repo, { url, token, patience, signal });
  }

  /** The commit that the revision stands for now, and its files. */
  async lookUp(): Promise<HubListing> {
    const api = this.api(`revision/${encodeURIComponent(this.repo.revision)}`);
    const answer = (await this.json(api)) as { sha?: unknown; siblings?: unknown } | null;
    const { sha, siblings } = answer ?? {};
    // It becomes the name of a folder.
    if (typeof sha !== 'string' || !/^\w{1,64}$/.test(sha)) throw this.strange(api);
    if (!Array.isArray(siblings) || siblings.length >= MAX_SHORT_LIST)
      return { commit: sha, paths: (await this.#tree(sha)).map(({ path }) => path) };
    const paths = (siblings as { rfilename?: unknown }[]).map(({ rfilename }) => rfilename);
    if (!paths.every((path) => typeof path === 'string')) throw this.strange(api);
    return { commit: sha, paths };
  }

  /** The front matter of the repository's card; empty where it has none. */
  async card(): Promise<Readonly<Record<string, unknown>>> {
    const { cardData } = ((await this.json(this.api(''))) ?? {}) as { cardData?: unknown };
    return typeof cardData === 'object' && cardData !== null ? (cardData as Record<string, unknown>) : {};
  }

  /** Sizes and checksums of all files. */
  async contents(commit: string): Promise<ReadonlyMap<string, HubContent>> {
    const entries = await this.#tree(commit);
    return new Map(
      entries.map(({ path, size, lfs }) => {
        const oid = (lfs as { oid?: unknown } | undefined)?.oid;
        if (!Number.isSafeInteger(size)) throw this.strange(this.api(`tree/${commit}`));
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
      const { status, headers } = await this.request(url, path, init, [301, 302, 303, 307, 308]);
      const linked = headers.get('X-Linked-Etag');
      const location = headers.get('Location');
      if (status >= 300 && linked === null && location !== null && hop < MAX_REDIRECTS) {
        url = new URL(location, url).href;
        continue;
      }
      const etag = (linked ?? headers.get('ETag') ?? '').replace(/^W\//, '').replaceAll('"', '');
      // It becomes the name of a file.
      if (!/^\w[\w.+-]{0,199}$/.test(etag)) throw this.strange(url);
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
    const { status, headers, body } = await this.request(this.address(path, commit), path, init);
    const start = status === 206 ? Number(/^bytes (\d+)-/.exec(headers.get('Content-Range') ?? '')?.[1]) : 0;
    return { start: Number.isSafeInteger(start) ? start : from, body };
  }

  /** A file as a source that asks the hub for each range. */
  async open(path: string, commit: string): Promise<ReadableSource> {
    const url = this.address(path, commit);
    const source = await httpSource(url, (address, init) =>
      this.explain(path, () => this.request(address, path, init, [416])),
    );
    return { ...source, name: `${this.repo.id}/${path}` };
  }

  /** Where a file is. */
  address(path: string, commit: string): string {
    return `${this.page}/resolve/${encodeURIComponent(commit)}/${path.split('/').map(encodeURIComponent).join('/')}`;
  }

  /** All files, from the list that has pages. */
  async #tree(commit: string): Promise<TreeFile[]> {
    const files: TreeFile[] = [];
    for (let url: string | null = this.api(`tree/${commit}?recursive=true`); url !== null; ) {
      const response: Response = await this.explain(null, () => this.request(url!, null));
      const entries = await this.parse(url, response);
      if (!Array.isArray(entries)) throw this.strange(url);
      for (const { type, path, size, lfs } of entries as Record<string, unknown>[]) {
        if (type === 'file' && typeof path === 'string') files.push({ path, size, lfs });
      }
      const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get('Link') ?? '')?.[1];
      const following: URL | null = next === undefined ? null : new URL(next, url);
      // The token goes along, so it has to be the same hub.
      if (following && following.origin !== new URL(url).origin) throw this.strange(url);
      url = following?.href ?? null;
    }
    return files;
  }
}

/** Calls `work` for each item, a few at a time. A failure ends all: those that are begun are waited for, and the first item's is told. */
export async function inParallel<T, R>(
  items: readonly T[],
  most: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const failures: { index: number; error: unknown }[] = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length && failures.length === 0) {
      const index = next++;
      try {
        results[index] = await work(items[index]!, index);
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
