/**
 * How the matrix product reads its operands and writes C: the only part that knows of storage types.
 *
 * Quantised weights become numbers here, in registers; `Quantization` in define.ts says how.
 */
import { accessors, type Storage } from './activation.ts';
import { NESTED_BLOCK, NF4 } from './codebooks.ts';
import type { Dtype } from './define.ts';
import { each, numbers } from './wgsl.ts';

export interface MatmulVariant {
  readonly aLayout: 'mk' | 'km';
  readonly bLayout: 'nk' | 'kn';
  readonly aType: Storage;
  readonly bType: Dtype;
  /** Never vectors. */
  readonly cType: Storage;
  /** Whether rows of A, B begin at multiples of 4 elements, so that they are read as vectors. */
  readonly aVectors: boolean;
  readonly bVectors: boolean;
  readonly bias: boolean;
  readonly residual: Storage | null;
  /** Layout of M in the low-rank pair. */
  readonly low: 'nk' | 'kn' | null;
  /** What the dropout mask multiplies. */
  readonly mask: 'a' | 'b' | 'low' | null;
  /** Whether a workgroup sums a few rows alone: `rowBody`. */
  readonly single: boolean;
  /** Whether the block maxima of B are quantised themselves. */
  readonly nested: boolean;
  /**
   * How `broadcast` applies the scales of a quantised B: one for `u.run` steps of k and a column (`run`), one for a step
   * of k and all columns of a workgroup (`step`), or one for each element that is read.
   */
  readonly scales: 'run' | 'step' | 'element';
  /** Rows and columns of C that one invocation sums (in `broadcast`: rows of a subgroup, columns of a lane). */
  readonly rows: number;
  readonly columns: number;
}

/** The map of a nested absmax and its offset. */
const MAP_WORDS = 257;

/** Right shift of a word of codes that brings code `i` to the lowest bits; nf4's even elements are the high halves. */
export const codeShift = (bType: 'nf4' | 'i8', i: number) => (bType === 'i8' ? i * 8 : (i ^ 1) * 4);

/** Codes in a word. */
export const codesOfWord = (bType: 'nf4' | 'i8') => (bType === 'nf4' ? 8 : 4);

export function quantizedType({ bType }: MatmulVariant): 'nf4' | 'i8' | null {
  return bType === 'nf4' || bType === 'i8' ? bType : null;
}

/**
 * Where the codes of a nested absmax begin in `statistics` of so many words: behind map, offset and a number for each group of
 * 256 blocks, to each of which belong 64 words of codes, or fewer in the last.
 */
export function absmaxCodesWord(words: number): number {
  return MAP_WORDS + Math.ceil((words - MAP_WORDS) / (1 + NESTED_BLOCK / 4));
}

/** Elements of C that are stored at a time: an f16 shares its word with its neighbour. */
export const storeWidth = (v: MatmulVariant) => (v.cType === 'f32' ? 1 : 2);

const four = (text: (i: number) => string) => `vec4(${each(4, text, ', ')})`;

/**
 * `aAt`, `bAt`: one element; `a4`, `b4`: four along the dimension that is contiguous in memory. Indices outside the matrix
 * are the caller's to avoid. `store` writes `storeWidth` elements of C. For quantised weights also `NF4`, and
 * `scaleAt(k, column)`, what the number of a code is multiplied by.
 */
export function loaders(v: MatmulVariant): string {
  const width = storeWidth(v);
  const aIndex = v.aLayout === 'mk' ? 'u.aOffset + row * u.aStride + k' : 'u.aOffset + k * u.aStride + row';
  const aMask = v.mask === 'a';
  const aVector = v.aVectors
    ? `aLoad4(${aIndex})${aMask ? ` * ${four((i) => `keep(row * u.K + k + ${i}u)`)}` : ''}`
    : four((i) => (v.aLayout === 'mk' ? `aAt(row, min(k + ${i}u, u.K - 1u))` : `aAt(min(row + ${i}u, u.M - 1u), k)`));
  const bias = each(width, (i) => `bias[u.nOffset + column + ${i}u]`, ', ');
  return `${accessors({ a: v.aType, ...(v.residual && { residual: v.residual }) }, { c: v.cType })}
fn aAt(row: u32, k: u32) -> f32 { return aLoad1(${aIndex})${aMask ? ' * keep(row * u.K + k)' : ''}; }
fn a4(row: u32, k: u32) -> vec4<f32> { return ${aVector}; }
${bLoaders(v)}
${v.low ? `fn mAt(r: u32, column: u32) -> f32 { return m[${v.low === 'nk' ? '(u.nOffset + column) * u.R + r' : 'r * u.N + column'}]; }` : ''}
fn store(row: u32, column: u32, sum: ${numbers(width)}) {
  let e = u.cOffset + row * u.cStride + column;
  var value = ${v.low ? 'sum' : 'u.alpha * sum'}${v.bias ? ` + ${numbers(width)}(${bias})` : ''}${v.residual ? ` + residualLoad${width}(e)` : ''};
  if (u.accumulate == 1u) { value += cLoad${width}(e); }
  cStore${width}(e, value);
}
fn maskLow(row: u32, column: u32, sum: f32) -> f32 { return sum${v.mask === 'low' ? ' * keep(row * u.N + column)' : ''}; }`;
}

