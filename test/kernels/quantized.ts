/** What the tests of quantising kernels share: hard numbers, and the words of a tensor as a checkpoint has them. */
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../../src/model/dtype.ts';
import { randomArray } from './harness.ts';

export const SOURCES = ['f32', 'f16', 'bf16'] as const;
export type Source = (typeof SOURCES)[number];

/** Values rounded to a storage type: the words to upload, and the float32 numbers that they are. */
export function stored(values: Float32Array<ArrayBuffer>, dtype: Source) {
  if (dtype === 'f32') return { words: values, values };
  const halves = new Uint16Array(Math.ceil(values.length / 2) * 2);
  halves.set(dtype === 'f16' ? f32ToF16(values) : f32ToBf16(values));
  const exact = (dtype === 'f16' ? f16ToF32 : bf16ToF32)(halves).subarray(0, values.length);
  return { words: new Uint32Array(halves.buffer), values: exact };
}

/** A tensor with blocks of every kind: ordinary, zero, constant, tiny, huge, subnormal, one number far above the others. */
export function hardValues(count: number, seed: number, dtype: Source): Float32Array<ArrayBuffer> {
  const values = randomArray(count, seed, 0.05);
  const [tiny, huge] = dtype === 'f16' ? [1e-6, 3e4] : [2e-38, 3e38];
  const kinds = [
    (value: number) => value,
    () => 0,
    () => -0.37,
    (value: number) => value * 20 * tiny,
    (value: number) => value * 20 * huge,
    (value: number) => value * 1e-38,
    (value: number, i: number) => (i % 61 === 0 ? 3 : value * 1e-3),
    (value: number, i: number) => (i % 3 === 0 ? 0 : value),
  ];
  return values.map((value, i) => kinds[Math.floor(i / 96) % kinds.length]!(value, i));
}
