/** How activations are stored: what `train.precision` means for a model and an adapter. */
import type { GpuTraits } from '../gpu/device.ts';
import type { ActivationDtype } from '../kernels/define.ts';
import type { DecoderSpec } from '../model/decoder.ts';
import { SftError } from '../platform/errors.ts';
import type { Config } from './config.ts';

export type Precision = 'float32' | 'float16';

export const ACTIVATION_DTYPES: Readonly<Record<Precision, ActivationDtype>> = { float32: 'f32', float16: 'f16' };

/**
 * `auto` is float16 on GPUs whose shaders have it, where it is faster; software adapters only save memory by it. Rows of an
 * odd number of elements cannot be stored in float16: `auto` is then float32, with a `warning`. Throws `CONFIG` when float16
 * was asked for.
 */
export function resolvePrecision(
  wanted: Config['train']['precision'],
  { family, nativeF16 }: GpuTraits,
  { attention, inner }: DecoderSpec,
): { precision: Precision; warning: string | null } {
  const half = wanted === 'float16' || (wanted === 'auto' && nativeF16 && family === 'tiled');
  if (!half) return { precision: 'float32', warning: null };
  const sizes = { hidden_size: attention.hidden, intermediate_size: inner };
  const [odd] = Object.entries(sizes).filter(([, size]) => size % 2 !== 0);
  if (!odd) return { precision: 'float16', warning: null };
  const why = `an even ${odd[0]} is needed to store activations in float16, the model has ${odd[1]}`;
  if (wanted === 'auto') return { precision: 'float32', warning: `train.precision is float32: ${why}` };
  throw new SftError('CONFIG', `train.precision: float16: ${why}`, { hint: 'set train.precision: float32' });
}
