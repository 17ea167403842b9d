import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { f32ToBytes } from '../../src/model/dtype.ts';
import {
  readSafetensors,
  readTensor,
  readWeights,
  type TensorToWrite,
  writeSafetensors,
} from '../../src/model/safetensors.ts';
import { openFile } from '../../src/platform/nodeFiles.ts';
import { bytesSource } from '../../src/platform/sources.ts';
import { concatBytes } from '../../src/platform/stores.ts';
import { collect } from './collect.ts';

/** A file of a header, given as text, value or bytes, and some bytes of data. */
function file(header: unknown, dataBytes = 0, claimed?: bigint) {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  const bytes = header instanceof Uint8Array ? header : new TextEncoder().encode(text);
  const size = new Uint8Array(8);
  new DataView(size.buffer).setBigUint64(0, claimed ?? BigInt(bytes.length), true);
  return bytesSource('model.safetensors', concatBytes([size, bytes, new Uint8Array(dataBytes)]));
}

const F32 = (shape: number[], begin: number, end: number) => ({ dtype: 'F32', shape, data_offsets: [begin, end] });

async function written(
  tensors: readonly TensorToWrite[],
  metadata?: Record<string, string>,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  await writeSafetensors(
    { write: async (bytes) => void parts.push(bytes.slice()), close: async () => {} },
    tensors,
    metadata,
  );
  return concatBytes(parts);
}

