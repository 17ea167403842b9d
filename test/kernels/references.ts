/** Plain CPU counterparts of what kernels share: packed storage types and the dropout mask. */
import type { Dtype } from '../../src/kernels/define.ts';

/** Values rounded to a storage type: the words to upload and the values that they stand for. */
export function packed(
  values: Float32Array<ArrayBuffer>,
  dtype: Dtype,
): { words: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>; values: Float64Array } {
  if (dtype === 'f32') return { words: values, values: Float64Array.from(values) };
  const halves = Uint16Array.from(values, (value) => (dtype === 'bf16' ? toBf16(value) : toF16(value)));
  const words = new Uint32Array(Math.ceil(values.length / 2));
  halves.forEach((half, index) => {
    words[index >> 1] = (words[index >> 1] ?? 0) | (half << (16 * (index & 1)));
  });
  return { words, values: Float64Array.from(halves, dtype === 'bf16' ? fromBf16 : fromF16) };
}

const view = new DataView(new ArrayBuffer(4));

/** bf16 by truncation: any rounding will do where only the rounded value is used. */
function toBf16(value: number): number {
  view.setFloat32(0, value);
  return view.getUint16(0);
}

function fromBf16(half: number): number {
  view.setUint32(0, half * 65536);
  return view.getFloat32(0);
}

/** f16 of a normal number, by truncation. */
function toF16(value: number): number {
  if (Math.abs(value) < 2 ** -14) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const mantissa = Math.floor((Math.abs(value) / 2 ** exponent - 1) * 1024);
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | mantissa;
}

function fromF16(half: number): number {
  const exponent = (half >> 10) & 31;
  if (exponent === 0) return 0;
  return (half & 0x8000 ? -1 : 1) * 2 ** (exponent - 15) * (1 + (half & 1023) / 1024);
}

function pcg(x: number): number {
  const state = (Math.imul(x, 747796405) + 2891336453) >>> 0;
  const word = Math.imul((state >>> ((state >>> 28) + 4)) ^ state, 277803737) >>> 0;
  return ((word >>> 22) ^ word) >>> 0;
}

/** The dropout mask: 0 or 1 / (1 − p). */
export function keep(index: number, { p, stream, seed }: { p: number; stream: number; seed: number }): number {
  const key = pcg((seed + Math.imul(stream, 2654435769)) >>> 0);
  return pcg((index ^ key) >>> 0) >= Math.round(p * 2 ** 32) ? 1 / (1 - p) : 0;
}

/** Positions grouped by id, in the shape that the gradient of an embedding reads; positions from `tokens` on are padding. */
export function groupTokens(
  ids: ArrayLike<number>,
  tokens = ids.length,
): Record<'order' | 'starts' | 'ids' | 'count', Uint32Array<ArrayBuffer>> {
  const order = Array.from({ length: tokens }, (_, t) => t).sort((a, b) => (ids[a] ?? 0) - (ids[b] ?? 0) || a - b);
  const distinct = [...new Set(order.map((t) => ids[t] ?? 0))];
  const starts = distinct.map((id) => order.findIndex((t) => ids[t] === id));
  const fill = (values: number[], length: number, rest: number) =>
    Uint32Array.from({ length }, (_, i) => values[i] ?? rest);
  return {
    order: fill(order, ids.length, 0xffffffff),
    starts: fill(starts, ids.length + 1, tokens),
    ids: fill(distinct, ids.length, 0xffffffff),
    count: Uint32Array.of(distinct.length),
  };
}
