/**
 * The hub on Node: files go to the cache that Python's `huggingface_hub` has too, in its layout, so that neither brings what the other
 * has brought. Environment variables are Python's as well.
 */
import { link, lstat, mkdir, readFile, rm, statfs, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { SftError } from './errors.ts';
import { HubClient, type HubFile, type HubFolder, type HubListing, type HubOptions, inParallel } from './hub.ts';
import {
  COMMIT,
  HubFailure,
  type HubPatience,
  type HubRepo,
  hubAddress,
  PATIENCE,
  PUBLIC_HUB,
} from './hubConnection.ts';
import { downloadBlob } from './nodeDownload.ts';
import { attempt, attemptIfThere } from './nodeErrors.ts';
import { diskFolder } from './nodeFolder.ts';
import { openStore } from './nodeStore.ts';
import { checkPath } from './paths.ts';
import { noSuchFile } from './sources.ts';
import type { ReadableFolder, ReadableSource, WritableStore } from './types.ts';

/** Files that are asked for at once. */
const AT_ONCE = 4;
/** Milliseconds between two reports of progress. */
const REPORT_EVERY = 100;

/**
 * Opens a repository of a hub, by the cache or by asking the hub. A branch is looked up each time; where the hub is not reached, what it
 * was the last time is used. Throws `MODEL` or `DATA` when the hub does not have it or does not give it, `IO`, `CONFIG`.
 */
export async function openHub(repo: HubRepo, options: HubOptions = {}): Promise<HubFolder> {
  const { signal, onProgress } = options;
  const { url, token, patience } = await hubSettings(options);
  const client = new HubClient(repo, { url, token, patience, signal });
  const place = join(cacheFolder(), `${repo.type}s--${repo.id.replace('/', '--')}`);
  const store = await openStore(place);

  const { listing, unreachable } = await locate(client, repo, store);
  const { commit, paths } = listing;
  const known = new Set(paths);
  const snapshot = diskFolder(join(place, 'snapshots', commit));
  /** Throws when the hub cannot be asked for a file. */
  const checkReach = (path: string) => {
    if (!unreachable) return;
    const reason = unreachable.cause instanceof HubFailure ? unreachable.cause.message : unreachable.message;
    throw new SftError('IO', `${client.name}/${path}: it is not in the cache, and ${reason}`, {
      hint: `connect once, so that it can be brought to ${place}`,
      cause: unreachable,
    });
  };

  return {
    name: repo.id,
    commit,
    notice:
      unreachable && !isOffline() ? `${unreachable.message}; using commit ${commit.slice(0, 7)} of the cache` : null,
    list: async () => [...paths].sort(),
    has: async (path) => known.has(checkPath(path)),
    async open(path) {
      if (!known.has(checkPath(path))) throw noSuchFile(repo.id, path);
      if (await snapshot.has(path)) return { ...(await snapshot.open(path)), name: `${repo.id}/${path}` };
      checkReach(path);
      const local = async () => ((await snapshot.has(path)) ? snapshot.open(path) : null);
      return untilBrought(await client.open(path, commit), local);
    },
    async download(wanted) {
      const missing: string[] = [];
      for (const path of new Set(wanted)) {
        if (!known.has(checkPath(path))) throw noSuchFile(repo.id, path);
        if (!(await snapshot.has(path))) missing.push(path);
      }
      if (missing[0] !== undefined) {
        checkReach(missing[0]);
        await bring({ client, commit, place, name: repo.id, onProgress, signal }, missing);
      }
      await remember(store, repo, listing);
    },
  };
}

/** What the card of a model says of it in its front matter, as the hub read it. Throws as `openHub`. */
export async function hubCard(id: string, options: HubOptions = {}): Promise<Readonly<Record<string, unknown>>> {
  const { signal } = options;
  const repo = { type: 'model', id, revision: 'main' } as const;
  return new HubClient(repo, { ...(await hubSettings(options)), signal }).card();
}

/** Which hub, as whom, and with how much patience, by the options and the environment. Throws `CONFIG`. */
export async function hubSettings(
  { hubUrl, token }: HubOptions,
  usual: HubPatience = PATIENCE,
): Promise<{ url: string; token: string | null; patience: HubPatience }> {
  const { HF_ENDPOINT, HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT } = process.env;
  const own = hubAddress(HF_ENDPOINT || PUBLIC_HUB);
  const url = hubUrl ? hubAddress(hubUrl) : own;
  const patience = {
    answer: Number(HF_HUB_ETAG_TIMEOUT) * 1000 || usual.answer,
    more: Number(HF_HUB_DOWNLOAD_TIMEOUT) * 1000 || usual.more,
  };
  return { url, token: token ?? (await findToken(url === own)), patience };
}

/** Reads from the hub until the file is on this machine. */
function untilBrought(remote: ReadableSource, open: () => Promise<ReadableSource | null>): ReadableSource {
  let local: Promise<ReadableSource | null> | null = null;
  const { name, size } = remote;
  return {
    name,
    size,
    async read(offset, length) {
      local ??= open();
      const opening = local;
      const source = await opening;
      if (source) return source.read(offset, length);
      if (local === opening) local = null;
      return remote.read(offset, length);
    },
    async close() {
      await (await local)?.close();
    },
  };
}

/** The cache: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in `~/.cache/huggingface`. */
export function cacheFolder(): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE } = process.env;
  return inHome(HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE || join(hubHome(), 'hub'));
}

