/** What lies in the hub's cache, whoever brought it, and how it is removed without taking from others. */
import type { Dirent } from 'node:fs';
import { readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { SftError } from './errors.ts';
import { attempt, attemptIfThere } from './nodeErrors.ts';
import { processExists } from './nodeLock.ts';

/** A commit of a repository that has files in the cache. */
export interface CachedRevision {
  readonly commit: string;
  /** Branches and tags that stood for it when the hub was last asked. */
  readonly refs: readonly string[];
  readonly files: readonly CachedFile[];
}

interface CachedFile {
  /** Without links. */
  readonly place: string;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly lastUsed: number;
}

/** A repository of a hub in the cache. */
export interface CachedRepo {
  readonly type: 'model' | 'dataset' | 'space';
  /** `owner/name`; old ones of the public hub have no owner. */
  readonly id: string;
  /** Its folder. */
  readonly path: string;
  readonly revisions: readonly CachedRevision[];
  /** On the disk, files that are not whole included. */
  readonly bytes: number;
  /** Milliseconds since 1970; null where it has no file. */
  readonly lastUsed: number | null;
}

/** All repositories of a cache, by type and id. Throws `IO`. */
export async function readCache(cache: string): Promise<CachedRepo[]> {
  const types = ['model', 'dataset', 'space'];
  const repos: CachedRepo[] = [];
  for (const entry of await entries(cache)) {
    const [, type, name] = /^(model|dataset|space)s--(.+)$/.exec(entry.name) ?? [];
    if (!name || !entry.isDirectory()) continue;
    const path = join(cache, entry.name);
    const id = name.replace('--', '/');
    repos.push({ type: type as CachedRepo['type'], id, path, ...(await readRepo(path)) });
  }
  return repos.sort((a, b) => types.indexOf(a.type) - types.indexOf(b.type));
}

async function readRepo(path: string): Promise<Pick<CachedRepo, 'revisions' | 'bytes' | 'lastUsed'>> {
  const refs = await readRefs(join(path, 'refs'));
  const revisions: CachedRevision[] = [];
  for (const { name: commit } of await entries(join(path, 'snapshots'))) {
    const named = [...refs].filter(([, of]) => of === commit).map(([ref]) => ref);
    revisions.push({ commit, refs: named, files: await filesIn(join(path, 'snapshots', commit)) });
  }
  const files = [...(await filesIn(join(path, 'blobs'))), ...revisions.flatMap((revision) => revision.files)];
  const distinct = [...new Map(files.map((file) => [file.place, file])).values()];
  const bytes = distinct.reduce((sum, file) => sum + file.bytes, 0);
  const lastUsed = distinct.length === 0 ? null : Math.max(...distinct.map((file) => file.lastUsed));
  return { revisions, bytes, lastUsed };
}

/** Names of branches and tags to their commits. */
async function readRefs(folder: string): Promise<Map<string, string>> {
  const refs = new Map<string, string>();
  for (const { place } of await filesIn(folder)) {
    const commit = await attemptIfThere('read', place, () => readFile(place, 'utf8'));
    if (commit !== null) refs.set(relative(await realpath(folder), place).replaceAll(sep, '/'), commit.trim());
  }
  return refs;
}

/**
 * Removes a repository, or one commit of it. Content that another commit or repository has stays. What is killed in between has removed
 * less, and what is left is not used in part: names go first. Throws `BUSY` where a download is under way, `IO`.
 */
export async function removeCached(cache: string, repo: CachedRepo, commit?: string): Promise<void> {
  const { path } = repo;
  await refuseOutside(cache, path);
  await refuseDownloads(path);
  const gone = repo.revisions.filter((revision) => commit === undefined || revision.commit === commit);
  const stay = repo.revisions.filter((revision) => !gone.includes(revision));
  const others = (await readCache(cache)).filter((other) => other.path !== path);
  const kept = new Set([...stay, ...others.flatMap((other) => other.revisions)].flatMap(placesOf));

  for (const { commit: name, refs } of gone) {
    for (const ref of refs) await remove(join(path, 'refs', ...ref.split('/')));
    for (const list of ['listings', 'trees']) await remove(join(path, list, `${name}.json`));
    await remove(join(path, 'snapshots', name));
  }
  // Some contents are links to where repositories share them; that is within the cache too.
  const roots = await Promise.all([path, join(cache, 'blobs')].map((root) => realpath(root).catch(() => root)));
  for (const name of (await entries(join(path, 'blobs'))).map((entry) => entry.name)) {
    const link = join(path, 'blobs', name);
    const place = await attemptIfThere('read', link, () => realpath(link));
    if (place !== null && kept.has(place) && stay.length > 0) continue;
    if (place !== null && !kept.has(place) && roots.some((root) => place.startsWith(root + sep))) await remove(place);
    await remove(link);
  }
  if (stay.length > 0) return;
  await remove(path);
  await remove(join(cache, '.locks', relative(cache, path)));
}

const placesOf = ({ files }: CachedRevision) => files.map(({ place }) => place);

const remove = (path: string) => attempt('write', path, () => rm(path, { recursive: true, force: true }));

async function refuseOutside(cache: string, path: string): Promise<void> {
  const [root, real] = await attempt('read', path, () => Promise.all([realpath(cache), realpath(path)]));
  if (real.startsWith(root + sep)) return;
  throw new SftError('IO', `${path}: expected a folder of the cache, it leads to ${real}`, {
    hint: 'remove it by hand if it is no longer needed',
  });
}

async function refuseDownloads(path: string): Promise<void> {
  for (const { name } of await entries(join(path, 'blobs'))) {
    const pid = Number(/\.(\d+)-\d+\.incomplete$/.exec(name)?.[1]);
    if (!pid || pid === process.pid || !processExists(pid)) continue;
    throw new SftError('BUSY', `${path}: expected nobody to write to it, process ${pid} is downloading`, {
      hint: 'wait until the download has ended',
    });
  }
}

/** Entries by name; none where there is no such folder. */
async function entries(folder: string): Promise<Dirent[]> {
  const found = await attemptIfThere('read', folder, () => readdir(folder, { withFileTypes: true }));
  return (found ?? []).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** All files below a folder, by what links lead to. Links that lead nowhere are left out. */
async function filesIn(folder: string): Promise<CachedFile[]> {
  const files: CachedFile[] = [];
  for (const entry of await entries(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) files.push(...(await filesIn(path)));
    else {
      const place = await attemptIfThere('read', path, () => realpath(path));
      const found = place === null ? null : await attemptIfThere('read', place, () => stat(place));
      if (place !== null && found?.isFile()) {
        files.push({ place, bytes: found.size, lastUsed: Math.max(found.atimeMs, found.mtimeMs) });
      }
    }
  }
  return files;
}
