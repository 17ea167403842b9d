/**
 * Quantised weights on the CPU, to the byte as the kernels of `kernels/quantize*.ts` make them: for writing and merging
 * checkpoints, and as their reference. All arithmetic is that of float32, each operation rounded once; subnormal numbers
 * count as zero.
 */
import { dynamicMap, NESTED_BLOCK, NF4, NF4_BOUNDS } from '../kernels/codebooks.ts';

/** How frozen linear layers are stored. */
export interface QuantizationOptions {
  readonly type: 'nf4' | 'int8';
  /** Weights that share a scale, nf4 only: a power of two from 32 to 4096. int8 has one scale for each row. */
  readonly blockSize: number;
  /** Whether the scales are quantised too; nf4 only. */
  readonly doubleQuant: boolean;
}

/** A short name: `nf4` and what is not usual about it, or `int8`. */
export function quantizationName({ type, blockSize, doubleQuant }: QuantizationOptions): string {
  if (type === 'int8') return type;
  return [type, blockSize === 64 ? '' : `block_size ${blockSize}`, doubleQuant ? '' : 'double_quant false']
    .filter((part) => part !== '')
    .join(', ');
}

/** Block maxima in 8 bits: absmax[i] = map[codes[i]] · absmax[i / 256] + offset. */
export interface NestedAbsmax {
  readonly codes: Uint8Array<ArrayBuffer>;
  readonly absmax: Float32Array<ArrayBuffer>;
  readonly map: Float32Array<ArrayBuffer>;
  readonly offset: number;
}

const { fround } = Math;
const SMALLEST = 2 ** -126;
const flush = (value: number) => (Math.abs(value) < SMALLEST ? 0 : value);

/** max |x| over the elements from `start` to `end`. */
function largestOf(values: Float32Array, start: number, end: number): number {
  let largest = 0;
  for (let i = start; i < end; i++) {
    const size = Math.abs(values[i]!);
    if (size > largest) largest = size;
  }
  return flush(largest);
}

/** The block maxima of values that begin with a block. */
export function blockAbsmax(values: Float32Array, blockSize: number): Float32Array<ArrayBuffer> {
  const absmax = new Float32Array(Math.ceil(values.length / blockSize));
  for (let block = 0; block < absmax.length; block++) {
    const start = block * blockSize;
    absmax[block] = largestOf(values, start, Math.min(start + blockSize, values.length));
  }
  return absmax;
}

function nf4Code(value: number): number {
  let code = 0;
  for (let half = 8; half > 0; half >>= 1) if (value > BOUNDS[code + half - 1]!) code += half;
  return code;
}

const BOUNDS = Float32Array.from(NF4_BOUNDS);
const NUMBERS = Float32Array.from(NF4);

/** NF4 codes of values that begin with a block, two to a byte, the even one in the high half. */
export function quantizeNf4(
  values: Float32Array,
  blockSize: number,
): { codes: Uint8Array<ArrayBuffer>; absmax: Float32Array<ArrayBuffer> } {
  const absmax = blockAbsmax(values, blockSize);
  const codes = new Uint8Array(Math.ceil(values.length / 2));
  absmax.forEach((largest, block) => {
    if (largest === 0) return;
    const scale = fround(1 / largest);
    const end = Math.min((block + 1) * blockSize, values.length);
    const code = (i: number) => nf4Code(i < end ? fround(flush(values[i]!) * scale) : 0);
    for (let i = block * blockSize; i < end; i += 2) codes[i >> 1] = (code(i) << 4) | code(i + 1);
  });
  return { codes, absmax };
}

/** The numbers of NF4 codes whose first belongs to element `start` of the matrix. */
export function dequantizeNf4(
  codes: Uint8Array,
  absmax: Float32Array,
  blockSize: number,
  count: number,
  start = 0,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const code = (codes[i >> 1]! >> (i & 1 ? 0 : 4)) & 15;
    values[i] = NUMBERS[code]! * absmax[Math.floor((start + i) / blockSize)]!;
  }
  return values;
}

/** The entry of the dynamic map that bitsandbytes takes as the nearest: the way that it searches decides ties. */
function nearest(map: Float32Array, value: number): number {
  let [pivot, above, below] = [127, 255, 0];
  for (let step = 64; step > 0; step >>= 1) {
    if (value > map[pivot]!) [below, pivot] = [pivot, pivot + step];
    else [above, pivot] = [pivot, pivot - step];
  }
  const here = map[pivot]!;
  if (value > here) return value > fround(fround(map[above]! + here) / 2) ? above : pivot;
  return value < fround(fround(map[below]! + here) / 2) ? below : pivot;
}

/** Quantises block maxima. */
export function quantizeAbsmax(absmax: Float32Array): NestedAbsmax {
  const map = dynamicMap();
  const offset = flush(fround(absmax.reduce((sum, value) => sum + value, 0) / Math.max(1, absmax.length)));
  const differences = absmax.map((value) => flush(fround(value - offset)));
  const scales = blockAbsmax(differences, NESTED_BLOCK);
  const codes = Uint8Array.from(differences, (difference, i) => {
    const largest = scales[Math.floor(i / NESTED_BLOCK)]!;
    return largest === 0 ? 0 : nearest(map, fround(difference * fround(1 / largest)));
  });
  return { codes, absmax: scales, map, offset };
}

/** The block maxima that quantised ones stand for. */
export function dequantizeAbsmax({ codes, absmax, map, offset }: NestedAbsmax): Float32Array<ArrayBuffer> {
  return Float32Array.from(codes, (code, i) => fround(map[code]! * absmax[Math.floor(i / NESTED_BLOCK)]!) + offset);
}

/** int8 codes of whole rows of K values. */
export function quantizeInt8(
  values: Float32Array,
  K: number,
): { codes: Int8Array<ArrayBuffer>; absmax: Float32Array<ArrayBuffer> } {
  const absmax = blockAbsmax(values, K);
  const codes = new Int8Array(values.length);
  absmax.forEach((largest, row) => {
    if (largest === 0) return;
    // A scale that is too large for a float32 is taken in parts.
    const aside = largest < 2 ** -77 ? 2 ** 32 : 1;
    const scale = fround((fround(1 / largest) / aside) * 127);
    for (let i = row * K; i < (row + 1) * K; i++) codes[i] = roundEven(fround(flush(values[i]!) * aside * scale));
  });
  return { codes, absmax };
}

function roundEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}

/** The numbers of int8 codes of whole rows. */
export function dequantizeInt8(codes: Int8Array, absmax: Float32Array, K: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(codes, (code, i) => code * fround(absmax[Math.floor(i / K)]! / 127));
}

/** What is left of a matrix with rows of K values when it is quantised: the numbers that a model computes with. */
export function quantizedValues(
  values: Float32Array,
  K: number,
  options: QuantizationOptions,
): Float32Array<ArrayBuffer> {
  if (options.type === 'int8') {
    const { codes, absmax } = quantizeInt8(values, K);
    return dequantizeInt8(codes, absmax, K);
  }
  const { codes, absmax } = quantizeNf4(values, options.blockSize);
  const scales = options.doubleQuant ? dequantizeAbsmax(quantizeAbsmax(absmax)) : absmax;
  return dequantizeNf4(codes, scales, options.blockSize, values.length);
}
