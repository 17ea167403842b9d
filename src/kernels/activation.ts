/**
 * How kernels read and write activations and their gradients: the one place that knows how they are stored.
 *
 * f16 lies two to a word, the even element in the low half, and rows have an even number of elements. Adapters with f16 in
 * their shaders bind the same bytes as f16. Kernels compute in f32 and see no difference: loads are exact, and stores round
 * to the nearest f16, ties to even. What is too large for f16, infinite or no number is stored as an infinity: loss scaling
 * finds it in the gradients. Both are done by hand, as WGSL leaves the rounding and the overflow of its conversions open.
 * One invocation always stores both halves of a word.
 */
import type { GpuTraits } from '../gpu/device.ts';
import { SftError } from '../platform/errors.ts';
import type { Tensor } from './define.ts';
import { each } from './wgsl.ts';

/** Element type of a binding that holds an activation, element by element or in vectors of four. */
export type Storage = 'f32' | 'vec4<f32>' | 'u32' | 'vec2<u32>' | 'f16' | 'vec4<f16>';

/**
 * The element type with which kernels bind an activation. With `vectors`, every index that is loaded or stored is a
 * multiple of four, but for loads of one or two. Throws `MODEL` for f16 with rows of an odd length.
 */
export function storageOf({ label, shape, dtype }: Tensor, { nativeF16 }: GpuTraits, vectors: boolean): Storage {
  if (dtype !== 'f16') return vectors ? 'vec4<f32>' : 'f32';
  if ((shape.at(-1) ?? 0) % 2 !== 0) {
    throw new SftError('MODEL', `${label}: expected rows of an even length in float16, got [${shape.join(', ')}]`, {
      hint: 'set train.precision: float32',
    });
  }
  if (nativeF16) return vectors ? 'vec4<f16>' : 'f16';
  return vectors ? 'vec2<u32>' : 'u32';
}

/** How many elements an invocation takes at a time where all rows, or parts of rows, are `length` long. */
export function widthOf(length: number): 1 | 2 | 4 {
  if (length % 4 === 0) return 4;
  return length % 2 === 0 ? 2 : 1;
}

/** As `storageOf`, of an f32 tensor that is read or written `n` elements at a time. */
export const storageOfF32 = (n: 1 | 2 | 4): Storage => (n === 4 ? 'vec4<f32>' : 'f32');

/**
 * Declares functions on bindings, once for a kernel: for each one in `reads` and `writes`, here named `x`,
 *
 *     xLoad1(e) -> f32        xLoad2(e) -> vec2<f32>        xLoad4(e) -> vec4<f32>
 *
 * the elements from e on, and for each one in `writes` `xStore2(e, vec2<f32>)` and `xStore4(e, vec4<f32>)`. e is a multiple
 * of how many are loaded or stored. Bindings of vectors have no Store2, those of f32 also have `xStore1(e, f32)`.
 */
export function accessors(
  reads: Readonly<Record<string, Storage>>,
  writes: Readonly<Record<string, Storage>> = {},
): string {
  const all = { ...reads, ...writes };
  return [
    PACKING,
    ...Object.entries(all).map(([name, storage]) => loads(name, storage)),
    ...Object.entries(writes).map(([name, storage]) => stores(name, storage)),
  ].join('\n');
}

/** WGSL: `packF16(vec2<f32>) -> u32`, rounded as said above. Below 2^-14 the sum with 1/2 rounds to multiples of 2^-24. */
export const PACKING = `fn packF16(value: vec2<f32>) -> u32 {
  let bits = bitcast<vec2<u32>>(value);
  let size = bits & vec2(0x7fffffffu);
  let normal = (size - vec2(0x38000000u) + vec2(0xfffu) + ((size >> vec2(13u)) & vec2(1u))) >> vec2(13u);
  let small = bitcast<vec2<u32>>(abs(value) + vec2(0.5)) - vec2(0x3f000000u);
  let finite = select(normal, small, size < vec2(0x38800000u));
  let half = select(finite, vec2(0x7c00u), size >= vec2(0x477ff000u)) | ((bits >> vec2(16u)) & vec2(0x8000u));
  return half.x | (half.y << 16u);
}`;

function loads(x: string, storage: Storage): string {
  const [one, two, four] = {
    f32: [`${x}[e]`, `vec2(${x}[e], ${x}[e + 1u])`, `vec4(${each(4, (i) => `${x}[e + ${i}u]`, ', ')})`],
    'vec4<f32>': [`${x}[e / 4u][e % 4u]`, `select(${x}[e / 4u].xy, ${x}[e / 4u].zw, (e & 2u) == 2u)`, `${x}[e / 4u]`],
    u32: [
      `unpack2x16float(${x}[e / 2u] >> ((e & 1u) * 16u)).x`,
      `unpack2x16float(${x}[e / 2u])`,
      `vec4(unpack2x16float(${x}[e / 2u]), unpack2x16float(${x}[e / 2u + 1u]))`,
    ],
    'vec2<u32>': [
      `unpack2x16float(${x}[e / 4u][(e / 2u) % 2u] >> ((e & 1u) * 16u)).x`,
      `unpack2x16float(${x}[e / 4u][(e / 2u) % 2u])`,
      `vec4(unpack2x16float(${x}[e / 4u].x), unpack2x16float(${x}[e / 4u].y))`,
    ],
    f16: [
      `f32(${x}[e])`,
      `vec2(f32(${x}[e]), f32(${x}[e + 1u]))`,
      `vec4(${each(4, (i) => `f32(${x}[e + ${i}u])`, ', ')})`,
    ],
    'vec4<f16>': [
      `f32(${x}[e / 4u][e % 4u])`,
      `select(vec2<f32>(${x}[e / 4u].xy), vec2<f32>(${x}[e / 4u].zw), (e & 2u) == 2u)`,
      `vec4<f32>(${x}[e / 4u])`,
    ],
  }[storage];
  return `fn ${x}Load1(e: u32) -> f32 { return ${one}; }
fn ${x}Load2(e: u32) -> vec2<f32> { return ${two}; }
fn ${x}Load4(e: u32) -> vec4<f32> { return ${four}; }`;
}

function stores(y: string, storage: Storage): string {
  const two = (text: string) => `fn ${y}Store2(e: u32, value: vec2<f32>) { ${text} }\n`;
  const four = (text: string) => `fn ${y}Store4(e: u32, value: vec4<f32>) { ${text} }`;
  const packed = 'vec2(packF16(value.xy), packF16(value.zw))';
  const parts = (n: number, from: string) => each(n, (i) => `${y}[e + ${i}u] = ${from}[${i}];`, ' ');
  switch (storage) {
    case 'f32':
      return `fn ${y}Store1(e: u32, value: f32) { ${y}[e] = value; }
${two(parts(2, 'value'))}${four(parts(4, 'value'))}`;
    case 'vec4<f32>':
      return four(`${y}[e / 4u] = value;`);
    case 'u32':
      return `${two(`${y}[e / 2u] = packF16(value);`)}${four(`let words = ${packed}; ${y}[e / 2u] = words.x; ${y}[e / 2u + 1u] = words.y;`)}`;
    case 'vec2<u32>':
      return four(`${y}[e / 4u] = ${packed};`);
    case 'f16':
      return `${two(`let halves = bitcast<vec2<f16>>(packF16(value)); ${parts(2, 'halves')}`)}${four(`let halves = bitcast<vec4<f16>>(${packed}); ${parts(4, 'halves')}`)}`;
    case 'vec4<f16>':
      return four(`${y}[e / 4u] = bitcast<vec4<f16>>(${packed});`);
  }
}