function hubHome(): string {
  const { HF_HOME, XDG_CACHE_HOME } = process.env;
  return inHome(HF_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'));
}

const inHome = (path: string) => path.replace(/^~(?=$|[\\/])/, () => homedir());

export function isOffline(): boolean {
  const { HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE } = process.env;
  return /^(1|on|yes|true)$/i.test(HF_HUB_OFFLINE || TRANSFORMERS_OFFLINE || '');
}

/** `HF_TOKEN`, else what `hf auth login` has stored: that belongs to the hub of the environment, and no other is shown it. */
async function findToken(isOwn: boolean): Promise<string | null> {
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH } = process.env;
  const given = (HF_TOKEN || HUGGING_FACE_HUB_TOKEN || '').trim();
  const path = HF_TOKEN_PATH ? inHome(HF_TOKEN_PATH) : join(hubHome(), 'token');
  const stored = given === '' && isOwn ? await attemptIfThere('read', path, () => readFile(path, 'utf8')) : null;
  const token = given || stored?.trim() || null;
  if (token === null || /^[\x21-\x7e]+$/.test(token)) return token;
  throw new SftError(
    'CONFIG',
    `${given ? 'HF_TOKEN' : path}: expected a token of the hub, got a text that cannot be one`,
    {
      hint: 'copy the token again; it begins with hf_',
    },
  );
}

/** Which commit and files a revision stands for. `unreachable`: why the hub cannot be asked for more. */
async function locate(
  client: HubClient,
  repo: HubRepo,
  store: WritableStore,
): Promise<{ listing: HubListing; unreachable: SftError | null }> {
  const cached = await recall(store, repo);
  if (isOffline()) {
    const reason = `HF_HUB_OFFLINE is set and the cache does not have it`;
    const unreachable = new SftError(repo.type === 'model' ? 'MODEL' : 'DATA', `${client.name}: ${reason}`, {
      hint: `unset HF_HUB_OFFLINE once, so that it can be brought to ${store.name}`,
      cause: new HubFailure(cached ? 'HF_HUB_OFFLINE is set' : reason, null),
    });
    if (!cached) throw unreachable;
    return { listing: cached, unreachable };
  }
  // A commit does not change.
  if (cached && COMMIT.test(repo.revision)) return { listing: cached, unreachable: null };
  try {
    return { listing: await client.lookUp(), unreachable: null };
  } catch (error) {
    if (!cached || !(error instanceof SftError)) throw error;
    return { listing: cached, unreachable: error };
  }
}

const listingFile = (commit: string) => `listings/${commit}.json`;

