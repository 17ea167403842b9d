/** One run at a time in an output folder. */
import { lstat, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { SftError } from './errors.ts';
import { attempt, attemptIfThere } from './nodeErrors.ts';
import { busyError } from './stores.ts';

const LOCK_FILE = '.lock';

/** A lock file that cannot be read is being written right now, or was left behind by a crash. */
const UNREADABLE_FOR_MS = 5000;

/** The process that holds a lock. Its number may be used again, in a container even at once: so its start counts too. */
interface Holder {
  readonly pid: number;
  readonly started: string;
}

/**
 * Takes the lock of a folder that exists, or throws `BUSY` when a live process holds it. A lock whose process is gone
 * is taken over. Returns the release.
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, LOCK_FILE);
  const holder: Holder = { pid: process.pid, started: (await processState(process.pid)).started };
  while (!(await createFile(path, JSON.stringify(holder)))) await removeStale(path, folder);
  return () => attempt('write', path, () => rm(path, { force: true }));
}

/** False when there is such a file already. */
async function createFile(path: string, content: string): Promise<boolean> {
  try {
    await attempt('write', path, async () => {
      const file = await open(path, 'wx');
      try {
        await file.writeFile(content);
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      } finally {
        await file.close();
      }
    });
    return true;
  } catch (error) {
    if (((error as SftError).cause as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Removes the lock when nobody holds it; throws `BUSY` when somebody does. */
async function removeStale(path: string, folder: string): Promise<void> {
  await refuseLive(path, folder);
  // Of several that find it stale one removes it, and looks again first: another may have made a new one meanwhile.
  const guard = `${path}.takeover`;
  if (await createFile(guard, '')) {
    try {
      await refuseLive(path, folder);
      await attempt('write', path, () => rm(path, { force: true }));
    } finally {
      await attempt('write', guard, () => rm(guard, { force: true }));
    }
  } else if (await isYoung(guard)) {
    throw busyError(folder, 'another run');
  } else {
    await attempt('write', guard, () => rm(guard, { force: true }));
  }
}

async function refuseLive(path: string, folder: string): Promise<void> {
  const content = await attemptIfThere('read', path, () => readFile(path, 'utf8'));
  if (content === null) return;
  const holder = parseHolder(content);
  if (holder ? await isAlive(holder) : await isYoung(path)) {
    throw busyError(folder, holder ? `another run (process ${holder.pid})` : 'another run');
  }
}

const isYoung = async (path: string) => {
  const entry = await attemptIfThere('read', path, () => lstat(path));
  return entry !== null && Date.now() - entry.mtimeMs < UNREADABLE_FOR_MS;
};

function parseHolder(content: string): Holder | null {
  try {
    const { pid, started } = JSON.parse(content) as Partial<Holder>;
    return Number.isSafeInteger(pid) && typeof started === 'string' ? { pid: pid as number, started } : null;
  } catch {
    return null;
  }
}

async function isAlive({ pid, started }: Holder): Promise<boolean> {
  if (!processExists(pid)) return false;
  const now = await processState(pid);
  return !now.ended && now.started === started;
}

export function processExists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** When a process began, in some unit, and whether it has ended and only waits to be collected. Linux knows both. */
async function processState(pid: number): Promise<{ started: string; ended: boolean }> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The second field is the program's name in parentheses, which may hold anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { started: fields[19] ?? '', ended: fields[0] === 'Z' };
}
