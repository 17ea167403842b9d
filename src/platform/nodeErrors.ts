import { SftError } from './errors.ts';

/** What an error of the operating system means, and what to do. */
const MEANING: Readonly<Record<string, readonly [meaning: string, hint: string]>> = {
  ENOSPC: ['the disk is full', 'free some space, or write to another disk'],
  EDQUOT: ['the disk quota is used up', 'free some space, or write to another disk'],
  EFBIG: [
    'the file would be larger than allowed',
    'write to a file system that takes large files (see also `ulimit -f`)',
  ],
  EROFS: ['the file system is read-only', 'choose a folder that can be written'],
  EACCES: ['permission denied', 'choose another folder, or change its permissions'],
  EPERM: ['permission denied', 'choose another folder, or change its permissions'],
  ENOENT: ['there is no such file or folder', 'check the path'],
  ENOTDIR: ['a part of the path is a file, not a folder', 'check the path'],
  EEXIST: ['a file of that name is in the way', 'remove it, or choose another path'],
  EISDIR: ['it is a folder, not a file', 'check the path'],
  ELOOP: ['its links go in a circle', 'check the links'],
  EMFILE: ['too many files are open', 'raise the limit (see `ulimit -n`)'],
  EIO: ['the disk reports an error', 'check the disk'],
};

function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/** Runs a file system call; a failure becomes an `IO` error that names the path, the reason and what to do. */
export async function attempt<T>(action: 'read' | 'write', path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    if (cause instanceof SftError) throw cause;
    const [meaning, hint] = MEANING[errorCode(cause) ?? ''] ?? [cause instanceof Error ? cause.message : String(cause)];
    const done = action === 'read' ? 'read' : 'written';
    throw new SftError('IO', `${path}: could not be ${done}: ${meaning}`, { ...(hint && { hint }), cause });
  }
}

/** The same, but null when there is no such file or folder. */
export async function attemptIfThere<T>(
  action: 'read' | 'write',
  path: string,
  call: () => Promise<T>,
): Promise<T | null> {
  try {
    return await attempt(action, path, call);
  } catch (error) {
    const code = errorCode((error as SftError).cause);
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
}
