/**
 * Rotary position tables: the frequencies of each `rope_type` of Hugging Face, and their cosines and sines.
 *
 * Computed in float32 where transformers computes in float32, so that tables agree to the last bits.
 * Source: transformers, modeling_rope_utils.py; Peng et al. 2023, arXiv:2309.00071 (yarn).
 */
import { z } from 'zod';
import { SftError } from '../platform/errors.ts';

const positive = z.number().positive();

/** `rope_scaling` or `rope_parameters` of a config.json. */
const parameters = z.strictObject({
  rope_type: z.enum(['default', 'linear', 'dynamic', 'llama3', 'yarn']).optional(),
  type: z.enum(['default', 'linear', 'dynamic', 'llama3', 'yarn']).optional(),
  rope_theta: positive.nullish(),
  factor: positive.nullish(),
  original_max_position_embeddings: positive.nullish(),
  low_freq_factor: positive.nullish(),
  high_freq_factor: positive.nullish(),
  attention_factor: positive.nullish(),
  beta_fast: positive.nullish(),
  beta_slow: positive.nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  truncate: z.boolean().nullish(),
});

/** The fields of config.json that say how positions are embedded, of both generations. */
export const ropeFields = {
  rope_theta: positive.nullish(),
  rope_scaling: parameters.nullish(),
  rope_parameters: parameters.nullish(),
  max_position_embeddings: z.int().positive(),
};

export interface RopeConfig {
  readonly type: 'default' | 'linear' | 'dynamic' | 'llama3' | 'yarn';
  readonly theta: number;
  readonly maxPositions: number;
  readonly parameters: z.infer<typeof parameters>;
}

/** Brings both generations of keys together. */
export function ropeConfig(config: z.infer<z.ZodObject<typeof ropeFields>>, defaultTheta = 10000): RopeConfig {
  const given = config.rope_parameters ?? config.rope_scaling ?? {};
  return {
    type: given.rope_type ?? given.type ?? 'default',
    theta: given.rope_theta ?? config.rope_theta ?? defaultTheta,
    maxPositions: config.max_position_embeddings,
    parameters: given,
  };
}

const f32 = Math.fround;

/** D/2 inverse frequencies, and the factor of cosines and sines. `length` is the longest sequence (for `dynamic`). */
function frequencies(rope: RopeConfig, D: number, length: number): { inverse: Float32Array; attention: number } {
  const { type, parameters: given } = rope;
  const half = D / 2;
  const need = (name: 'factor' | 'low_freq_factor' | 'high_freq_factor'): number => {
    const value = given[name];
    if (value == null) throw new SftError('MODEL', `config.json: rope type ${type}: expected ${name}, got none`);
    return value;
  };
  const plain = (theta: number) =>
    Float32Array.from({ length: half }, (_, i) => f32(1 / f32(theta ** f32((2 * i) / D))));
  const original = given.original_max_position_embeddings ?? rope.maxPositions;
  switch (type) {
    case 'default':
      return { inverse: plain(rope.theta), attention: 1 };
    case 'linear':
      return { inverse: plain(rope.theta).map((value) => value / need('factor')), attention: 1 };
    case 'dynamic': {
      const factor = need('factor');
      const longest = Math.max(length, rope.maxPositions);
      const theta = rope.theta * ((factor * longest) / rope.maxPositions - (factor - 1)) ** (D / (D - 2));
      return { inverse: plain(theta), attention: 1 };
    }
    case 'llama3': {
      const [factor, low, high] = [need('factor'), need('low_freq_factor'), need('high_freq_factor')];
      const inverse = plain(rope.theta).map((value) => {
        const wavelength = (2 * Math.PI) / value;
        if (wavelength < original / high) return value;
        if (wavelength > original / low) return value / factor;
        const smooth = (original / wavelength - low) / (high - low);
        return ((1 - smooth) * value) / factor + smooth * value;
      });
      return { inverse, attention: 1 };
    }
    case 'yarn': {
      const factor = given.factor ?? rope.maxPositions / original;
      const mscale = (scale: number, m: number) => (scale <= 1 ? 1 : 0.1 * m * Math.log(scale) + 1);
      const { mscale: m, mscale_all_dim: all } = given;
      const attention =
        given.attention_factor ?? (m && all ? mscale(factor, m) / mscale(factor, all) : mscale(factor, 1));
      const dimension = (rotations: number) =>
        (D * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(rope.theta));
      let [low, high] = [dimension(given.beta_fast ?? 32), dimension(given.beta_slow ?? 1)];
      if (given.truncate ?? true) [low, high] = [Math.floor(low), Math.ceil(high)];
      [low, high] = [Math.max(low, 0), Math.min(high, D - 1)];
      if (low === high) high += 0.001;
      const inverse = plain(rope.theta).map((value, i) => {
        const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
        return (value / factor) * ramp + value * (1 - ramp);
      });
      return { inverse, attention };
    }
  }
}

/** By what the plain frequencies are divided where each has a divisor of its own (llama3), else null: [D/2]. */
export function ropeFactors(rope: RopeConfig, D: number): Float32Array<ArrayBuffer> | null {
  if (rope.type !== 'llama3') return null;
  const plain = frequencies({ ...rope, type: 'default' }, D, rope.maxPositions).inverse;
  const { inverse } = frequencies(rope, D, rope.maxPositions);
  return Float32Array.from(plain, (value, i) => value / (inverse[i] ?? 1));
}

/** The table for positions 0 … length-1 and head size D: [length, D], D/2 cosines then D/2 sines in each row. */
export function ropeTable(rope: RopeConfig, D: number, length: number): Float32Array<ArrayBuffer> {
  const { inverse, attention } = frequencies(rope, D, length);
  const table = new Float32Array(length * D);
  for (let position = 0; position < length; position++) {
    for (let i = 0; i < D / 2; i++) {
      const angle = f32(position * (inverse[i] ?? 0));
      table[position * D + i] = f32(Math.cos(angle)) * attention;
      table[position * D + D / 2 + i] = f32(Math.sin(angle)) * attention;
    }
  }
  return table;
}
