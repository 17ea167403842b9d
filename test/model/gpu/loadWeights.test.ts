/** Weights that are quantised while they are loaded: to the byte as on the CPU, in the bytes that were planned. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Gpu } from '../../../src/gpu/device.ts';
import { sumBytes } from '../../../src/gpu/ledger.ts';
import { bytesToF32, type FloatDtype, isFloatDtype } from '../../../src/model/dtype.ts';
import { Model } from '../../../src/model/model.ts';
import { openModel } from '../../../src/model/modelFiles.ts';
import {
  type QuantizationOptions,
  quantizeAbsmax,
  quantizeInt8,
  quantizeNf4,
} from '../../../src/model/quantization.ts';
import { readTensor, type TensorInfo } from '../../../src/model/safetensors.ts';
import { concatBytes } from '../../../src/platform/stores.ts';
import { download } from '../../../src/tensor/memory.ts';
import { TINY_LLAMA, TINY_QWEN2 } from '../../train/gpu/fixtures.ts';
import { randomFolder } from '../checkpoints.ts';

async function valuesOf(info: TensorInfo): Promise<Float32Array> {
  const parts: Uint8Array[] = [];
  for await (const part of readTensor(info)) parts.push(part.slice());
  return bytesToF32(concatBytes(parts), info.dtype as FloatDtype);
}

const bytesOf = (...parts: (Float32Array | Uint8Array | Int8Array)[]) =>
  concatBytes(parts.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength)));

/** Codes and statistics of a matrix as its tensors hold them. */
function expected(values: Float32Array, K: number, { type, blockSize, doubleQuant }: QuantizationOptions) {
  if (type === 'int8') {
    const { codes, absmax } = quantizeInt8(values, K);
    return { codes: bytesOf(codes), statistics: bytesOf(absmax) };
  }
  const { codes, absmax } = quantizeNf4(values, blockSize);
  if (!doubleQuant) return { codes, statistics: bytesOf(absmax) };
  const nested = quantizeAbsmax(absmax);
  return { codes, statistics: bytesOf(nested.map, Float32Array.of(nested.offset), nested.absmax, nested.codes) };
}

/** Large enough that matrices are split and that they stream in slices. */
const LARGER = {
  ...TINY_LLAMA,
  hidden_size: 264,
  intermediate_size: 700,
  num_attention_heads: 6,
  num_key_value_heads: 3,
};

const CASES: readonly [string, object, FloatDtype, QuantizationOptions, number][] = [
  ['bf16 to nf4', TINY_QWEN2, 'BF16', { type: 'nf4', blockSize: 64, doubleQuant: true }, 0],
  ['f16 to nf4 without double quantisation', TINY_LLAMA, 'F16', { type: 'nf4', blockSize: 128, doubleQuant: false }, 0],
  ['f32 to nf4', TINY_LLAMA, 'F32', { type: 'nf4', blockSize: 4096, doubleQuant: true }, 0],
  ['bf16 to int8', TINY_LLAMA, 'BF16', { type: 'int8', blockSize: 64, doubleQuant: true }, 0],
  ['f32 to nf4 in slices and parts', LARGER, 'F32', { type: 'nf4', blockSize: 64, doubleQuant: true }, 2 ** 16],
  ['f16 to nf4, large blocks over parts', LARGER, 'F16', { type: 'nf4', blockSize: 1024, doubleQuant: false }, 2 ** 16],
  ['f16 to int8 in slices and parts', LARGER, 'F16', { type: 'int8', blockSize: 64, doubleQuant: false }, 2 ** 16],
];

describe('loading quantised weights', () => {
  let gpu: Gpu;
  beforeEach(async () => {
    gpu = await Gpu.open();
  });
  afterEach(() => gpu.close());

  it.each(CASES)('%s', async (_, config, dtype, quantization, bindingBytes) => {
    const files = await openModel(await randomFolder(config, dtype));
    const limits = bindingBytes ? { ...gpu.limits, bindingBytes } : gpu.limits;
    const model = new Model(files, limits, { maxLength: 16, tuning: { mode: 'none' }, quantization });
    const planned = sumBytes(model.memory.bytes());
    gpu.ledger.resetPeak();
    await model.load(gpu);
    expect(gpu.ledger.peak.bytes).toBe(planned + model.stagingBytes());
    expect(sumBytes(gpu.ledger.live)).toBe(planned);

    const linears = new Set(model.decoder.linears.map(({ path }) => `${path}.weight`));
    let split = 0;
    for (const { name, tensor, shape } of model.parameters.all.values()) {
      const info = files.checkpoint.tensors.get(name)!;
      expect(isFloatDtype(info.dtype)).toBe(true);
      if (!linears.has(name)) {
        expect(tensor.dtype, name).toBe(shape.length === 1 ? 'f32' : dtype.toLowerCase());
        continue;
      }
      split += (tensor.shards?.length ?? 1) > 1 ? 1 : 0;
      const want = expected(await valuesOf(info), shape[1]!, quantization);
      const codes = new Uint8Array(await download(gpu, model.memory, tensor));
      expect(Buffer.compare(codes.subarray(0, want.codes.length), want.codes), `codes of ${name}`).toBe(0);
      const { statistics } = tensor.quantization!;
      const got = new Uint8Array(await download(gpu, model.memory, statistics));
      expect(Buffer.compare(got.subarray(0, want.statistics.length), want.statistics), `statistics of ${name}`).toBe(0);
    }
    expect(split > 0).toBe(bindingBytes > 0);
    model.close(gpu);
    await gpu.collect();
    expect(gpu.ledger.count).toBe(0);
  });

  it('NaN in a weight is named, and nothing stays behind', async () => {
    const folder = await randomFolder(TINY_LLAMA, 'F32');
    const files = await openModel(folder);
    const info = files.checkpoint.tensors.get('model.layers.1.mlp.up_proj.weight')!;
    const source = {
      ...info.source,
      async read(offset: number, length: number) {
        const bytes = (await info.source.read(offset, length)).slice();
        const at = info.offset + 4 * 77 - offset;
        if (at >= 0 && at < length) new DataView(bytes.buffer).setFloat32(at, Number.NaN, true);
        return bytes;
      },
    };
    const tensors = new Map(files.checkpoint.tensors).set(info.name, { ...info, source });
    const quantization = { type: 'nf4', blockSize: 64, doubleQuant: true } as const;
    const damaged = { ...files, checkpoint: { ...files.checkpoint, tensors } };
    const model = new Model(damaged, gpu.limits, { maxLength: 16, tuning: { mode: 'none' }, quantization });
    await expect(model.load(gpu)).rejects.toThrow(
      'model.layers.1.mlp.up_proj.weight: expected finite numbers, got NaN at element 77',
    );
    model.close(gpu);
    await gpu.collect();
    expect(gpu.ledger.count).toBe(0);
  });
});
