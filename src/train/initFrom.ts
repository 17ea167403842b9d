/** Starting from an adapter that exists (`tuning.lora.init_from`). */
import type { LoraOptions } from '../model/lora.ts';
import { SftError } from '../platform/errors.ts';

/** Keys of `tuning.lora` that the adapter decides. */
const DECIDED = { r: 'r', alpha: 'alpha', target_modules: 'targetModules', use_rslora: 'useRslora' } as const;

/** The options of the adapter. Throws `CONFIG` when a key that was set by hand (`given`: key → where) says something else. */
export function startFrom(
  adapter: LoraOptions,
  wanted: LoraOptions,
  given: ReadonlyMap<string, string> = new Map(),
): LoraOptions {
  for (const [key, name] of Object.entries(DECIDED)) {
    const where = given.get(`tuning.lora.${key}`);
    const [theirs, ours] = [JSON.stringify(adapter[name]), JSON.stringify(wanted[name])];
    if (where === undefined || theirs === ours) continue;
    const message = `tuning.lora.${key}: the adapter of tuning.lora.init_from has ${theirs}, got ${ours}`;
    throw new SftError('CONFIG', `${where}: ${message}`, {
      hint: 'leave the key out: an adapter to start from decides it',
    });
  }
  return { ...adapter, dropout: wanted.dropout };
}
