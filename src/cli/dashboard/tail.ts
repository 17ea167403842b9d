/** The event files of runs, read as they grow. */
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

const FILE = 'events.jsonl';
/** How deep below the folder that was named runs are looked for: `outputs/batch/support-small`. */
const DEPTH = 3;
/** Bytes that are read at once. */
const MOST_BYTES = 2 ** 20;

/** Runs below a folder, the folder itself included, as paths relative to it (`.` for itself), sorted, `run-9` before `run-10`. */
export async function findRuns(folder: string, depth = DEPTH): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  if (entries.some((entry) => entry.isFile() && entry.name === FILE)) return ['.'];
  if (depth === 0) return [];
  const inner = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'));
  const found = await Promise.all(
    inner.map(async ({ name }) => {
      const runs = await findRuns(join(folder, name), depth - 1);
      return runs.map((run) => (run === '.' ? name : `${name}/${run}`));
    }),
  );
  return found.flat().sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

export interface Piece {
  /** Whole lines. */
  readonly lines: readonly string[];
  /** The byte after them. */
  readonly end: number;
}

/** The whole lines of a run's events from byte `start` on, at most about a megabyte; none when nothing has come. */
export async function readEvents(folder: string, run: string, start: number): Promise<Piece> {
  const path = join(folder, run, FILE);
  const size = (await stat(path).catch(() => null))?.size ?? 0;
  // A file that was begun anew is read from its beginning.
  const from = size < start ? 0 : start;
  if (size === from) return { lines: [], end: from };
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(Math.min(size - from, MOST_BYTES)), 0, null, from);
    const end = buffer.lastIndexOf(0x0a, bytesRead - 1) + 1;
    const text = new TextDecoder().decode(buffer.subarray(0, end));
    return { lines: text.split('\n').filter((line) => line !== ''), end: from + end };
  } finally {
    await file.close();
  }
}
