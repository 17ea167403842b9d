/**
 * Matrix product, the kernel under every linear layer.
 *
 *     C[m, n] (+)= alpha · Σ_k A[m, k] · B[k, n]  +  Σ_r L[m, r] · M[r, n]  +  bias[n] + residual[m, n]
 *
 * A: f32, rows along m (`mk`) or along k (`km`). B: f32, f16 or bf16, rows along n (`nk`, a weight in x·Wᵀ) or along k
 * (`kn`). The low-rank pair L·M is LoRA's part; it is summed first, so that its dropout mask may multiply it alone, and
 * alpha is then 1.
 * Sums are f32 in registers. Three bodies, one for each family of adapters: see docs/architecture.md.
 */
import type { GpuTraits } from '../gpu/device.ts';
import { invariant } from '../platform/errors.ts';
import { type Dtype, defineKernel, type Step, type Tensor } from './define.ts';
import { type Dropout, dropoutUniforms, keepFunction } from './dropout.ts';
import { broadcastBody, type MatmulVariant, registersBody, tiledBody } from './matmulBodies.ts';

const bindingType = (dtype: Dtype, vectors: boolean) => {
  if (dtype === 'f32') return vectors ? 'vec4<f32>' : 'f32';
  return vectors ? 'vec2<u32>' : 'u32';
};

export const matmulKernel = defineKernel({
  name: 'matmul',
  uniforms: {
    M: 'u32',
    N: 'u32',
    K: 'u32',
    R: 'u32',
    aOffset: 'u32',
    aStride: 'u32',
    bOffset: 'u32',
    bStride: 'u32',
    cOffset: 'u32',
    cStride: 'u32',
    nOffset: 'u32',
    accumulate: 'u32',
    alpha: 'f32',
    stream: 'u32',
    threshold: 'u32',
    keepScale: 'f32',
  },
  reads: (v: MatmulVariant) => ({
    a: bindingType('f32', v.aVectors),
    b: bindingType(v.bType, v.bVectors),
    ...(v.low && { l: 'f32', m: 'f32' }),
    ...(v.bias && { bias: 'f32' }),
    ...(v.residual && { residual: 'f32' }),
    ...(v.mask && { seed: 'u32' }),
  }),
  writes: () => ({ c: 'f32' }),
  source: (v, traits) => `${v.mask ? keepFunction : ''}
${loaders(v)}
${{ broadcast: broadcastBody, registers: registersBody, tiled: tiledBody }[traits.family](v, traits.subgroupSize)}`,
});

/**
 * `aAt`, `bAt`: one element; `a4`, `b4`: four along the dimension that is contiguous in memory. Indices outside the matrix
 * are the caller's to avoid.
 */
