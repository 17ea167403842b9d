/** 4-bit folders of bitsandbytes: what is written can be read, and what lies is refused. */
import { describe, expect, it } from 'vitest';
import { checkQuantizationConfig, readDequantized, readStatistics } from '../../src/model/bnb.ts';
import { openCheckpoint, writeCheckpoint } from '../../src/model/checkpoint.ts';
import { bytesToF32, type FloatDtype } from '../../src/model/dtype.ts';
import { exportBnb, pythonFloat } from '../../src/model/exportBnb.ts';
import { Model } from '../../src/model/model.ts';
import { type ModelFiles, openModel } from '../../src/model/modelFiles.ts';
import { quantizedValues } from '../../src/model/quantization.ts';
import type { TensorToWrite } from '../../src/model/safetensors.ts';
import { readBytes, readText } from '../../src/platform/sources.ts';
import { memoryStore, saveFolder } from '../../src/platform/stores.ts';
import type { ReadableFolder } from '../../src/platform/types.ts';
import { limits } from '../kernels/traits.ts';
import { TINY_LLAMA } from '../train/gpu/fixtures.ts';
import { randomFolder } from './checkpoints.ts';

const Q = 'model.layers.0.self_attn.q_proj.weight';
const STATE = `${Q}.quant_state.bitsandbytes__nf4`;

async function exported(doubleQuant: boolean, blockSize = 64, dtype: FloatDtype = 'BF16'): Promise<ReadableFolder> {
  const files = await openModel(await randomFolder(TINY_LLAMA, dtype));
  const store = memoryStore();
  await saveFolder(store, 'bnb', (staged) => exportBnb(files, staged, { blockSize, doubleQuant }));
  return store.folder('bnb');
}

type Parts = Map<string, Omit<TensorToWrite, 'bytes'> & { content: Uint8Array<ArrayBuffer> }>;

/** The folder with some of its tensors changed. */
async function changed(folder: ReadableFolder, change: (parts: Parts) => void): Promise<ReadableFolder> {
  const checkpoint = await openCheckpoint(folder);
  const parts: Parts = new Map();
  for (const { name, dtype, shape, source, offset, length } of checkpoint.tensors.values())
    parts.set(name, { name, dtype, shape, content: await source.read(offset, length) });
  change(parts);
  const store = memoryStore();
  await saveFolder(store, 'bnb', async (staged) => {
    await staged.write('config.json', await readBytes(folder, 'config.json'));
    await writeCheckpoint(
      staged,
      [...parts.values()].map(({ content, ...part }) => ({ ...part, bytes: () => [content] })),
    );
  });
  return store.folder('bnb');
}

const resized = (parts: Parts, name: string, bytes: number, elements: number) => {
  const part = parts.get(name)!;
  parts.set(name, { ...part, shape: [elements], content: part.content.slice(0, bytes) });
};

const state = (edit: (text: string) => string) => (parts: Parts) => {
  const content = new TextEncoder().encode(edit(new TextDecoder().decode(parts.get(STATE)!.content)));
  parts.set(STATE, { ...parts.get(STATE)!, shape: [content.length], content });
};

const renamed = (from: string, to: string) => (parts: Parts) => {
  parts.set(to, { ...parts.get(from)!, name: to });
  parts.delete(from);
};

function declare(files: ModelFiles): Model {
  return new Model(files, limits, { maxLength: 16, tuning: { mode: 'none' } });
}

