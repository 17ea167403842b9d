import { describe, expect, test } from 'vitest';
import type { GpuTraits } from '../../src/gpu/device.ts';
import { castInto } from '../../src/kernels/cast.ts';
import { bytesOf, type Dtype } from '../../src/kernels/define.ts';
import { Memory } from '../../src/tensor/memory.ts';
import * as ops from '../../src/tensor/ops.ts';
import { Tape } from '../../src/tensor/tape.ts';
import { execute, randomArray, testFamilies, useGpu, type Values } from './harness.ts';

useGpu();

interface Format {
  readonly mantissaBits: number;
  readonly smallestExponent: number;
  readonly bias: number;
  readonly infinity: number;
}

const FORMATS: Record<'f16' | 'bf16', Format> = {
  f16: { mantissaBits: 10, smallestExponent: -14, bias: 15, infinity: 0x7c00 },
  bf16: { mantissaBits: 7, smallestExponent: -126, bias: 127, infinity: 0x7f80 },
};

/** The bits of the nearest value, ties to even, by float64 arithmetic, which is exact here. */
function encode(value: number, { mantissaBits, smallestExponent, bias, infinity }: Format): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size === 0) return sign;
  if (size === Number.POSITIVE_INFINITY) return sign | infinity;
  const exponent = Math.max(Math.floor(Math.log2(size)), smallestExponent);
  const steps = size / 2 ** (exponent - mantissaBits);
  const below = Math.floor(steps);
  const rest = steps - below;
  const rounded = rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
  // A mantissa that rounds up to the next power of two carries into the exponent; a subnormal one has no implicit bit.
  const bits = (exponent + bias - 1) * 2 ** mantissaBits + rounded;
  return sign | Math.min(bits, infinity);
}

function decode(bits: number, { mantissaBits, smallestExponent, bias, infinity }: Format): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const size = bits & 0x7fff;
  if (size >= infinity) return size === infinity ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  const exponent = size >> mantissaBits;
  const mantissa = size % 2 ** mantissaBits;
  if (exponent === 0) return sign * mantissa * 2 ** (smallestExponent - mantissaBits);
  return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
}

function pack(halves: ArrayLike<number>): Uint32Array<ArrayBuffer> {
  const padded = new Uint16Array(Math.ceil(halves.length / 2) * 2);
  padded.set(halves);
  return new Uint32Array(padded.buffer);
}

const everyHalf = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** Every finite number of a format, the middle of each and the next, and the f32 numbers just beside that middle. */
function hardNumbers(format: Format): Float32Array<ArrayBuffer> {
  const numbers: number[] = [];
  const bits = new Int32Array(1);
  const float = new Float32Array(bits.buffer);
  for (let half = 0; half < format.infinity; half++) {
    const here = decode(half, format);
    const next = half + 1 === format.infinity ? 2 * here - decode(half - 1, format) : decode(half + 1, format);
    float[0] = (here + next) / 2;
    const middle = bits[0]!;
    numbers.push(here);
    for (const neighbour of [middle - 1, middle, middle + 1]) {
      bits[0] = neighbour;
      numbers.push(float[0]);
    }
  }
  return Float32Array.from([
    ...numbers,
    ...numbers.map((value) => -value),
    3e38,
    -3e38,
    1e-45,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  ]);
}

async function castOnce(
  traits: GpuTraits,
  count: number,
  from: Dtype,
  to: Dtype,
  values: Values,
): Promise<ArrayBuffer> {
  const memory = new Memory(traits.limits);
  const x = memory.declare('x', [count], { dtype: from });
  const y = memory.declare('y', [count], { dtype: to });
  const tape = new Tape(traits, null);
  castInto(tape, x, y);
  const [result] = await execute(tape, memory, [[x, values]], [y]);
  return result!;
}

/** WGSL lets a GPU take subnormal f32 numbers for zero, which only bf16 has. */
const flushed = (value: number) => (Math.abs(value) < 2 ** -126 ? 0 : value);

describe('cast', () => {
  for (const name of ['f16', 'bf16'] as const) {
    const format = FORMATS[name];

    testFamilies(`every ${name} to f32`, async (traits) => {
      const got = new Float32Array(await castOnce(traits, 65536, name, 'f32', pack(everyHalf)));
      const wrong = everyHalf.findIndex((half) => {
        const want = decode(half, format);
        return !Number.isNaN(want) && got[half] !== want && got[half] !== flushed(want);
      });
      expect(wrong, `first wrong half: ${got[wrong]}, expected ${decode(wrong, format)}`).toBe(-1);
    });

    testFamilies(`f32 to ${name}: every value, every tie, overflow`, async (traits) => {
      const numbers = hardNumbers(format);
      expect(numbers.length % 2, 'an odd number of elements').toBe(1);
      const got = new Uint16Array(await castOnce(traits, numbers.length, 'f32', name, numbers));
      const wrong = numbers.findIndex(
        (value, i) => got[i] !== encode(value, format) && got[i] !== encode(flushed(value), format),
      );
      expect(
        wrong,
        `${numbers[wrong]}: 0x${got[wrong]?.toString(16)}, expected 0x${encode(numbers[wrong]!, format).toString(16)}`,
      ).toBe(-1);
      expect(got.at(-1), 'the element after an odd last one').toBe(0);
    });

    const other = name === 'f16' ? 'bf16' : 'f16';
    testFamilies(`every ${name} to ${other}`, async (traits) => {
      const got = new Uint16Array(await castOnce(traits, 65536, name, other, pack(everyHalf)));
      const wrong = everyHalf.findIndex((half) => {
        const value = decode(half, format);
        return (
          !Number.isNaN(value) &&
          got[half] !== encode(value, FORMATS[other]) &&
          got[half] !== encode(flushed(value), FORMATS[other])
        );
      });
      expect(wrong, `first wrong half: 0x${got[wrong]?.toString(16)}`).toBe(-1);
    });
  }

  testFamilies('a type to itself', async (traits) => {
    const numbers = randomArray(33, 1);
    expect(new Float32Array(await castOnce(traits, 33, 'f32', 'f32', numbers))).toEqual(numbers);
    const halves = Uint16Array.from({ length: 34 }, (_, i) => 0x3c00 + i * 7);
    for (const type of ['f16', 'bf16'] as const)
      expect(new Uint16Array(await castOnce(traits, 34, type, type, pack(halves)))).toEqual(halves);
  });

  testFamilies('as an op', async (traits) => {
    const memory = new Memory(traits.limits);
    const x = memory.declare('x', [3, 5]);
    const y = memory.declare('y', [3, 5]);
    const tape = new Tape(traits, null);
    const half = tape.apply(ops.cast, { x }, { dtype: 'f16' });
    expect([half.dtype, half.shape, bytesOf(half)]).toEqual(['f16', [3, 5], 32]);
    castInto(tape, half, y);
    const values = randomArray(15, 3);
    const [result] = await execute(tape, memory, [[x, values]], [y]);
    expect(new Float32Array(result!)).toEqual(values.map((value) => decode(encode(value, FORMATS.f16), FORMATS.f16)));
  });

  test('the reference knows the landmarks', () => {
    const { f16, bf16 } = FORMATS;
    expect([65504, 65519.99, 65520, 2 ** -24, 2 ** -25, 1].map((value) => encode(value, f16))).toEqual([
      0x7bff, 0x7bff, 0x7c00, 1, 0, 0x3c00,
    ]);
    expect([1, -2, 1 + 2 ** -8, 1 + 3 * 2 ** -8].map((value) => encode(value, bf16))).toEqual([
      0x3f80, 0xc000, 0x3f80, 0x3f82,
    ]);
  });
});
