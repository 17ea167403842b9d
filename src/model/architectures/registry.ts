/** Supported architectures by `model_type`. */
import { SftError } from '../../platform/errors.ts';
import type { Architecture } from '../architecture.ts';
import { llama } from './llama.ts';
import { qwen2 } from './qwen2.ts';

const known: Record<string, Architecture> = { llama, qwen2 };

/** Built in and registered ones, by their `model_type`. */
export const ARCHITECTURES: Readonly<Record<string, Architecture>> = known;

/**
 * Makes models of another `model_type` known to everything that opens models. In a worker it has to be said again: nothing but
 * data crosses over. Throws `ARGUMENT` where the type has an architecture already.
 */
export function registerArchitecture(architecture: Architecture): void {
  const { modelType } = architecture;
  if (Object.hasOwn(known, modelType) && known[modelType] !== architecture) {
    throw new SftError('ARGUMENT', `registerArchitecture: model_type "${modelType}" has an architecture already`);
  }
  known[modelType] = architecture;
}