function loaders(v: MatmulVariant): string {
  const unpack =
    v.bType === 'f16' ? 'unpack2x16float(w)' : 'vec2(bitcast<f32>(w << 16u), bitcast<f32>(w & 0xffff0000u))';
  const packed = v.bType !== 'f32';
  const aIndex = v.aLayout === 'mk' ? 'u.aOffset + row * u.aStride + k' : 'u.aOffset + k * u.aStride + row';
  const bIndex = v.bLayout === 'nk' ? 'u.bOffset + column * u.bStride + k' : 'u.bOffset + k * u.bStride + column';
  const four = '0u, 1u, 2u, 3u';
  const aMask = v.mask === 'a' ? ' * keep(row * u.K + k)' : '';
  const bMask = v.mask === 'b' ? ' * keep(k * u.N + column)' : '';
  const mask4 = (index: string) => ` * vec4(${[0, 1, 2, 3].map((i) => `keep(${index} + ${i}u)`).join(', ')})`;
  const elements = (at: (offset: string) => string) => `vec4(${four.split(', ').map(at).join(', ')})`;
  const aVector = v.aVectors
    ? `a[(${aIndex}) / 4u]${v.mask === 'a' ? mask4('row * u.K + k') : ''}`
    : elements((i) => (v.aLayout === 'mk' ? `aAt(row, min(k + ${i}, u.K - 1u))` : `aAt(min(row + ${i}, u.M - 1u), k)`));
  const bVector = v.bVectors
    ? `${packed ? `unpack4(b[(${bIndex}) / 4u])` : `b[(${bIndex}) / 4u]`}${v.mask === 'b' ? mask4('k * u.N + column') : ''}`
    : elements((i) =>
        v.bLayout === 'nk' ? `bAt(min(k + ${i}, u.K - 1u), column)` : `bAt(k, min(column + ${i}, u.N - 1u))`,
      );
  const bElement = packed
    ? v.bVectors
      ? `unpack4(b[e / 4u])[e % 4u]`
      : `select(unpack2(b[e / 2u]).x, unpack2(b[e / 2u]).y, e % 2u == 1u)`
    : v.bVectors
      ? 'b[e / 4u][e % 4u]'
      : 'b[e]';
  return `${
    packed
      ? `fn unpack2(w: u32) -> vec2<f32> { return ${unpack}; }
fn unpack4(w: vec2<u32>) -> vec4<f32> { return vec4(unpack2(w.x), unpack2(w.y)); }`
      : ''
  }
fn aAt(row: u32, k: u32) -> f32 { let e = ${aIndex}; return ${v.aVectors ? 'a[e / 4u][e % 4u]' : 'a[e]'}${aMask}; }
fn bAt(k: u32, column: u32) -> f32 { let e = ${bIndex}; return ${bElement}${bMask}; }
fn a4(row: u32, k: u32) -> vec4<f32> { return ${aVector}; }
fn b4(k: u32, column: u32) -> vec4<f32> { return ${bVector}; }
${v.low ? `fn mAt(r: u32, column: u32) -> f32 { return m[${v.low === 'nk' ? '(u.nOffset + column) * u.R + r' : 'r * u.N + column'}]; }` : ''}
fn store(row: u32, column: u32, sum: f32) {
  let e = u.cOffset + row * u.cStride + column;
  var value = ${v.low ? 'sum' : 'u.alpha * sum'}${v.bias ? ' + bias[u.nOffset + column]' : ''}${v.residual ? ' + residual[e]' : ''};
  if (u.accumulate == 1u) { value += c[e]; }
  c[e] = value;
}
fn maskLow(row: u32, column: u32, sum: f32) -> f32 { return sum${v.mask === 'low' ? ' * keep(row * u.N + column)' : ''}; }`;
}

export interface MatmulOperand {
  readonly tensor: Tensor;
  /** Elements before the first one, and between rows. */
  readonly offset?: number;
  readonly stride?: number;
}

export interface MatmulProblem {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: MatmulOperand & { readonly layout?: 'mk' | 'km' };
  readonly b: MatmulOperand & { readonly layout?: 'nk' | 'kn' };
  readonly c: MatmulOperand;
  readonly accumulate?: 0 | 1;
  /** Not with `low`. */
  readonly alpha?: number;
  readonly bias?: Tensor | undefined;
  /** Number of the first column, where `b` is a part of a weight: `bias` and the `nk` side of `low` are whole. */
  readonly nOffset?: number;
  /** Laid out as C, added to the product. */
  readonly residual?: Tensor | undefined;
  /** L [m, r] and M, `nk`: [n, r] or `kn`: [r, n]. */
  readonly low?:
    | { readonly l: Tensor; readonly m: Tensor; readonly layout: 'nk' | 'kn'; readonly r: number }
    | undefined;
  readonly mask?: { readonly on: 'a' | 'b' | 'low'; readonly dropout: Dropout; readonly seed: Tensor } | undefined;
}

