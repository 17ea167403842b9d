import { describe, expect, it } from 'vitest';
import { ARCHITECTURES } from '../../src/model/architectures/registry.ts';
import { resolvePrecision } from '../../src/train/precision.ts';
import { traits } from '../kernels/traits.ts';

const spec = (intermediate_size: number) =>
  ARCHITECTURES.llama!.parse(
    {
      model_type: 'llama',
      vocab_size: 11,
      hidden_size: 8,
      intermediate_size,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      max_position_embeddings: 16,
    },
    'config.json',
  );
const gpu = { ...traits, nativeF16: true };

describe('resolvePrecision', () => {
  it('auto is float16 on a GPU whose shaders have it', () => {
    expect(resolvePrecision('auto', gpu, spec(6))).toEqual({ precision: 'float16', warning: null });
    expect(resolvePrecision('auto', traits, spec(6)).precision).toBe('float32');
    expect(resolvePrecision('auto', { ...gpu, family: 'broadcast' }, spec(6)).precision).toBe('float32');
    expect(resolvePrecision('float32', gpu, spec(6)).precision).toBe('float32');
  });

  it('float16 needs no feature, but rows of an even length', () => {
    expect(resolvePrecision('float16', { ...traits, family: 'registers' }, spec(6)).precision).toBe('float16');
    const { precision, warning } = resolvePrecision('auto', gpu, spec(7));
    expect([precision, warning]).toEqual(['float32', expect.stringContaining('an even intermediate_size')]);
    expect(() => resolvePrecision('float16', traits, spec(7))).toThrow('the model has 7');
    expect(resolvePrecision('float32', traits, spec(7)).warning).toBeNull();
  });
});
