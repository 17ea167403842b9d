/** The number types of safetensors files, and conversion of 16-bit floats. Bytes are little-endian, as on all hosts. */
import { type ErrorCode, SftError } from '../platform/errors.ts';

/** Bits of one element. The order is that of the safetensors library: its writer puts the types further down first. */
export const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

export type Dtype = keyof typeof DTYPE_BITS;

export const DTYPES = Object.keys(DTYPE_BITS) as readonly Dtype[];

export function isDtype(value: unknown): value is Dtype {
  return typeof value === 'string' && Object.hasOwn(DTYPE_BITS, value);
}

/** Bytes of a tensor, or null when they are no whole number or too many to count exactly. */
export function byteLength(dtype: Dtype, shape: readonly number[]): number | null {
  let bits = 1;
  for (const size of [...shape, DTYPE_BITS[dtype]]) {
    bits *= size;
    if (!Number.isSafeInteger(bits)) return null;
  }
  return bits % 8 === 0 ? bits / 8 : null;
}

/** One float32 and its bits. */
const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

function f16BitsToF32Bits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (mantissa << 13);
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (mantissa << 13);
  scratch[0] = mantissa * 2 ** -24;
  return sign | scratchBits[0]!;
}

/** Float32 bits of all 65536 float16 numbers: a table look-up is several times faster than the arithmetic. */
let f16Table: Uint32Array | undefined;

/** Converts float16 bits to float32; NaN keeps its payload. */
export function f16ToF32(source: Uint16Array, target = new Float32Array(source.length)): Float32Array<ArrayBuffer> {
  f16Table ??= Uint32Array.from({ length: 65536 }, (_, half) => f16BitsToF32Bits(half));
  // Written as bits: a float64 on the way could change NaN.
  const bits = new Uint32Array(target.buffer, target.byteOffset, source.length);
  for (let i = 0; i < source.length; i++) bits[i] = f16Table[source[i]!]!;
  return target;
}

/** Rounds float32 to float16 bits, to nearest, ties to even. Beyond 65504 (plus half a step) lies infinity. */
export function f32ToF16(source: Float32Array, target = new Uint16Array(source.length)): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  for (let i = 0; i < bits.length; i++) {
    const sign = (bits[i]! >>> 16) & 0x8000;
    const size = bits[i]! & 0x7fffffff;
    let half: number;
    if (size > 0x7f800000) half = 0x7e00 | ((size >> 13) & 0x3ff);
    else if (size >= 0x47800000) half = 0x7c00;
    else if (size >= 0x38800000) half = (size - 0x38000000 + 0xfff + ((size >> 13) & 1)) >> 13;
    else half = roundSubnormal(size);
    target[i] = sign | half;
  }
  return target;
}

/** Float32 below 2^-14 in steps of 2^-24. Adding 0.5 aligns the step with the last bit of a float32, which rounds. */
function roundSubnormal(size: number): number {
  scratchBits[0] = size;
  scratch[0] = scratch[0]! + 0.5;
  return scratchBits[0]! - 0x3f000000;
}

/** Converts bfloat16 bits to float32: the upper half of its bits. */
export function bf16ToF32(source: Uint16Array, target = new Float32Array(source.length)): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(target.buffer, target.byteOffset, source.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
  return target;
}

/** Rounds float32 to bfloat16 bits, to nearest, ties to even. */
export function f32ToBf16(source: Float32Array, target = new Uint16Array(source.length)): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  for (let i = 0; i < bits.length; i++) {
    const value = bits[i]!;
    const nan = (value & 0x7fffffff) > 0x7f800000;
    target[i] = nan ? (value >>> 16) | 0x40 : (value + 0x7fff + ((value >>> 16) & 1)) >>> 16;
  }
  return target;
}

/** The dtypes that weights may have. */
export type FloatDtype = 'F32' | 'F16' | 'BF16';

export function isFloatDtype(dtype: Dtype): dtype is FloatDtype {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}

/** Numbers of a tensor or of a slice of one. `bytes` must begin at a multiple of the element size in its buffer. */
export function bytesToF32(bytes: Uint8Array<ArrayBuffer>, dtype: FloatDtype): Float32Array<ArrayBuffer> {
  if (dtype === 'F32') return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const bits = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return dtype === 'F16' ? f16ToF32(bits) : bf16ToF32(bits);
}

/** Bytes of a tensor of the dtype, rounded to nearest, ties to even. For F32 they share the memory of the values. */
export function f32ToBytes(values: Float32Array<ArrayBuffer>, dtype: FloatDtype): Uint8Array<ArrayBuffer> {
  const stored = dtype === 'F32' ? values : dtype === 'F16' ? f32ToF16(values) : f32ToBf16(values);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

/** The index of the first NaN or infinity among the elements of the bytes, or -1. */
export function findNonFinite(bytes: Uint8Array<ArrayBuffer>, dtype: FloatDtype): number {
  if (dtype === 'F32') {
    const bits = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7f800000) === 0x7f800000) return i;
    return -1;
  }
  const exponent = dtype === 'F16' ? 0x7c00 : 0x7f80;
  const bits = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  for (let i = 0; i < bits.length; i++) if ((bits[i]! & exponent) === exponent) return i;
  return -1;
}

/**
 * Throws `code` when a slice of a tensor holds NaN or infinity. The slice begins `offset` bytes into the tensor.
 */
export function refuseNonFinite(
  name: string,
  dtype: FloatDtype,
  bytes: Uint8Array<ArrayBuffer>,
  options: { offset?: number; code?: ErrorCode } = {},
): void {
  const index = findNonFinite(bytes, dtype);
  if (index < 0) return;
  const size = DTYPE_BITS[dtype] / 8;
  const [value] = bytesToF32(bytes.slice(index * size, (index + 1) * size), dtype);
  const element = (options.offset ?? 0) / size + index;
  throw new SftError(options.code ?? 'MODEL', `${name}: expected finite numbers, got ${value} at element ${element}`, {
    hint: 'the weights are damaged or were trained into overflow; use another copy of them',
  });
}
