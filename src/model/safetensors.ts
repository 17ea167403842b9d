/**
 * The safetensors format: 8 bytes with the size N of the header (little-endian), N bytes of JSON that name each
 * tensor's dtype, shape and byte range, then the bytes of all tensors, with no gap and no overlap.
 *
 * The reader accepts exactly what the safetensors library accepts (its `tensor.rs`), except that a tensor named twice
 * and sizes above 2^53 are refused. The writer writes the bytes that the library writes.
 */
import { type ErrorCode, invariant, SftError } from '../platform/errors.ts';
import type { ReadableSource, WritableFile } from '../platform/types.ts';
import { byteLength, DTYPES, type Dtype, isDtype, isFloatDtype, refuseNonFinite } from './dtype.ts';
import { parseStrictJson } from './strictJson.ts';

/** Bytes; the limit of the safetensors library. */
const MAX_HEADER_BYTES = 100_000_000;

/** Bytes of one slice of a tensor on its way to the GPU: 4 MiB, a multiple of every element size. */
const SLICE_BYTES = 2 ** 22;

/** One tensor in a file. `offset` (from the start of the source) and `length` are bytes. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly source: ReadableSource;
  readonly offset: number;
  readonly length: number;
}

/** The tensors of a file, in the order of their bytes, and the file's `__metadata__`. */
export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** Reads and checks the header. Throws `code` when it lies: the file's name, what was expected, what was got. */
export async function readSafetensors(source: ReadableSource, code: ErrorCode = 'MODEL'): Promise<SafetensorsFile> {
  const refuse = (problem: string, cause?: unknown) =>
    new SftError(code, `${source.name}: header: ${problem}`, {
      hint: 'the file is damaged, cut off or no safetensors file; get another copy of it',
      cause,
    });
  if (source.size < 8) throw refuse(`expected at least 8 bytes, the file has ${source.size}`);
  const size = new DataView((await source.read(0, 8)).buffer).getBigUint64(0, true);
  if (size > MAX_HEADER_BYTES) throw refuse(`expected at most ${MAX_HEADER_BYTES} bytes, it claims ${size}`);
  const dataStart = 8 + Number(size);
  if (dataStart > source.size) throw refuse(`claims to end at byte ${dataStart}, the file has ${source.size}`);
  const header = parseHeader(await source.read(8, Number(size)), refuse);

  const metadata = new Map<string, string>();
  const tensors: TensorInfo[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (typeof entry !== 'object' || Array.isArray(entry)) throw refuse('__metadata__: expected an object');
      for (const [key, value] of Object.entries(entry ?? {})) {
        if (typeof value !== 'string')
          throw refuse(`__metadata__: expected text for "${key}", got ${JSON.stringify(value)}`);
        metadata.set(key, value);
      }
      continue;
    }
    const { dtype, shape, begin, end } = parseEntry(name, entry, refuse);
    tensors.push({ name, dtype, shape, source, offset: dataStart + begin, length: end - begin });
  }

  tensors.sort((a, b) => a.offset - b.offset || a.length - b.length);
  let end = dataStart;
  for (const { name, dtype, shape, offset, length } of tensors) {
    if (offset !== end) {
      throw refuse(
        `"${name}": expected it to begin at ${end - dataStart}, got ${offset - dataStart}: a gap or an overlap`,
      );
    }
    const expected = byteLength(dtype, shape);
    if (expected !== length) {
      const wanted = expected === null ? 'a whole number of bytes below 2^53' : `${expected} bytes`;
      throw refuse(`"${name}": ${dtype} [${shape}] needs ${wanted}, its range has ${length}`);
    }
    end += length;
  }
  if (end !== source.size) throw refuse(`the tensors end at byte ${end}, the file has ${source.size}`);
  return { tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])), metadata };
}

type Refuse = (problem: string, cause?: unknown) => SftError;

function parseHeader(bytes: Uint8Array, refuse: Refuse): object {
  let header: unknown;
  try {
    // A byte order mark is kept, so that the JSON parser refuses it.
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    header = parseStrictJson(text, { integers: true });
  } catch (error) {
    throw refuse(`expected JSON in UTF-8: ${(error as Error).message}`, error);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) throw refuse('expected a JSON object');
  return header;
}

function parseEntry(name: string, entry: unknown, refuse: Refuse) {
  const { dtype, shape, data_offsets: range } = (entry ?? {}) as Record<string, unknown>;
  if (!isDtype(dtype)) throw refuse(`"${name}": expected a dtype of ${DTYPES.join(' ')}, got ${JSON.stringify(dtype)}`);
  if (!isIntegers(shape)) throw refuse(`"${name}": expected a shape of integers, got ${JSON.stringify(shape)}`);
  if (!isIntegers(range) || range.length !== 2) {
    throw refuse(`"${name}": expected two data_offsets, got ${JSON.stringify(range)}`);
  }
  return { dtype, shape, begin: range[0]!, end: range[1]! };
}

/** `parseStrictJson` has seen to it that every number is an integer. */
function isIntegers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'number');
}

/** The bytes of a tensor, in slices that begin at multiples of `sliceBytes`. */
export async function* readTensor(
  tensor: TensorInfo,
  sliceBytes = SLICE_BYTES,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let done = 0; done < tensor.length; done += sliceBytes) {
    yield await tensor.source.read(tensor.offset + done, Math.min(sliceBytes, tensor.length - done));
  }
}

/** The same for weights: NaN and infinity are refused (`MODEL`) by the name of the file and the tensor. */
export async function* readWeights(
  tensor: TensorInfo,
  sliceBytes = SLICE_BYTES,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const { name, dtype, source } = tensor;
  let offset = 0;
  for await (const slice of readTensor(tensor, sliceBytes)) {
    if (isFloatDtype(dtype)) refuseNonFinite(`${source.name}: ${name}`, dtype, slice, { offset });
    offset += slice.length;
    yield slice;
  }
}

/** A tensor to be written. `bytes` is called when its turn has come, so that one tensor is in memory at a time. */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  bytes(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** Bytes of a tensor to be written. */
export function tensorBytes({ name, dtype, shape }: TensorToWrite): number {
  const length = byteLength(dtype, shape);
  invariant(length !== null, `${name}: ${dtype} [${shape}] is no whole number of bytes`);
  return length;
}

/** Writes a file from the start; the caller closes it. Order: wider dtypes first, then by name, as the library does. */
export async function writeSafetensors(
  file: WritableFile,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): Promise<void> {
  const rank = (tensor: TensorToWrite) => -DTYPES.indexOf(tensor.dtype);
  const ordered = [...tensors].sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
  const entries: [string, unknown][] = [['__metadata__', metadata]];
  let end = 0;
  for (const tensor of ordered) {
    const begin = end;
    end += tensorBytes(tensor);
    entries.push([tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] }]);
  }
  // Put together by hand: an object would move names that look like numbers to the front.
  const json = `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(',')}}`;
  const text = new TextEncoder().encode(json);
  const header = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  invariant(header.length - 8 <= MAX_HEADER_BYTES, `${tensors.length} tensors do not fit into one safetensors header`);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(text, 8);
  await file.write(header);
  for (const tensor of ordered) {
    let written = 0;
    for await (const bytes of tensor.bytes()) {
      written += bytes.length;
      await file.write(bytes);
    }
    invariant(
      written === tensorBytes(tensor),
      `${tensor.name} gave ${written} bytes instead of ${tensorBytes(tensor)}`,
    );
  }
}
