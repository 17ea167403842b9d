import { SftError } from './errors.ts';

/**
 * Returns a path inside a folder, with `/` between its parts. Refuses (`IO`) whatever could lead out of the folder:
 * absolute paths, `..`, backslashes, drive letters, empty parts.
 */
export function checkPath(path: string): string {
  if (path.split('/').some((part) => part === '' || part === '.' || part === '..' || /[\\\0:]/.test(part))) {
    throw new SftError('IO', `"${path}": expected a path inside the folder, such as "model.safetensors"`);
  }
  return path;
}
