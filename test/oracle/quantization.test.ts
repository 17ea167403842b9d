/**
 * Quantised weights against bitsandbytes, and 4-bit folders against transformers. Needs WEBGPU_SFT_ORACLE_PYTHON.
 *
 * The rule is that of the CUDA kernels, which the Python side spells out. Where there is no GPU, bitsandbytes runs other
 * code: it gives blocks of zeros the code 7 instead of 0 (both are zero), makes the maximum of a last, shorter block of zeros
 * 1e-38, sums a mean in another order and in float32 (so that one of huge numbers is infinite), and looks the codes of double quantisation up in a table that is too coarse to tell
 * near neighbours apart. Everything else must be the same bytes.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Gpu } from '../../src/gpu/device.ts';
import { dynamicMap, NF4 } from '../../src/kernels/codebooks.ts';
import { readStatistics } from '../../src/model/bnb.ts';
import { bytesToF32, isFloatDtype } from '../../src/model/dtype.ts';
import { exportBnb } from '../../src/model/exportBnb.ts';
import { Model } from '../../src/model/model.ts';
import { openModel } from '../../src/model/modelFiles.ts';
import {
  dequantizeAbsmax,
  dequantizeNf4,
  quantizeAbsmax,
  quantizeInt8,
  quantizeNf4,
} from '../../src/model/quantization.ts';
import { readSafetensors, type TensorInfo } from '../../src/model/safetensors.ts';
import { openFile, openFolder, openStore } from '../../src/platform/nodeFiles.ts';
import { saveFolder } from '../../src/platform/stores.ts';
import { download } from '../../src/tensor/memory.ts';
import { python, readFloats, runPython } from './python.ts';

interface Report {
  /** Bytes of codes that bitsandbytes' CPU code has otherwise, and those of them for which there is no reason. */
  readonly codes: number;
  readonly unexplained: number;
  readonly absmax: boolean;
  readonly ulps: number;
  readonly nested: readonly [number, number] | null;
  readonly nearer: number | null;
  readonly scales: boolean | null;
}

interface Folders {
  readonly different: readonly string[];
  readonly total: number;
  readonly linear: string;
  readonly head: string;
  /** Of logits, against their folder, and against the dequantised weights in float32. */
  readonly by_theirs: number;
  readonly by_weights: number;
}

const read = ({ source, offset, length }: TensorInfo) => source.read(offset, length);
const same = (a: ArrayBufferView, b: Uint8Array) =>
  Buffer.compare(Buffer.from(a.buffer, a.byteOffset, a.byteLength), b) === 0;