describe('readSafetensors', () => {
  it('gives the tensors in the order of their bytes', async () => {
    const header = { b: F32([2], 4, 12), a: F32([], 0, 4), empty: F32([0, 5], 4, 4), __metadata__: { format: 'pt' } };
    const source = file(header, 12);
    const { tensors, metadata } = await readSafetensors(source);
    expect([...tensors.keys()]).toEqual(['a', 'empty', 'b']);
    expect([...metadata]).toEqual([['format', 'pt']]);
    expect(tensors.get('b')).toEqual({
      name: 'b',
      dtype: 'F32',
      shape: [2],
      source,
      offset: source.size - 8,
      length: 8,
    });
  });

  it.each([
    ['no tensors', '{}', 0],
    ['white space around the JSON', ` \n\t{"a":${JSON.stringify(F32([1], 0, 4))}} \r\n`, 4],
    ['metadata that is null', { __metadata__: null, a: F32([1], 0, 4) }, 4],
    ['fields of a later version', { a: { ...F32([1], 0, 4), future: 'x' } }, 4],
    ['a huge empty tensor', { a: F32([0, 2 ** 50], 0, 0) }, 0],
  ])('takes %s', async (_, header, bytes) => {
    await readSafetensors(file(header, bytes));
  });

  it.each([
    [
      '10 tensors in the same bytes',
      Object.fromEntries([...'0123456789'].map((n) => [`weight_${n}`, F32([2, 2], 0, 16)])),
      16,
      'a gap or an overlap',
    ],
    ['bytes after the last tensor', { a: F32([1], 0, 4) }, 5, 'the tensors end at byte'],
    ['2 bytes too few', { a: F32([2], 0, 8) }, 6, 'the tensors end at byte'],
    ['a gap at the start', { a: F32([1], 4, 8) }, 8, 'a gap or an overlap'],
    ['a gap', { a: F32([1], 0, 4), b: F32([1], 8, 12) }, 12, '"b": expected it to begin at 4, got 8'],
    ['an overlap', { a: F32([2], 0, 8), b: F32([1], 4, 8) }, 8, '"b": expected it to begin at 8, got 4'],
    ['an end before the begin', { a: F32([1], 4, 0) }, 4, 'got 4'],
    ['a range of another size than the shape', { a: F32([2], 0, 4) }, 4, 'F32 [2] needs 8 bytes, its range has 4'],
    [
      'a shape that overflows 64 bits',
      '{"a":{"dtype":"F32","shape":[2,18446744073709551614],"data_offsets":[0,16]}}',
      16,
      'expected an integer',
    ],
    [
      'a shape that overflows when multiplied',
      '{"a":{"dtype":"F32","shape":[2,9223372036854775807],"data_offsets":[0,16]}}',
      16,
      'expected an integer',
    ],
    ['a shape that overflows 2^53', { a: F32([2 ** 40, 2 ** 40], 0, 16) }, 16, 'a whole number of bytes below 2^53'],
    ['a shape that overflows before a 0', { a: F32([2 ** 40, 2 ** 40, 0], 0, 0) }, 0, 'below 2^53'],
    [
      'a number that JSON.parse rounds',
      '{"a":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,1]}}',
      1,
      '9007199254740993',
    ],
    ['a fraction', '{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', 4, 'got 1.0'],
    ['an exponent', '{"a":{"dtype":"U8","shape":[1e2],"data_offsets":[0,100]}}', 100, 'got 1e2'],
    ['a negative size', '{"a":{"dtype":"U8","shape":[-1,-1],"data_offsets":[0,1]}}', 1, 'got -1'],
    ['half a byte', { a: { dtype: 'F4', shape: [3], data_offsets: [0, 1] } }, 1, 'a whole number of bytes'],
    ['an unknown dtype', { a: { dtype: 'F16X', shape: [1], data_offsets: [0, 2] } }, 2, 'expected a dtype of BOOL'],
    [
      'a dtype that is a property of objects',
      { a: { dtype: 'toString', shape: [1], data_offsets: [0, 2] } },
      2,
      'expected a dtype',
    ],
    ['no shape', { a: { dtype: 'F32', data_offsets: [0, 4] } }, 4, 'expected a shape of integers, got undefined'],
    ['three offsets', { a: { dtype: 'F32', shape: [1], data_offsets: [0, 4, 8] } }, 4, 'expected two data_offsets'],
    ['a tensor that is null', { a: null }, 0, 'expected a dtype'],
    ['metadata that is no text', { __metadata__: { n: 1 } }, 0, '__metadata__: expected text for "n", got 1'],
    ['metadata that is a list', { __metadata__: [] }, 0, '__metadata__: expected an object'],
    ['a list', '[]', 0, 'expected a JSON object'],
    ['null', 'null', 0, 'expected a JSON object'],
    ['a brace only', '{', 0, 'expected JSON'],
    ['an empty header', '', 0, 'expected JSON'],
    ['bytes that are not UTF-8', new Uint8Array([0x7b, 0xff, 0x7d]), 0, 'UTF-8'],
    ['a byte order mark', '\ufeff{}', 0, 'expected JSON'],
    ['text after the JSON', '{}x', 0, 'expected JSON'],
    ['zeros after the JSON', '{}\0', 0, 'expected JSON'],
    [
      'a tensor twice',
      `{"a":${JSON.stringify(F32([1], 0, 4))},"\\u0061":${JSON.stringify(F32([1], 0, 4))}}`,
      4,
      'the key "a" occurs twice',
    ],
    [
      'a field twice',
      '{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}',
      4,
      'the key "shape" occurs twice',
    ],
    ['half of a surrogate pair', `{"\\ud800":${JSON.stringify(F32([1], 0, 4))}}`, 4, 'surrogate'],
  ])('refuses %s', async (_, header, bytes, message) => {
    await expect(readSafetensors(file(header, bytes))).rejects.toMatchObject({
      code: 'MODEL',
      message: expect.stringMatching(/^model\.safetensors: header: /),
      hint: expect.stringContaining('another copy'),
    });
    await expect(readSafetensors(file(header, bytes))).rejects.toThrow(message);
  });

  it.each([
    ['a file of 7 bytes', bytesSource('x', new Uint8Array(7)), 'x: header: expected at least 8 bytes, the file has 7'],
    [
      'a size of 2^64 - 1',
      file('{}', 0, 2n ** 64n - 1n),
      'expected at most 100000000 bytes, it claims 18446744073709551615',
    ],
    ['a size of 2^63, of which the low half is 0', file('{}', 0, 2n ** 63n), 'it claims 9223372036854775808'],
    ['a size above the limit', file('{}', 0, 100_000_001n), 'it claims 100000001'],
    ['a size beyond the file', file('{}', 0, 3n), 'claims to end at byte 11, the file has 10'],
  ])('refuses %s', async (_, source, message) => {
    await expect(readSafetensors(source)).rejects.toThrow(message);
  });

  it('throws the code that the caller wants', async () => {
    await expect(readSafetensors(file('x'), 'ADAPTER')).rejects.toMatchObject({ code: 'ADAPTER' });
  });

  it('keeps a tensor named __proto__ a tensor', async () => {
    const { tensors } = await readSafetensors(file(`{"__proto__":${JSON.stringify(F32([1], 0, 4))}}`, 4));
    expect([...tensors.keys()]).toEqual(['__proto__']);
  });
});

