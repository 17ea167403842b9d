/**
 * The GGUF format, version 3, little-endian: "GGUF", the version, the numbers of tensors and of metadata entries, the metadata, for each
 * tensor its name, sizes (the innermost first), type and offset, then the bytes of all tensors, each at a multiple of 32.
 * Source: docs/gguf.md of ggml.
 */
import { invariant } from '../../platform/errors.ts';
import { concatBytes } from '../../platform/stores.ts';
import type { WritableFile } from '../../platform/types.ts';
import { f32ToBf16, f32ToF16 } from '../dtype.ts';

const VERSION = 3;
const ALIGNMENT = 32;

/** Values of one Q8_0 block, which share a scale. */
export const Q8_0_BLOCK = 32;

/** How numbers are stored. Ids are those of `ggml_type`, `bytes` those of `block` numbers. */
const TYPES = {
  f32: { id: 0, block: 1, bytes: 4 },
  f16: { id: 1, block: 1, bytes: 2 },
  q8_0: { id: 8, block: Q8_0_BLOCK, bytes: 2 + Q8_0_BLOCK },
  bf16: { id: 30, block: 1, bytes: 2 },
} as const;

/** What the weights of a GGUF file are stored in, by its name in ggml; `q8_0` is 8 bits and a scale for every 32 values. */
export type GgufType = keyof typeof TYPES;

/** A metadata value with its type: bare numbers of JavaScript have none. */
export type GgufValue =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly text: string }
  | { readonly texts: readonly string[] }
  | { readonly i32s: readonly number[] }
  | { readonly f32s: readonly number[] };

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** A tensor to be written. `shape` is as in PyTorch, the innermost size last. */
export interface GgufTensor {
  readonly name: string;
  readonly type: GgufType;
  readonly shape: readonly number[];
  /** Called when its turn has come: the values in slices of whole blocks. */
  values(): AsyncIterable<Float32Array<ArrayBuffer>> | Iterable<Float32Array<ArrayBuffer>>;
}

const U32 = 4;
const I32 = 5;
const F32 = 6;
const BOOL = 7;
const TEXT = 8;
const ARRAY = 9;

/** Writes a file from the start; the caller closes it. */
export async function writeGguf(
  file: WritableFile,
  metadata: GgufMetadata,
  tensors: readonly GgufTensor[],
): Promise<void> {
  const head: Uint8Array[] = [ascii('GGUF'), u32(VERSION), u64(tensors.length), u64(metadata.size)];
  for (const [key, value] of metadata) head.push(text(key), valueBytes(value));
  let offset = 0;
  for (const tensor of tensors) {
    const { name, shape, type } = tensor;
    head.push(text(name), u32(shape.length), ...shape.toReversed().map(u64), u32(TYPES[type].id), u64(offset));
    offset = aligned(offset + tensorBytes(tensor));
  }
  const header = concatBytes(head);
  await file.write(header);
  await file.write(new Uint8Array(aligned(header.length) - header.length));
  for (const tensor of tensors) {
    let written = 0;
    for await (const values of tensor.values()) {
      const bytes = encode(values, tensor.type);
      written += bytes.length;
      await file.write(bytes);
    }
    const wanted = tensorBytes(tensor);
    invariant(written === wanted, `${tensor.name} gave ${written} bytes instead of ${wanted}`);
    await file.write(new Uint8Array(aligned(written) - written));
  }
}

function tensorBytes({ name, shape, type }: GgufTensor): number {
  const { block, bytes } = TYPES[type];
  const count = shape.reduce((product, size) => product * size, 1);
  invariant((shape.at(-1) ?? 1) % block === 0, `${name}: rows of ${shape.at(-1)} are no blocks of ${block}`);
  return (count / block) * bytes;
}

function aligned(offset: number): number {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}

function encode(values: Float32Array<ArrayBuffer>, type: GgufType): Uint8Array {
  if (type === 'q8_0') return quantizeQ8(values);
  const stored = type === 'f32' ? values : type === 'f16' ? f32ToF16(values) : f32ToBf16(values);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

/** Each block: its scale max |x| / 127 in float16, then 32 bytes round(x / scale), halves away from zero. As ggml's reference. */
function quantizeQ8(values: Float32Array): Uint8Array {
  const { block, bytes } = TYPES.q8_0;
  invariant(values.length % block === 0, `${values.length} values are no blocks of ${block}`);
  const blocks = values.length / block;
  const scales = new Float32Array(blocks);
  const out = new Uint8Array(blocks * bytes);
  const codes = new Int8Array(out.buffer);
  for (let b = 0; b < blocks; b++) {
    let largest = 0;
    for (let i = 0; i < block; i++) largest = Math.max(largest, Math.abs(values[b * block + i] as number));
    const scale = Math.fround(largest / 127);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    scales[b] = scale;
    for (let i = 0; i < block; i++) {
      const scaled = Math.fround((values[b * block + i] as number) * inverse);
      codes[b * bytes + 2 + i] = Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5);
    }
  }
  const halves = new Uint8Array(f32ToF16(scales).buffer);
  for (let b = 0; b < blocks; b++) out.set(halves.subarray(2 * b, 2 * b + 2), b * bytes);
  return out;
}

function valueBytes(value: GgufValue): Uint8Array {
  if ('u32' in value) return concatBytes([u32(U32), u32(value.u32)]);
  if ('f32' in value) return concatBytes([u32(F32), f32s([value.f32])]);
  if ('bool' in value) return concatBytes([u32(BOOL), Uint8Array.of(value.bool ? 1 : 0)]);
  if ('text' in value) return concatBytes([u32(TEXT), text(value.text)]);
  if ('texts' in value) return concatBytes([...arrayHead(TEXT, value.texts), concatBytes(value.texts.map(text))]);
  if ('i32s' in value) return concatBytes([...arrayHead(I32, value.i32s), i32s(value.i32s)]);
  return concatBytes([...arrayHead(F32, value.f32s), f32s(value.f32s)]);
}

const arrayHead = (type: number, values: readonly unknown[]) => [u32(ARRAY), u32(type), u64(values.length)];

const encoder = new TextEncoder();
const ascii = (value: string) => encoder.encode(value);
const u32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
const u64 = (value: number) => new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
const f32s = (values: readonly number[]) => new Uint8Array(Float32Array.from(values).buffer);
const i32s = (values: readonly number[]) => new Uint8Array(Int32Array.from(values).buffer);

function text(value: string): Uint8Array {
  const bytes = encoder.encode(value);
  return concatBytes([u64(bytes.length), bytes]);
}