function bLoaders(v: MatmulVariant): string {
  const index = v.bLayout === 'nk' ? 'u.bOffset + column * u.bStride + k' : 'u.bOffset + k * u.bStride + column';
  const { helpers, element, vector } = bStorage(v);
  const mask = v.mask === 'b';
  const elements = four((i) =>
    v.bLayout === 'nk' ? `bAt(min(k + ${i}u, u.K - 1u), column)` : `bAt(k, min(column + ${i}u, u.N - 1u))`,
  );
  const masked = `${vector}${mask ? ` * ${four((i) => `keep(k * u.N + column + ${i}u)`)}` : ''}`;
  return `${helpers}
fn bAt(k: u32, column: u32) -> f32 { let e = ${index}; return ${element}${mask ? ' * keep(k * u.N + column)' : ''}; }
fn b4(k: u32, column: u32) -> vec4<f32> { let e = ${index}; return ${v.bVectors ? masked : elements}; }`;
}

/** WGSL of element `e` of B, of the four from `e` on where rows begin at multiples of four, and what these need. */
function bStorage(v: MatmulVariant): { helpers: string; element: string; vector: string } {
  const quantized = quantizedType(v);
  if (quantized) {
    const codes = codesOfWord(quantized);
    return {
      helpers: quantizedHelpers(v, quantized),
      element: `decode(b[e / ${codes}u], e % ${codes}u) * scaleAt(k, column)`,
      vector: `decode4(b[e / ${codes}u]${quantized === 'nf4' ? ' >> ((e & 4u) * 4u)' : ''}) * scaleAt(k, column)`,
    };
  }
  if (v.bType === 'f32') {
    return { helpers: '', element: v.bVectors ? 'b[e / 4u][e % 4u]' : 'b[e]', vector: 'b[e / 4u]' };
  }
  const unpack =
    v.bType === 'f16' ? 'unpack2x16float(w)' : 'vec2(bitcast<f32>(w << 16u), bitcast<f32>(w & 0xffff0000u))';
  return {
    helpers: `fn unpack2(w: u32) -> vec2<f32> { return ${unpack}; }
fn unpack4(w: vec2<u32>) -> vec4<f32> { return vec4(unpack2(w.x), unpack2(w.y)); }`,
    element: v.bVectors
      ? 'unpack4(b[e / 4u])[e % 4u]'
      : 'select(unpack2(b[e / 2u]).x, unpack2(b[e / 2u]).y, e % 2u == 1u)',
    vector: 'unpack4(b[e / 4u])',
  };
}

function quantizedHelpers(v: MatmulVariant, type: 'nf4' | 'i8'): string {
  const row = v.bLayout === 'nk' ? 'column' : 'k';
  const along = v.bLayout === 'nk' ? 'k' : 'column';
  const absmax = v.nested
    ? `let code = (statistics[u.absmaxWord + i / 4u] >> ((i % 4u) * 8u)) & 255u;
  return bitcast<f32>(statistics[code]) * bitcast<f32>(statistics[${MAP_WORDS}u + i / ${NESTED_BLOCK}u]) + bitcast<f32>(statistics[${MAP_WORDS - 1}]);`
    : 'return bitcast<f32>(statistics[i]);';
  const decode =
    type === 'nf4'
      ? `const NF4 = array<f32, 16>(${NF4.join(', ')});
fn decode(word: u32, i: u32) -> f32 { return NF4[(word >> ((i ^ 1u) * 4u)) & 15u]; }`
      : `fn decode(word: u32, i: u32) -> f32 { return f32(extractBits(bitcast<i32>(word), i * 8u, 8u)); }`;
  const block = type === 'nf4' ? `((u.bFirst + ${row}) * u.bStride + ${along}) >> u.blockShift` : `u.bFirst + ${row}`;
  return `${decode}
fn decode4(word: u32) -> vec4<f32> { return ${four((i) => `decode(word, ${i}u)`)}; }
fn absmax(i: u32) -> f32 {
  ${absmax}
}
fn scaleAt(k: u32, column: u32) -> f32 { return absmax(${block})${type === 'i8' ? ' / 127.0' : ''}; }`;
}