describe('readTensor and readWeights', () => {
  it('read in slices', async () => {
    const values = Float32Array.from({ length: 10 }, (_, i) => i);
    const source = bytesSource(
      'm',
      await written([{ name: 'w', dtype: 'F32', shape: [10], bytes: () => [f32ToBytes(values, 'F32')] }]),
    );
    const tensor = (await readSafetensors(source)).tensors.get('w')!;
    for (const read of [readTensor, readWeights]) {
      const slices = await collect(read(tensor, 16));
      expect(slices.map((slice) => slice.length)).toEqual([16, 16, 8]);
      expect(new Float32Array(concatBytes(slices).buffer)).toEqual(values);
    }
    expect(await collect(readTensor({ ...tensor, length: 0 }))).toEqual([]);
  });

  it('refuse NaN by file, tensor and element', async () => {
    const values = new Float32Array([0, 1, 2, 3, 4, Number.NaN]);
    const source = bytesSource(
      'm',
      await written([{ name: 'w', dtype: 'F16', shape: [6], bytes: () => [f32ToBytes(values, 'F16')] }]),
    );
    const tensor = (await readSafetensors(source)).tensors.get('w')!;
    await expect(collect(readWeights(tensor, 4))).rejects.toMatchObject({
      code: 'MODEL',
      message: 'm: w: expected finite numbers, got NaN at element 5',
    });
  });

  it('read beyond 4 GiB', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sft-large-'));
    try {
      const path = join(folder, 'model.safetensors');
      const large = 2 ** 32 + 4096;
      const header = new TextEncoder().encode(
        JSON.stringify({
          large: { dtype: 'U8', shape: [large], data_offsets: [0, large] },
          last: F32([2], large, large + 8),
        }),
      );
      const start = new Uint8Array(8);
      new DataView(start.buffer).setBigUint64(0, BigInt(header.length), true);
      const handle = await open(path, 'w');
      await handle.writeFile(concatBytes([start, header]));
      await handle.write(f32ToBytes(new Float32Array([1.5, -2]), 'F32'), 0, 8, 8 + header.length + large);
      await handle.close();

      const source = await openFile(path);
      const tensor = (await readSafetensors(source)).tensors.get('last')!;
      expect(tensor.offset).toBe(8 + header.length + large);
      const [slice] = await collect(readWeights(tensor));
      expect(new Float32Array(slice!.buffer)).toEqual(new Float32Array([1.5, -2]));
      await source.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('writeSafetensors', () => {
  const bytes = (length: number) => () => [new Uint8Array(length)];

  it('orders by dtype and name and pads the header to 8 bytes', async () => {
    const content = await written([
      { name: 'b', dtype: 'F16', shape: [1], bytes: bytes(2) },
      { name: '7', dtype: 'BF16', shape: [1], bytes: bytes(2) },
      { name: 'a', dtype: 'F16', shape: [1], bytes: bytes(2) },
      { name: 'z', dtype: 'I64', shape: [], bytes: bytes(8) },
    ]);
    const size = Number(new DataView(content.buffer).getBigUint64(0, true));
    expect(size % 8).toBe(0);
    const header = new TextDecoder().decode(content.subarray(8, 8 + size));
    expect(header.trimEnd()).toBe(
      '{"__metadata__":{"format":"pt"},"z":{"dtype":"I64","shape":[],"data_offsets":[0,8]},' +
        '"7":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]},"a":{"dtype":"F16","shape":[1],"data_offsets":[10,12]},' +
        '"b":{"dtype":"F16","shape":[1],"data_offsets":[12,14]}}',
    );
    expect(content.length).toBe(8 + size + 14);
  });

  it('asks for the bytes of one tensor at a time, and takes them in parts', async () => {
    const log: string[] = [];
    const slow = (name: string) =>
      async function* () {
        log.push(`${name} begins`);
        for (const byte of [1, 2]) yield new Uint8Array([byte, byte]);
        log.push(`${name} ends`);
      };
    const content = await written([
      { name: 'a', dtype: 'F32', shape: [1], bytes: slow('a') },
      { name: 'b', dtype: 'F32', shape: [1], bytes: slow('b') },
    ]);
    expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
    expect(content.slice(-8)).toEqual(new Uint8Array([1, 1, 2, 2, 1, 1, 2, 2]));
  });

  it('notices a tensor that gives another number of bytes', async () => {
    await expect(written([{ name: 'a', dtype: 'F32', shape: [2], bytes: bytes(4) }])).rejects.toMatchObject({
      code: 'INTERNAL',
      message: 'internal: a gave 4 bytes instead of 8',
    });
  });
});