describe('a 4-bit folder', () => {
  it.each([
    ['with double quantisation', true, 64],
    ['without', false, 128],
  ] as const)('%s is read as it was written', async (_, doubleQuant, blockSize) => {
    const folder = await exported(doubleQuant, blockSize);
    const files = await openModel(folder);
    const base = await openModel(await randomFolder(TINY_LLAMA, 'BF16'));
    expect(files.quantized.size).toBe(14);
    for (const [name, weight] of files.quantized) {
      const info = base.checkpoint.tensors.get(name)!;
      const values = bytesToF32(await info.source.read(info.offset, info.length), 'BF16');
      const want = quantizedValues(values, info.shape[1]!, { type: 'nf4', blockSize, doubleQuant });
      expect(weight.shape).toEqual(info.shape);
      expect(await readDequantized(weight)).toEqual(want);
    }
    const model = declare(files);
    expect(model.quantization).toEqual({ type: 'nf4', blockSize, doubleQuant });
    expect(model.decoder.head.dtype).toBe('bf16');
    const config = JSON.parse(await readText(folder, 'config.json')) as Record<string, Record<string, unknown>>;
    expect(config.quantization_config).toMatchObject({ load_in_4bit: true, bnb_4bit_use_double_quant: doubleQuant });
  });

  it('weights that are stored in another dtype are the same bytes', async () => {
    const folder = await changed(await exported(true), (parts) => {
      for (const [name, part] of parts) {
        if (part.dtype !== 'U8' || !name.endsWith('.weight')) continue;
        parts.set(name, { ...part, dtype: 'BF16', shape: [part.content.length / 2, 1] });
      }
    });
    const files = await openModel(folder);
    expect(declare(files).parameters.all.get(Q)!.tensor.dtype).toBe('nf4');
    await readStatistics(files.quantized.get(Q)!);
  });

  it('it cannot be trained as a whole, quantised otherwise, or exported again', async () => {
    const files = await openModel(await exported(true));
    const full = { maxLength: 16, tuning: { mode: 'full' } } as const;
    expect(() => new Model(files, limits, full)).toThrow('expected unquantised weights for tuning.mode full');
    const int8 = { type: 'int8', blockSize: 64, doubleQuant: false } as const;
    const options = { maxLength: 16, tuning: { mode: 'none' }, quantization: int8 } as const;
    expect(() => new Model(files, limits, options)).toThrow('expected unquantised weights for int8');
    await expect(
      saveFolder(memoryStore(), 'x', (staged) => exportBnb(files, staged, { blockSize: 64, doubleQuant: true })),
    ).rejects.toThrow('got weights in 4 bits already');
  });

  // Whether the folder can be opened at all, or its headers, decides; statistics are read with the weights.
  const lies: readonly [string, (parts: Parts) => void, string | RegExp][] = [
    [
      'codes cut off',
      (parts) => resized(parts, Q, 100, 100),
      `${Q}: expected 1152 bytes for a matrix of [48, 48], got 100`,
    ],
    ['maxima cut off', (parts) => resized(parts, `${Q}.absmax`, 30, 30), `${Q}.absmax: expected U8 [36], got U8 [30]`],
    ['no maxima', (parts) => void parts.delete(`${Q}.absmax`), `${Q}: expected it with ${Q}.absmax, which is missing`],
    ['no map', (parts) => void parts.delete(`${Q}.nested_quant_map`), `${Q}: expected it with ${Q}.nested_quant_map`],
    ['no JSON', (parts) => void parts.delete(STATE), `${Q}: expected it with ${STATE}, which is missing`],
    ['no codes', (parts) => void parts.delete(Q), /describes .*q_proj\.weight, which is missing/],
    [
      'a block size that does not fit',
      state((text) => text.replace('64', '32')),
      `${Q}.absmax: expected U8 [72], got U8 [36]`,
    ],
    [
      'a block size that does not exist',
      state((text) => text.replace('64', '48')),
      'blocksize: expected one of 32, 64, 128',
    ],
    ['fp4 where nf4 is claimed', state((text) => text.replace('nf4', 'fp4')), 'quant_type: expected "nf4", got "fp4"'],
    ['fp4', renamed(STATE, `${Q}.quant_state.bitsandbytes__fp4`), 'expected NF4 codes, got FP4'],
    ['an unknown key', state((text) => text.replace('{', '{"extra": 1, ')), 'Unrecognized key: "extra"'],
    ['a key twice', state((text) => text.replace('{', '{"quant_type": "nf4", ')), 'the key "quant_type" occurs twice'],
    ['no number as the offset', state((text) => text.replace(/offset": .*/, 'offset": NaN}')), 'expected JSON'],
    [
      'an infinite offset',
      state((text) => text.replace(/offset": .*/, 'offset": 1e999}')),
      'nested_offset: expected number',
    ],
    ['another nested block size', state((text) => text.replace('256', '128')), 'nested_blocksize: expected 256'],
    ['no JSON at all', state(() => '{"quant_type"'), 'expected JSON'],
    [
      'a shape that is another',
      state((text) => text.replace('[48, 48]', '[24, 96]')),
      `${Q}: expected [48, 48], got [24, 96]`,
    ],
    ['a part that nobody knows', renamed(`${Q}.quant_map`, `${Q}.quant_mop`), `${Q}: expected it with ${Q}.quant_map`],
  ];
  it.each(lies)('%s', async (_, change, message) => {
    const folder = await changed(await exported(true), change);
    await expect(openModel(folder).then(declare)).rejects.toThrow(message);
  });

  const statistics: readonly [string, string, (values: Float32Array) => void, string][] = [
    [
      'another code than NF4',
      'quant_map',
      (map) => map.set([0.5], 3),
      'expected -0.39491748809814453 for code 3 of NF4, got 0.5',
    ],
    [
      'NaN among the scales',
      'nested_absmax',
      (map) => map.set([Number.NaN], 0),
      'expected finite numbers from 0 on, got NaN at element 0',
    ],
    [
      'a negative scale',
      'nested_absmax',
      (map) => map.set([-1], 0),
      'expected finite numbers from 0 on, got -1 at element 0',
    ],
    [
      'infinity in the map',
      'nested_quant_map',
      (map) => map.set([Number.POSITIVE_INFINITY], 7),
      'expected finite numbers, got Infinity at element 7',
    ],
  ];
  it.each(statistics)('%s', async (_, name, change, message) => {
    const folder = await changed(await exported(true), (parts) => {
      const part = parts.get(`${Q}.${name}`)!;
      const content = part.content.slice();
      change(new Float32Array(content.buffer));
      parts.set(part.name, { ...part, content });
    });
    const files = await openModel(folder);
    await expect(readStatistics(files.quantized.get(Q)!)).rejects.toThrow(`${Q}.${name}: ${message}`);
  });
});

describe('quantization_config', () => {
  const bnb = { quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4' };
  it.each([[{}], [{ quantization_config: null }], [{ quantization_config: bnb }]])('%j', (config) => {
    expect(() => checkQuantizationConfig(config, 'c')).not.toThrow();
  });
  it.each([
    [{ ...bnb, bnb_4bit_quant_type: 'fp4' }, 'bnb_4bit_quant_type "fp4"'],
    [{ quant_method: 'gptq', bits: 4 }, 'quant_method "gptq"'],
    [{ quant_method: 'bitsandbytes', load_in_8bit: true }, 'bitsandbytes without load_in_4bit'],
    ['x', 'quant_method undefined'],
  ])('%j is refused', (quantization_config, got) => {
    expect(() => checkQuantizationConfig({ quantization_config }, 'm/config.json')).toThrow(
      `m/config.json: quantization_config: expected 4-bit NF4 of bitsandbytes, got ${got}`,
    );
  });
});

it('numbers are written as Python writes them', () => {
  const numbers = [0, 3, -0.001, 0.0123, 1e-5, 1.25e-7, 1e16, 123456789.5, 2.5e-120];
  expect(numbers.map(pythonFloat)).toEqual([
    '0.0',
    '3.0',
    '-0.001',
    '0.0123',
    '1e-05',
    '1.25e-07',
    '1e+16',
    '123456789.5',
    '2.5e-120',
  ]);
});
