/** A text file of this machine. */
import { openFile } from '#platform';
import { SftError } from '../platform/errors.ts';

/** Reads a UTF-8 text file whole. Throws `IO`. */
export async function readWhole(path: string): Promise<string> {
  const source = await openFile(path);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await source.read(0, source.size));
  } catch (cause) {
    if (cause instanceof SftError) throw cause;
    throw new SftError('IO', `${path}: expected UTF-8 text, got bytes that are not`, { cause });
  } finally {
    await source.close();
  }
}
