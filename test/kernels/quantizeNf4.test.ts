import { describe, expect, test } from 'vitest';
import type { GpuTraits } from '../../src/gpu/device.ts';
import { NF4_BOUNDS } from '../../src/kernels/codebooks.ts';
import { quantizeNf4 as append } from '../../src/kernels/quantizeNf4.ts';
import { quantizeNf4 } from '../../src/model/quantization.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { execute, testFamilies, useGpu } from './harness.ts';
import { hardValues, SOURCES, type Source, stored } from './quantized.ts';

useGpu();

async function quantize(
  traits: GpuTraits,
  values: Float32Array<ArrayBuffer>,
  dtype: Source,
  blockSize: number,
  room = values.length,
) {
  const memory = new Memory(traits.limits);
  const x = memory.declare('x', [room], { dtype });
  const size = memory.declare('size', [1], { dtype: 'u32' });
  const codes = memory.declare('codes', [room], { dtype: 'nf4' });
  const absmax = memory.declare('absmax', [Math.ceil(room / blockSize)]);
  const trace = new Trace(traits);
  append(trace, { x, size, codes, absmax }, blockSize);
  const { words } = stored(values, dtype);
  const [gotCodes, gotAbsmax] = await execute(
    trace,
    memory,
    [
      [codes, new Uint32Array(Math.ceil(room / 8)).fill(0xabababab)],
      [x, words],
      [size, Uint32Array.of(values.length)],
    ],
    [codes, absmax],
  );
  return { codes: new Uint8Array(gotCodes!), absmax: new Float32Array(gotAbsmax!) };
}

describe('quantizeNf4', () => {
  for (const dtype of SOURCES) {
    testFamilies(`${dtype}, as on the CPU to the byte`, async (traits) => {
      for (const [count, blockSize] of [
        [4096, 64],
        [6151, 64],
        [5000, 32],
        [9217, 4096],
        [7, 64],
        [1, 128],
        [130, 64],
      ] as const) {
        const values = hardValues(count, count, dtype);
        const want = quantizeNf4(stored(values, dtype).values, blockSize);
        const got = await quantize(traits, values, dtype, blockSize);
        expect(got.absmax, `absmax of ${count} by ${blockSize}`).toEqual(want.absmax);
        const bytes = got.codes.subarray(0, want.codes.length);
        const wrong = bytes.findIndex((byte, i) => byte !== want.codes[i]);
        expect(wrong, `byte ${wrong} of ${count} by ${blockSize}: ${bytes[wrong]}, want ${want.codes[wrong]}`).toBe(-1);
        expect([...got.codes.subarray(want.codes.length)].every((byte) => byte === 0)).toBe(true);
      }
    });
  }

  testFamilies('fewer elements than there is room for leave the rest alone', async (traits) => {
    const values = hardValues(100, 3, 'f32');
    const got = await quantize(traits, values, 'f32', 64, 512);
    expect(got.codes.subarray(0, 50)).toEqual(quantizeNf4(values, 64).codes);
    expect([...got.codes.subarray(50, 52)]).toEqual([0, 0]);
    expect([...got.codes.subarray(52)].every((byte) => byte === 0xab)).toBe(true);
  });

  testFamilies('every bound, its neighbours, and divisors whose reciprocals are hard', async (traits) => {
    const bits = new Uint32Array(1);
    const float = new Float32Array(bits.buffer);
    const blocks: number[] = [];
    for (let i = 0; i < 600; i++) {
      // Mantissas next to powers of two and spread between them, with exponents from end to end.
      const mantissa = i < 200 ? i : i < 400 ? 0x7fffff - (i - 200) : Math.floor((i - 400) * 41943.7);
      bits[0] = ((1 + ((i * 53) % 254)) << 23) | mantissa;
      const absmax = float[0]!;
      const near = NF4_BOUNDS.flatMap((bound) => {
        float[0] = bound * absmax;
        const middle = bits[0]!;
        return [middle - 1, middle, middle + 1].map((neighbour) => {
          bits[0] = neighbour;
          return float[0]!;
        });
      });
      blocks.push(absmax, ...near, ...Array<number>(64 - 1 - near.length).fill(0));
    }
    const values = Float32Array.from(blocks);
    const got = await quantize(traits, values, 'f32', 64);
    const want = quantizeNf4(values, 64);
    expect(got.absmax).toEqual(want.absmax);
    expect(got.codes).toEqual(want.codes);
  });

  test('the reference knows the landmarks', () => {
    const { codes, absmax } = quantizeNf4(Float32Array.of(-1, 1, 0, 0.5, -2), 64);
    expect([...absmax]).toEqual([2]);
    // -0.5 → 2, 0.5 → 12, 0 → 7, 0.25 → 10, -1 → 0, and the half that nobody has is a zero: 7.
    expect([...codes]).toEqual([0x2c, 0x7a, 0x07]);
    expect(quantizeNf4(new Float32Array(3), 64)).toEqual({ codes: new Uint8Array(2), absmax: new Float32Array(1) });
  });
});