/** Appends a matrix product to a step. */
export function matmul(step: Step, problem: MatmulProblem): void {
  const { m, n, k, a, b, c, low, mask } = problem;
  invariant(!low || (problem.alpha ?? 1) === 1, 'matmul: alpha has no part in a product with a low-rank pair');
  const aLayout = a.layout ?? 'mk';
  const bLayout = b.layout ?? 'nk';
  const aStride = a.stride ?? (aLayout === 'mk' ? k : m);
  const bStride = b.stride ?? (bLayout === 'nk' ? k : n);
  const aligned = (operand: MatmulOperand, stride: number) => stride % 4 === 0 && (operand.offset ?? 0) % 4 === 0;
  const bVectors = aligned(b, bStride) && (bLayout === 'nk' ? k : n) % 4 === 0;
  const { family, subgroupSize } = step.traits;
  const aVectors = family !== 'broadcast' && aligned(a, aStride) && (aLayout === 'mk' ? k : m) % 4 === 0;
  const tile = chooseTile(step.traits, problem, bLayout, bVectors);
  const variant: MatmulVariant = {
    aLayout,
    bLayout,
    bType: b.tensor.dtype,
    aVectors,
    bias: problem.bias !== undefined,
    residual: problem.residual !== undefined,
    low: low?.layout ?? null,
    mask: mask?.on ?? null,
    ...tile,
  };
  const [groupRows, groupColumns] = {
    broadcast: [tile.rows, tile.columns * subgroupSize] as const,
    registers: [32, 32] as const,
    tiled: [64, 64] as const,
  }[family];
  step.run(
    matmulKernel,
    variant,
    {
      a: a.tensor,
      b: b.tensor,
      c: c.tensor,
      l: low?.l,
      m: low?.m,
      bias: problem.bias,
      residual: problem.residual,
      seed: mask?.seed,
    },
    {
      M: m,
      N: n,
      K: k,
      R: low?.r ?? 0,
      aOffset: a.offset ?? 0,
      aStride,
      bOffset: b.offset ?? 0,
      bStride,
      cOffset: c.offset ?? 0,
      cStride: c.stride ?? n,
      nOffset: problem.nOffset ?? 0,
      accumulate: problem.accumulate ?? 0,
      alpha: problem.alpha ?? 1,
      ...dropoutUniforms(mask?.dropout ?? null),
    },
    [Math.ceil(n / groupColumns), Math.ceil(m / groupRows)],
    2 * m * n * (k + (low?.r ?? 0)),
  );
}

/** Speeds measured for tiles of so many rows and columns (GFLOP per CPU second, docs/performance.md). */
const SPEED_OF_ROWS = { 1: 3, 2: 5, 4: 9, 8: 14, 16: 17 };
const SPEED_OF_COLUMNS = { along: { 1: 12, 2: 16, 3: 17 }, across: { 1: 11, 2: 12.5, 3: 13 }, quads: { 4: 16.5 } };

/** The tile that is fastest after what it wastes at the edges. */
function bestTile(
  size: number,
  unit: number,
  speeds: Readonly<Record<number, number>>,
): { count: number; score: number } {
  return Object.entries(speeds)
    .map(([count, speed]) => {
      const tile = Number(count) * unit;
      return { count: Number(count), score: (speed * size) / (Math.ceil(size / tile) * tile) };
    })
    .reduce((a, b) => (b.score > a.score ? b : a));
}

/** Rows and columns of a tile, and whether B is read as vectors. `kn` vectors are four columns of one lane. */
function chooseTile(
  { family, subgroupSize }: GpuTraits,
  { m, n }: MatmulProblem,
  layout: 'nk' | 'kn',
  canVectors: boolean,
): Pick<MatmulVariant, 'rows' | 'columns' | 'bVectors'> {
  if (family !== 'broadcast') return { rows: 4, columns: 4, bVectors: canVectors };
  const rows = bestTile(m, 1, SPEED_OF_ROWS).count;
  const { along, across, quads } = SPEED_OF_COLUMNS;
  if (layout === 'nk') return { rows, columns: bestTile(n, subgroupSize, along).count, bVectors: canVectors };
  const apart = bestTile(n, subgroupSize, across);
  const four = bestTile(n, subgroupSize, quads);
  const bVectors = canVectors && four.score > apart.score;
  return { rows, columns: bVectors ? four.count : apart.count, bVectors };
}
