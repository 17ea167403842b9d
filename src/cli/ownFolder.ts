/** Folders that a command replaces: only those that it has made itself. */
import { openFolder } from '#platform';
import { SftError } from '../platform/errors.ts';

/** Throws `ARGUMENT` where the folder holds something that this command, whose results have a `mark` file, has not made. */
export async function refuseForeign(path: string, mark: string, command: string): Promise<void> {
  const folder = await openFolder(path).catch((error: unknown) => {
    // What is no folder, or cannot be read, is told when it is written.
    if (error instanceof SftError) return null;
    throw error;
  });
  if (!folder || (await folder.list()).length === 0 || (await folder.has(mark))) return;
  throw new SftError('ARGUMENT', `--out: ${path}: expected a new or empty folder, or one that ${command} has made`, {
    hint: 'choose another folder: what is in this one would be lost',
  });
}