/** What `remember` has written, or for a model what Python has brought: only a data set can lack a file without being noticed. */
async function recall(store: WritableStore, { type, revision }: HubRepo): Promise<HubListing | null> {
  const text = async (path: string) => {
    const bytes = await store.read(path);
    return bytes && new TextDecoder().decode(bytes).trim();
  };
  const commit = COMMIT.test(revision) ? revision : await text(`refs/${revision}`);
  if (!commit || !/^\w{1,64}$/.test(commit)) return null;
  const listing = await text(listingFile(commit));
  if (listing !== null) {
    try {
      const paths: unknown = JSON.parse(listing);
      if (Array.isArray(paths) && paths.every((path) => typeof path === 'string')) return { commit, paths };
    } catch {} // as if there were none
  }
  if (type === 'dataset') return null;
  const snapshot: ReadableFolder = store.folder(`snapshots/${commit}`);
  const paths = await snapshot.list().catch(() => []);
  return paths.length > 0 ? { commit, paths } : null;
}

async function remember(store: WritableStore, { revision }: HubRepo, { commit, paths }: HubListing): Promise<void> {
  const write = async (path: string, text: string) => {
    const former = await store.read(path);
    if (!former || new TextDecoder().decode(former) !== text) await store.write(path, text);
  };
  await write(listingFile(commit), JSON.stringify(paths));
  if (!COMMIT.test(revision)) await write(`refs/${revision}`, commit);
}

interface Bringing extends Pick<HubOptions, 'onProgress' | 'signal'> {
  readonly client: HubClient;
  readonly commit: string;
  /** The folder of the repository in the cache. */
  readonly place: string;
  readonly name: string;
}

/** Brings files that the snapshot lacks. */
async function bring(bringing: Bringing, paths: readonly string[]): Promise<void> {
  const { client, commit, place, name } = bringing;
  const blobs = join(place, 'blobs');
  await attempt('write', blobs, () => mkdir(blobs, { recursive: true }));
  const files = await inParallel(paths, AT_ONCE, (path) => client.explain(path, () => client.describe(path, commit)));
  const wanted = new Map<string, HubFile>();
  for (const file of files) {
    const there = await attemptIfThere('read', blobs, () => lstat(join(blobs, file.etag)));
    if (!there) wanted.set(file.etag, file);
  }
  const total = [...wanted.values()].reduce((sum, { size }) => sum + (size ?? 0), 0);
  await checkSpace(blobs, name, total);

  let loaded = 0;
  let reported = Number.NEGATIVE_INFINITY;
  const onBytes = (bytes: number) => {
    loaded += bytes;
    const now = performance.now();
    if (now - reported < REPORT_EVERY && loaded < total) return;
    reported = now;
    bringing.onProgress?.({ name, loaded, total: Math.max(total, loaded) });
  };
  // The first failure stops the others: what they have stays.
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, ...(bringing.signal ? [bringing.signal] : [])]);
  const stoppable = client.with(signal);
  await inParallel([...wanted.values()], AT_ONCE, async (file) => {
    try {
      await downloadBlob({ client: stoppable, file, commit, blobs, onBytes, signal });
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  });
  for (const { path, etag } of files) {
    await point(join(place, 'snapshots', commit, ...path.split('/')), join(blobs, etag));
  }
}

/** Throws `IO` when files certainly do not fit onto the disk. */
async function checkSpace(folder: string, name: string, bytes: number): Promise<void> {
  const disk = await statfs(folder).catch(() => null);
  const free = disk && disk.blocks > 0 ? disk.bavail * disk.bsize : Number.POSITIVE_INFINITY;
  if (bytes <= free) return;
  const gib = (count: number) => `${(count / 2 ** 30).toFixed(2)} GiB`;
  throw new SftError('IO', `${folder}: expected ${gib(bytes)} of free space for ${name}, the disk has ${gib(free)}`, {
    hint: 'free some space, or set HF_HUB_CACHE to a folder on another disk',
  });
}

/** Puts a link to a blob into a snapshot. Where links need a right that is not there (Windows), the file has two names instead. */
async function point(path: string, blob: string): Promise<void> {
  await attempt('write', path, async () => {
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    await symlink(relative(dirname(path), blob), path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return; // another process was faster
      if (error.code !== 'EPERM') throw error;
      return link(blob, path);
    });
  });
}
