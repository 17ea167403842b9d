import { describe, expect, test } from 'vitest';
import type { GpuTraits } from '../../src/gpu/device.ts';
import { dynamicMap } from '../../src/kernels/codebooks.ts';
import { quantizeAbsmax as append, statisticsWords } from '../../src/kernels/quantizeAbsmax.ts';
import { dequantizeAbsmax, quantizeAbsmax } from '../../src/model/quantization.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { execute, randomArray, testFamilies, useGpu } from './harness.ts';

useGpu();

async function quantize(traits: GpuTraits, values: Float32Array<ArrayBuffer>, room = values.length) {
  const memory = new Memory(traits.limits);
  const absmax = memory.declare('absmax', [room]);
  const size = memory.declare('size', [1], { dtype: 'u32' });
  const statistics = memory.declare('statistics', [statisticsWords(room, true)], { dtype: 'u32' });
  const trace = new Trace(traits);
  append(trace, { absmax, size, statistics });
  const uploads = [
    [absmax, values],
    [size, Uint32Array.of(values.length)],
    [statistics, dynamicMap()],
  ] as const;
  const [bytes] = await execute(trace, memory, uploads, [statistics]);
  const blocks = Math.ceil(values.length / 256);
  return {
    offset: new Float32Array(bytes!)[256]!,
    absmax: new Float32Array(bytes!, 257 * 4, blocks),
    codes: new Uint8Array(bytes!, (257 + blocks) * 4, values.length),
  };
}

const positive = (count: number, seed: number, scale = 0.1) => randomArray(count, seed, scale).map(Math.abs);

describe('quantizeAbsmax', () => {
  const cases: readonly [string, Float32Array<ArrayBuffer>][] = [
    ['one block', Float32Array.of(0.7)],
    ['a few', positive(9, 1)],
    ['an odd number', positive(1025, 2)],
    ['many', positive(20_000, 3)],
    ['none but zeros', new Float32Array(300)],
    ['a constant', new Float32Array(777).fill(0.1)],
    ['one outlier', positive(600, 4, 1e-3).map((value, i) => (i === 5 ? 9000 : value))],
    ['tiny', positive(300, 5, 1e-36).map((value) => value + 1e-37)],
    ['huge', positive(300, 6, 3e38)],
    ['of many magnitudes', positive(2000, 7).map((value, i) => value * 2 ** -(i % 60))],
  ];
  for (const [name, values] of cases) {
    testFamilies(`${name}, as on the CPU to the byte`, async (traits) => {
      const { map: _, ...want } = quantizeAbsmax(values);
      expect(await quantize(traits, values)).toEqual(want);
      if (name === 'many') expect(await quantize(traits, values, values.length + 3000)).toEqual(want);
    });
  }

  test('the reference knows the landmarks', () => {
    const nested = quantizeAbsmax(Float32Array.of(1, 2, 3, 4));
    expect(nested.offset).toBe(2.5);
    expect([...nested.absmax]).toEqual([1.5]);
    // −1 is not in the map, whose first entry is −0.9929…
    expect([nested.codes[0], nested.codes[3]]).toEqual([0, 255]);
    const back = dequantizeAbsmax(nested);
    expect(back[3]).toBe(4);
    expect(back[0]).toBeCloseTo(1, 1);
    expect(quantizeAbsmax(new Float32Array(3)).codes).toEqual(new Uint8Array(3));
  });

  test('the map', () => {
    const map = dynamicMap();
    expect([map.length, map[127], map[255], map[254]! + map[0]!]).toEqual([256, 0, 1, 0]);
    expect(map[254]).toBeCloseTo(0.9929687, 6);
    expect(map[128]).toBeCloseTo(5.5e-7, 12);
    expect(map.every((value, i) => i === 0 || value > map[i - 1]!)).toBe(true);
  });
});