describe.skipIf(!python)('quantisation', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sft-quantization-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('codes, maxima and double quantisation are those of bitsandbytes', async () => {
    const report = runPython<Record<string, Report>>('quantization.py', ['quantize', folder]);
    const source = await openFile(join(folder, 'quantized.safetensors'));
    const { tensors } = await readSafetensors(source);
    const bytes = (name: string) => read(tensors.get(name)!);
    expect(same(dynamicMap(), await bytes('map'))).toBe(true);
    expect(same(Float32Array.from(NF4), await bytes('nf4'))).toBe(true);

    let [same8, total8] = [0, 0];
    for (const [key, theirs] of Object.entries(report)) {
      const [name, dtype, size] = key.split('|');
      const info = tensors.get(`${name}|${dtype}|values`)!;
      if (!isFloatDtype(info.dtype)) throw new Error(info.dtype);
      const values = bytesToF32(await read(info), info.dtype);
      const { codes, absmax } = quantizeNf4(values, Number(size));
      expect(same(codes, await bytes(`${key}|codes`)), `codes of ${key}`).toBe(true);
      expect(same(absmax, await bytes(`${key}|absmax`)), `absmax of ${key}`).toBe(true);
      const nested = quantizeAbsmax(absmax);
      expect(same(Float32Array.of(nested.offset), await bytes(`${key}|offset`)), `offset of ${key}`).toBe(true);
      expect(same(nested.absmax, await bytes(`${key}|nested absmax`)), `nested absmax of ${key}`).toBe(true);
      expect(same(nested.codes, await bytes(`${key}|nested codes`)), `nested codes of ${key}`).toBe(true);

      const zeros = name?.includes('zero') ?? false;
      expect(theirs.unexplained, key).toBe(0);
      expect(theirs.codes === 0 || zeros, `codes of ${key} as bitsandbytes made them`).toBe(true);
      expect(theirs.absmax || zeros, `absmax of ${key} as bitsandbytes made them`).toBe(true);
      if (!zeros && name !== 'extreme')
        expect(theirs.ulps, `offset of ${key} as bitsandbytes made it`).toBeLessThanOrEqual(4);
      if (theirs.nested === null || zeros) continue;
      expect(theirs.scales, key).toBe(true);
      expect(theirs.nearer, key).toBe(0);
      same8 += theirs.nested[1] - theirs.nested[0];
      total8 += theirs.nested[1];
    }
    expect(same8 / total8).toBeGreaterThan(0.99);
    console.log(`double quantisation: ${same8} of ${total8} codes are those of bitsandbytes' CPU code`);

    for (const [name, info] of tensors) {
      if (!name.endsWith('|values') || !isFloatDtype(info.dtype)) continue;
      const { codes, absmax } = quantizeInt8(bytesToF32(await read(info), info.dtype), info.shape[1]!);
      const key = name.replace(/values$/, 'int8');
      expect(same(absmax, await bytes(`${key} absmax`)), `${key} absmax`).toBe(true);
      expect(same(codes, await bytes(key)), key).toBe(true);
    }
    await source.close();
  });

  it('folders: transformers loads ours, we load theirs, and they are the same', async () => {
    runPython('quantization.py', ['make', folder]);
    const store = await openStore(folder);
    const gpu = await Gpu.open();
    const cases = [
      ['llama', true],
      ['qwen2', false],
    ] as const;
    for (const [kind, doubleQuant] of cases) {
      const files = await openModel(store.folder(kind));
      await saveFolder(store, `${kind}-ours`, (staged) => exportBnb(files, staged, { blockSize: 64, doubleQuant }));
      await files.checkpoint.close();
    }
    const answer = runPython<Record<string, Folders>>('quantization.py', ['check', folder]);
    for (const [kind, doubleQuant] of cases) {
      const { different, total, linear, head, by_theirs, by_weights } = answer[kind]!;
      // The mean of the maxima, and with it what is double-quantised, may be another on their CPU.
      const doubtful = /\.(absmax|nested_absmax|quant_state\.bitsandbytes__nf4)$/;
      expect(different.filter((name) => !doubleQuant || !doubtful.test(name))).toEqual([]);
      expect(total).toBeGreaterThan(14 * (doubleQuant ? 6 : 4));
      console.log(
        `${kind}: ${total - different.length} of ${total} tensors are those of transformers, bytes and names`,
      );
      expect([linear, head]).toEqual(['Linear4bit', 'Linear']);
      expect(by_theirs, `logits of ${kind}`).toBeLessThan(doubleQuant ? 0.01 : 1e-6);
      // bitsandbytes computes in 16 bits.
      expect(by_weights, `logits of ${kind}`).toBeLessThan(0.03);
      console.log(
        `${kind}: logits differ by ${by_theirs} from their folder's, ${by_weights} from the weights in float32`,
      );

      for (const name of [`${kind}-uint8`, `${kind}-bfloat16`, `${kind}-ours`]) {
        const files = await openModel(await openFolder(join(folder, name)));
        expect(files.quantized.size).toBe(14);
        const model = new Model(files, gpu.limits, { maxLength: 16, tuning: { mode: 'none' } });
        await model.load(gpu);
        const wanted = name.endsWith('ours') ? null : await readFloats(join(folder, `${name}.dequantized.safetensors`));
        expect(wanted?.size ?? 14).toBe(14);
        for (const [weight, stored] of files.quantized) {
          const { tensor } = model.parameters.all.get(weight)!;
          const codes = new Uint8Array(await download(gpu, model.memory, tensor)).subarray(0, stored.codes.length);
          expect(same(codes, await read(stored.codes)), `codes of ${weight} in ${name}`).toBe(true);
          const statistics = await readStatistics(stored);
          const absmax = statistics instanceof Float32Array ? statistics : dequantizeAbsmax(statistics);
          const count = stored.shape.reduce((product, size) => product * size, 1);
          const values = dequantizeNf4(codes, absmax, stored.blockSize, count);
          const want = wanted?.get(weight)?.values;
          if (want)
            expect(
              values.findIndex((value, i) => value !== want[i]),
              `${weight} in ${name}`,
            ).toBe(-1);
        }
        model.close(gpu);
        await files.checkpoint.close();
      }
    }
    await gpu.close();
  });
});
