/** Whether an answer contains what a regular expression asks for. */
import { SftError } from '../../platform/errors.ts';

/**
 * Compiles a pattern in the syntax of JavaScript with its flag `u`, or without it where the pattern escapes what that flag does not
 * let it escape. Throws `CONFIG` for one that is neither.
 */
export function compileRegex(pattern: string): RegExp {
  try {
    return new RegExp(pattern, 'u');
  } catch (cause) {
    try {
      return new RegExp(pattern);
    } catch {
      const reason = (cause as Error).message.replace(/^Invalid regular expression: \/.*\/u?: /s, '');
      throw new SftError('CONFIG', `expected a regular expression of JavaScript, got ${pattern}: ${reason}`, {
        hint: 'write flags as (?i:…) and named groups as (?<name>…)',
        cause,
      });
    }
  }
}

/** 1 or 0. */
export function schemaRegex(prediction: string, pattern: RegExp): number {
  return pattern.test(prediction) ? 1 : 0;
}
