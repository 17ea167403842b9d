/**
 * Matrix product, the kernel under every linear layer.
 *
 *     C[m, n] (+)= alpha · Σ_k A[m, k] · B[k, n]  +  Σ_r L[m, r] · M[r, n]  +  bias[n] + residual[m, n]
 *
 * A: f32 or f16, rows along m (`mk`) or along k (`km`). B: f32, f16, bf16, or quantised (nf4, i8), rows along n (`nk`, a
 * weight in x·Wᵀ) or along k (`kn`). C and the residual: f32, or f16 with rows of an even length. All others: f32. The low-rank
 * pair L·M is LoRA's part; it is summed first, so that its dropout mask may multiply it alone, and alpha is then 1.
 * Sums are f32 in registers. One body for each family of adapters (see docs/architecture.md), and one for few rows on GPUs.
 */
import { invariant } from '../platform/errors.ts';
import { storageOf } from './activation.ts';
import { type Dtype, defineKernel, type Step, type Tensor } from './define.ts';
import { type Dropout, dropoutUniforms, keepFunction } from './dropout.ts';
import { registersBody, rowBody, tiledBody } from './matmulBodies.ts';
import { broadcastBody } from './matmulBroadcast.ts';
import { absmaxCodesWord, loaders, type MatmulVariant, quantizedType } from './matmulLoaders.ts';
import { chooseTile } from './matmulTiles.ts';

const bindingType = (dtype: Dtype, vectors: boolean) => {
  if (dtype === 'f32') return vectors ? 'vec4<f32>' : 'f32';
  if (dtype === 'nf4' || dtype === 'i8') return 'u32';
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
    bFirst: 'u32',
    blockShift: 'u32',
    absmaxWord: 'u32',
    run: 'u32',
  },
  reads: (v: MatmulVariant) => ({
    a: v.aType,
    b: bindingType(v.bType, v.bVectors),
    ...(quantizedType(v) && { statistics: 'u32' }),
    ...(v.low && { l: 'f32', m: 'f32' }),
    ...(v.bias && { bias: 'f32' }),
    ...(v.residual && { residual: v.residual }),
    ...(v.mask && { seed: 'u32' }),
  }),
  writes: (v) => ({ c: v.cType }),
  source: (v, traits) => `${v.mask ? keepFunction : ''}
${loaders(v)}
${v.single ? rowBody(v) : { broadcast: broadcastBody, registers: registersBody, tiled: tiledBody }[traits.family](v, traits.subgroupSize)}`,
});

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
  /** `first` is the number of the first row where `b` is a part of a quantised matrix. Its rows are whole, one by one. */
  readonly b: MatmulOperand & { readonly layout?: 'nk' | 'kn'; readonly first?: number };
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
  const { family } = step.traits;
  const aVectors = family !== 'broadcast' && aligned(a, aStride) && (aLayout === 'mk' ? k : m) % 4 === 0;
  const tile = chooseTile(step.traits, {
    m,
    n,
    k,
    b: b.tensor,
    bLayout,
    aligned: bVectors,
    masked: mask !== undefined,
    pairs: c.tensor.dtype === 'f16',
  });
  const { dtype: bType, quantization } = b.tensor;
  const blockShift = bType === 'nf4' ? Math.log2(quantization?.blockSize ?? 0) : 0;
  if (bType === 'nf4' || bType === 'i8') {
    invariant(quantization && Number.isInteger(blockShift), `matmul: ${b.tensor.label} has no blocks of 2^i elements`);
    invariant(!b.offset && bStride === (bLayout === 'nk' ? k : n), 'matmul: the rows of a quantised matrix are whole');
    invariant(mask?.on !== 'b', 'matmul: the mask of a quantised matrix');
  }
  const variant: MatmulVariant = {
    aLayout,
    bLayout,
    aType: storageOf(a.tensor, step.traits, aVectors),
    bType,
    cType: storageOf(c.tensor, step.traits, false),
    aVectors,
    bias: problem.bias !== undefined,
    residual: problem.residual ? storageOf(problem.residual, step.traits, false) : null,
    low: low?.layout ?? null,
    mask: mask?.on ?? null,
    nested: quantization?.nested ?? false,
    ...tile.variant,
  };
  step.run(
    matmulKernel,
    variant,
    {
      a: a.tensor,
      b: b.tensor,
      statistics: quantization?.statistics,
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
      bFirst: b.first ?? 0,
      blockShift,
      absmaxWord: absmaxCodesWord(quantization?.statistics.shape[0] ?? 0),
      run: tile.run,
    },
    [Math.ceil(n / tile.group[1]), Math.ceil(m / tile.group[0])],
    2 * m * n * (k + (low?.r ?? 0)),
  );
}
