/** Files to a repository of a hub, as one commit. */
import { createHash } from 'node:crypto';
import { SftError } from './errors.ts';
import type { HubOptions, HubProgress } from './hub.ts';
import { BUSY, FIRST_PAUSE, HubFailure, type HubRepo, RETRIES, sleep } from './hubConnection.ts';
import { type FileToSend, HubWriter } from './hubWriter.ts';
import { hubSettings, isOffline } from './nodeHub.ts';
import type { ReadableSource } from './types.ts';

/** A commit takes the hub a while, and the last bytes of a body are still on the way when nothing is left to hand over. */
const PATIENCE = { answer: 60_000, more: 60_000 };
/** Answers to a commit that another try may change, besides those of a busy hub: another commit was made at the same time. */
const CONFLICT: ReadonlySet<number> = new Set([409, 412]);
/** Milliseconds between two reports of progress. */
const REPORT_EVERY = 100;
/** Bytes read at once where content is hashed. */
const BLOCK = 2 ** 22;
/** Bytes above which the hub keeps no file in git. */
const MOST_IN_GIT = 2 ** 25;

export interface PushOptions extends HubOptions {
  /** Whether a repository that is made now is hidden. */
  readonly private: boolean;
  /** The first line of the commit. */
  readonly message: string;
  /** Told what a person should know. */
  readonly onWarning?: (message: string) => void;
}

export interface Pushed {
  /** Where a person looks at it. */
  readonly page: string;
  /** Null where the hub does not say. */
  readonly commit: string | null;
  /** Files that were new or other than before; none where nothing was to do. */
  readonly changed: readonly string[];
}

/**
 * Sends files to a repository, which is made where it is not there. What is stopped before the commit has changed nothing; the commit itself
 * is not stopped. Throws `CONFIG` for a token that is missing or may not write, `MODEL` for a place that is not there, `IO`.
 */
export async function pushFiles(
  id: string,
  sources: ReadonlyMap<string, ReadableSource>,
  options: PushOptions,
): Promise<Pushed> {
  const { signal, message } = options;
  const repo: HubRepo = { type: 'model', id, revision: 'main' };
  const writer = new HubWriter(repo, { ...(await writeSettings(options)), signal });
  const files: FileToSend[] = [];
  for (const [path, source] of sources) files.push({ path, source, ...(await hash(source, signal)) });
  await makeSure(writer, options);

  const { page } = writer;
  const changed = new Set<string>();
  let client = writer;
  for (let attempt = 0; ; attempt += 1) {
    // After a commit whose answer did not come, this tells whether it was made.
    const wanted = (await client.plan(files)).filter(({ isWanted }) => isWanted);
    if (wanted.length === 0) return { page, commit: (await client.lookUp())?.commit ?? null, changed: [...changed] };
    const large = wanted.filter(({ mode }) => mode === 'lfs');
    await client.send(large, reporter(id, large, options.onProgress));
    for (const { path } of wanted) changed.add(path);
    if (client === writer) signal?.throwIfAborted();
    client = writer.unstoppable();
    try {
      return { page, commit: await client.commit(message, wanted), changed: [...changed] };
    } catch (error) {
      const failure = error instanceof SftError ? error.cause : null;
      if (!(failure instanceof HubFailure) || attempt === RETRIES) throw error;
      const { status } = failure;
      if (status !== null && !BUSY.has(status) && !CONFLICT.has(status)) throw error;
      await sleep(FIRST_PAUSE * 2 ** attempt);
    }
  }
}

/** Which hub, and as whom something is sent there. Throws `CONFIG` without a connection or a token. */
export async function writeSettings(options: HubOptions): Promise<Awaited<ReturnType<typeof hubSettings>>> {
  const settings = await hubSettings(options, PATIENCE);
  const { url, token } = settings;
  if (isOffline()) {
    throw new SftError('CONFIG', 'HF_HUB_OFFLINE: expected a connection to the hub, it is switched off', {
      hint: 'unset HF_HUB_OFFLINE',
    });
  }
  if (token !== null) return settings;
  throw new SftError('CONFIG', `HF_TOKEN: expected a token of ${url} with write permission, there is none`, {
    hint: `make one at ${url}/settings/tokens, then set HF_TOKEN to it or run \`hf auth login\``,
  });
}

/** Makes the repository where it is not there. */
async function makeSure(writer: HubWriter, options: PushOptions): Promise<void> {
  const found = await writer.lookUp();
  if (!found) await writer.create(options.private);
  if (!options.private || found?.isPrivate) return;
  if (found) options.onWarning?.(`${writer.name} is there already, and public: it stays so`);
  else if ((await writer.lookUp())?.isPrivate === false) {
    throw new SftError('IO', `${writer.name}: expected a private repository, the hub has made a public one`, {
      hint: `nothing was sent; make it private at ${writer.page}/settings`,
    });
  }
}

/** What the content is called in LFS and in git. */
async function hash(source: ReadableSource, signal?: AbortSignal): Promise<Pick<FileToSend, 'sha256' | 'gitOid'>> {
  const { size } = source;
  const sha256 = createHash('sha256');
  const git = size > MOST_IN_GIT ? null : createHash('sha1').update(`blob ${size}\0`);
  for (let at = 0; at < size; at += BLOCK) {
    signal?.throwIfAborted();
    const block = await source.read(at, Math.min(BLOCK, size - at));
    sha256.update(block);
    git?.update(block);
  }
  return { sha256: sha256.digest('hex'), gitOid: git?.digest('hex') ?? null };
}

function reporter(
  name: string,
  files: readonly FileToSend[],
  onProgress?: (progress: HubProgress) => void,
): (bytes: number) => void {
  const total = files.reduce((sum, { source }) => sum + source.size, 0);
  let loaded = 0;
  let reported = Number.NEGATIVE_INFINITY;
  return (bytes) => {
    loaded += bytes;
    const now = performance.now();
    if (now - reported < REPORT_EVERY && loaded < total) return;
    reported = now;
    onProgress?.({ name, loaded, total });
  };
}
