import { describe, expect, test } from 'vitest';
import { dequantize } from '../../src/kernels/dequantize.ts';
import { statisticsWords } from '../../src/kernels/quantizeAbsmax.ts';
import {
  dequantizeAbsmax,
  dequantizeInt8,
  dequantizeNf4,
  quantizeAbsmax,
  quantizeInt8,
  quantizeNf4,
} from '../../src/model/quantization.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { execute, expectClose, randomArray, testFamilies, useGpu, type Values } from './harness.ts';
import { limits } from './traits.ts';

const useDevice = useGpu();

function words(bytes: Uint8Array | Int8Array): Uint32Array<ArrayBuffer> {
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  padded.set(bytes);
  return new Uint32Array(padded.buffer);
}

describe('dequantize', () => {
  for (const [name, rows, K, blockSize, nested, bindingBytes] of [
    ['nf4', 12, 40, 64, false, 0],
    ['nf4, nested', 30, 96, 32, true, 0],
    ['nf4, split by rows in the middle of blocks', 24, 40, 256, true, 256],
    ['i8', 7, 33, 33, false, 0],
    ['i8, split by rows', 40, 16, 16, false, 256],
  ] as const) {
    testFamilies(name, async (traits) => {
      const dtype = name.startsWith('nf4') ? 'nf4' : 'i8';
      const memory = new Memory(bindingBytes ? { ...limits, bindingBytes } : traits.limits);
      const values = randomArray(rows * K, 5);
      const blocks = Math.ceil((rows * K) / blockSize);
      const room = new Memory(traits.limits, memory);
      const statistics = room.declare('statistics', [statisticsWords(blocks, nested)], { dtype: 'u32' });
      const quantization = { blockSize, nested, statistics };
      const w = memory.declare('w', [rows, K], { dtype, quantization });
      expect((w.shards?.length ?? 1) > 1).toBe(bindingBytes > 0);
      expect((w.shards ?? [w]).every((shard) => shard.quantization === quantization)).toBe(true);
      const y = room.declare('y', [rows, K]);
      const trace = new Trace(traits);
      dequantize(trace, w, y);

      let want: Float32Array;
      const uploads: [typeof w, Values][] = [];
      if (dtype === 'i8') {
        const { codes, absmax } = quantizeInt8(values, K);
        uploads.push([w, words(codes)], [statistics, absmax]);
        want = dequantizeInt8(codes, absmax, K);
      } else {
        const { codes, absmax } = quantizeNf4(values, blockSize);
        const nest = quantizeAbsmax(absmax);
        const all = [nest.map, Float32Array.of(nest.offset), nest.absmax].map((part) =>
          words(new Uint8Array(part.buffer)),
        );
        const joined = Uint32Array.from([...all.flatMap((part) => [...part]), ...words(nest.codes)]);
        uploads.push([w, words(codes)], [statistics, nested ? joined : absmax]);
        want = dequantizeNf4(codes, nested ? dequantizeAbsmax(nest) : absmax, blockSize, rows * K);
      }
      await memory.allocate(useDevice());
      const [got] = await execute(trace, room, uploads, [y]);
      memory.close(useDevice());
      await useDevice().collect();
      expectClose(name, new Float32Array(got!), want, 1e-6);
      const error = values.reduce((most, value, i) => Math.max(most, Math.abs(value - want[i]!)), 0);
      expect(error).toBeLessThan(dtype === 'i8' ? 0.005 : 0.2);
    });
  }

  test('codes that begin in the middle of a matrix', () => {
    const values = randomArray(256, 6);
    const { codes, absmax } = quantizeNf4(values, 64);
    const whole = dequantizeNf4(codes, absmax, 64, 256);
    expect(dequantizeNf4(codes.subarray(50), absmax, 64, 100, 100)).toEqual(whole.subarray(100, 200));
  });
});
