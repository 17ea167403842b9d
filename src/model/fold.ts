/** Weights as numbers on the CPU, and an adapter's part of them. */
import { SftError } from '../platform/errors.ts';
import { readDequantized } from './bnb.ts';
import { bytesToF32, isFloatDtype } from './dtype.ts';
import type { ModelFiles } from './modelFiles.ts';
import type { LoraWeights } from './peft.ts';
import { readWeights, type TensorInfo } from './safetensors.ts';

/** A weight whole: as it is in the folder or, where that is in 4 bits, what those stand for. Throws `MODEL`. */
export async function readWeight(files: ModelFiles, name: string): Promise<Float32Array<ArrayBuffer>> {
  const stored = files.quantized.get(name);
  if (stored) return readDequantized(stored);
  const info = weightInfo(files, name);
  const values = new Float32Array(info.shape.reduce((product, size) => product * size, 1));
  let at = 0;
  for await (const part of readSlices(info)) {
    values.set(part, at);
    at += part.length;
  }
  return values;
}

/** A weight that is not in 4 bits. Throws `MODEL`. */
export function weightInfo({ checkpoint, folder }: ModelFiles, name: string): TensorInfo {
  const info = checkpoint.tensors.get(name);
  if (info) return info;
  throw new SftError('MODEL', `${folder.name}: ${name} is missing`);
}

/** The same in slices of a power of two of numbers. Throws `MODEL`. */
export async function* readSlices(info: TensorInfo): AsyncGenerator<Float32Array<ArrayBuffer>> {
  const { name, dtype } = info;
  if (!isFloatDtype(dtype)) throw new SftError('MODEL', `${name}: expected F32, F16 or BF16, got ${dtype}`);
  for await (const slice of readWeights(info)) yield bytesToF32(slice, dtype);
}

/** Calls back with the first element of each row and its length; a vector is one row. */
export function forRows(shape: readonly number[], row: (start: number, columns: number) => void): void {
  const columns = shape.at(-1) ?? 1;
  const count = shape.reduce((product, size) => product * size, 1);
  for (let start = 0; start < count; start += columns) row(start, columns);
}

/** One row of scaling · B [out, r] · A [r, in]. */
export function productRow(
  { A, B }: LoraWeights,
  r: number,
  scaling: number,
  row: number,
  columns: number,
): Float32Array {
  const delta = new Float32Array(columns);
  for (let k = 0; k < r; k++) {
    const factor = B[row * r + k] as number;
    const start = k * columns;
    for (let column = 0; column < columns; column++)
      delta[column] = (delta[column] as number) + factor * (A[start + column] as number);
  }
  return delta.map((value) => scaling * value);
}

/** Throws `NUMERIC` for what float16 cannot hold: it ends at 65504, and more becomes infinity. */
export function refuseOverflow(name: string, values: Float32Array, hint: string): void {
  const at = values.findIndex((value) => Math.abs(value) >= 65520);
  if (at < 0) return;
  throw new SftError(
    'NUMERIC',
    `${name}: expected numbers that fit float16 (up to 65504), got ${values[at]} at element ${at}`,
    { hint },
  );
}
