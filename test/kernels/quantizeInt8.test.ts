import { describe, expect, test } from 'vitest';
import { quantizeInt8 as append } from '../../src/kernels/quantizeInt8.ts';
import { quantizeInt8 } from '../../src/model/quantization.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { execute, testFamilies, useGpu } from './harness.ts';
import { hardValues, SOURCES, stored } from './quantized.ts';

useGpu();

describe('quantizeInt8', () => {
  for (const dtype of SOURCES) {
    testFamilies(`${dtype}, as on the CPU to the byte`, async (traits) => {
      for (const [rows, K, room] of [
        [24, 96, 24],
        [65, 96, 70],
        [9, 33, 9],
        [3, 700, 4],
        [5, 1, 5],
        [1, 6, 1],
      ] as const) {
        const memory = new Memory(traits.limits);
        const x = memory.declare('x', [room * K], { dtype });
        const size = memory.declare('size', [2], { dtype: 'u32' });
        const codes = memory.declare('codes', [room * K], { dtype: 'i8' });
        const absmax = memory.declare('absmax', [room]);
        const trace = new Trace(traits);
        append(trace, { x, size, codes, absmax });
        const { words, values } = stored(hardValues(rows * K, rows + K, dtype), dtype);
        const untouched = new Uint32Array(Math.ceil((room * K) / 4)).fill(0x7f7f7f7f);
        const uploads = [
          [codes, untouched],
          [absmax, new Float32Array(room).fill(-1)],
          [x, words],
          [size, Uint32Array.of(rows * K, K)],
        ] as const;
        const [gotCodes, gotAbsmax] = await execute(trace, memory, uploads, [codes, absmax]);
        const want = quantizeInt8(values, K);
        const got = new Int8Array(gotCodes!);
        expect(new Float32Array(gotAbsmax!), `absmax of [${rows}, ${K}]`).toEqual(
          Float32Array.from({ length: room }, (_, row) => want.absmax[row] ?? -1),
        );
        const wrong = want.codes.findIndex((code, i) => code !== got[i]);
        expect(wrong, `code ${wrong} of [${rows}, ${K}]: ${got[wrong]}, want ${want.codes[wrong]}`).toBe(-1);
        const begun = Math.ceil((rows * K) / 4) * 4;
        expect([...got.subarray(rows * K, begun)].every((code) => code === 0)).toBe(true);
        expect([...got.subarray(begun)].every((code) => code === 0x7f)).toBe(true);
      }
    });
  }

  test('the reference knows the landmarks', () => {
    // 127 / 2 = 63.5: 0.5 gives 31.75, a tie goes to the even code.
    const { codes, absmax } = quantizeInt8(Float32Array.of(2, -2, 0.5, 0, 1, -1), 6);
    expect([...absmax]).toEqual([2]);
    expect([...codes]).toEqual([127, -127, 32, 0, 64, -64]);
    expect([...quantizeInt8(Float32Array.of(0, 0, 3, -1.5), 2).codes]).toEqual([0, 0, 127, -64]);
  });
});
