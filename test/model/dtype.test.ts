import { describe, expect, it } from 'vitest';
import {
  bf16ToF32,
  byteLength,
  bytesToF32,
  f16ToF32,
  f32ToBf16,
  f32ToBytes,
  f32ToF16,
  findNonFinite,
  refuseNonFinite,
} from '../../src/model/dtype.ts';

const ALL = Uint16Array.from({ length: 65536 }, (_, bits) => bits);

/** The value of a small float by its definition. */
function decode(bits: number, exponentBits: number, mantissaBits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> mantissaBits) & (2 ** exponentBits - 1);
  const mantissa = bits & (2 ** mantissaBits - 1);
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
  return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
}

/** Rounds to the nearest of all values of a format, to the even one of two: slow and plainly right. */
function nearest(value: number, positive: readonly number[], limit: number): number {
  const size = Math.abs(value);
  let bits: number;
  if (size >= limit) bits = positive.length;
  else {
    let low = 0;
    let high = positive.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (positive[middle]! <= size) low = middle;
      else high = middle;
    }
    const [below, above] = [size - positive[low]!, positive[high]! - size];
    bits = below < above || (below === above && low % 2 === 0) ? low : high;
  }
  return bits | (Object.is(value, -size) && size !== value ? 0x8000 : 0);
}

describe.each([
  { name: 'float16', exponent: 5, mantissa: 10, widen: f16ToF32, narrow: f32ToF16 },
  { name: 'bfloat16', exponent: 8, mantissa: 7, widen: bf16ToF32, narrow: f32ToBf16 },
])('$name', ({ exponent, mantissa, widen, narrow }) => {
  const expected = [...ALL].map((bits) => decode(bits, exponent, mantissa));
  const finite = expected.slice(0, (2 ** exponent - 1) * 2 ** mantissa);
  const largest = finite.at(-1)!;
  const limit = largest + (largest - finite.at(-2)!) / 2;

  it('widens all 65536 values', () => {
    const widened = widen(ALL);
    for (let bits = 0; bits < 65536; bits++) {
      if (!Object.is(widened[bits], expected[bits]))
        expect(widened[bits], `0x${bits.toString(16)}`).toBe(expected[bits]);
    }
  });

  it('narrows all 65536 values to themselves, NaN to quiet NaN', () => {
    const narrowed = narrow(widen(ALL));
    const quiet = 2 ** (mantissa - 1);
    for (let bits = 0; bits < 65536; bits++) {
      const wanted = Number.isNaN(expected[bits]) ? bits | quiet : bits;
      if (narrowed[bits] !== wanted) expect(narrowed[bits], `0x${bits.toString(16)}`).toBe(wanted);
    }
  });

  it('rounds to nearest, ties to even, at, just below and just above every tie', () => {
    const values = new Float32Array(2 * 3 * finite.length);
    const bits = new Uint32Array(values.buffer);
    for (let i = 0; i < finite.length; i++) {
      const above = finite[i + 1] ?? largest + (largest - finite.at(-2)!);
      for (let j = 0; j < 3; j++) {
        const at = 6 * i + 2 * j;
        values[at] = (finite[i]! + above) / 2;
        bits[at]! += j - 1;
        values[at + 1] = -values[at]!;
      }
    }
    const narrowed = narrow(values);
    for (let i = 0; i < values.length; i++) {
      const wanted = nearest(values[i]!, finite, limit);
      if (narrowed[i] !== wanted) expect(narrowed[i], `${values[i]}`).toBe(wanted);
    }
  });

  it('rounds numbers of all sizes', () => {
    const bits = Uint32Array.from({ length: 200_000 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 0);
    const values = new Float32Array(bits.buffer);
    const narrowed = narrow(values);
    for (let i = 0; i < values.length; i++) {
      if (Number.isNaN(values[i])) continue;
      const wanted = nearest(values[i]!, finite, limit);
      if (narrowed[i] !== wanted) expect(narrowed[i], `${values[i]}`).toBe(wanted);
    }
  });
});

describe('bytes', () => {
  it('become numbers and numbers bytes', () => {
    const values = new Float32Array([1, -2.5, 65504]);
    for (const dtype of ['F32', 'F16'] as const) expect(bytesToF32(f32ToBytes(values, dtype), dtype)).toEqual(values);
    expect(f32ToBytes(values, 'BF16')).toEqual(new Uint8Array([0x80, 0x3f, 0x20, 0xc0, 0x80, 0x47]));
  });

  it('are counted by dtype and shape', () => {
    expect(byteLength('F32', [2, 3])).toBe(24);
    expect(byteLength('BF16', [])).toBe(2);
    expect(byteLength('F64', [0, 7])).toBe(0);
    expect(byteLength('F4', [4])).toBe(2);
    expect(byteLength('F6_E2M3', [4])).toBe(3);
    expect(byteLength('F4', [3])).toBeNull();
    expect(byteLength('U8', [2 ** 52, 2])).toBeNull();
    expect(byteLength('F32', [150_000, 2 ** 20])).toBe(629_145_600_000);
  });
});

describe('findNonFinite', () => {
  it.each(['F32', 'F16', 'BF16'] as const)('finds the first NaN or infinity in %s', (dtype) => {
    const fine = new Float32Array([0, -0, 1e-30, -60_000, 3]);
    expect(findNonFinite(f32ToBytes(fine, dtype), dtype)).toBe(-1);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(findNonFinite(f32ToBytes(new Float32Array([1, 2, bad, bad]), dtype), dtype)).toBe(2);
    }
  });

  it('names the tensor and the element', () => {
    const bytes = f32ToBytes(new Float32Array([1, Number.NaN]), 'F16');
    expect(() => refuseNonFinite('lm_head.weight', 'F16', bytes, { offset: 200 })).toThrow(
      'lm_head.weight: expected finite numbers, got NaN at element 101',
    );
  });
});
