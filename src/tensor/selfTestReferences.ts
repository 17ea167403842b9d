/** Plain arithmetic in float64 for every op, and the storage types and dropout mask that kernels share. */
export type Numbers = ArrayLike<number>;

type Named = Readonly<Record<string, Numbers>>;

const at = (values: Numbers | undefined, index: number): number => values?.[index] ?? Number.NaN;
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** x · Wᵀ + bias + residual + scale · drop(x) · Aᵀ · Bᵀ. x: [T, K], w: [N, K]. */
export function linear(
  { x, w, bias, residual, loraA, loraB }: Named,
  { T, K, N, r, scale, mask }: { T: number; K: number; N: number; r: number; scale: number; mask: Mask | null },
): Float64Array {
  return Float64Array.from({ length: T * N }, (_, index) => {
    const [t, n] = [Math.floor(index / N), index % N];
    let y = (bias ? at(bias, n) : 0) + (residual ? at(residual, index) : 0);
    for (let k = 0; k < K; k++) {
      const kept = mask ? keep(t * K + k, mask) : 1;
      let low = 0;
      for (let i = 0; i < r; i++) low += at(loraA, i * K + k) * at(loraB, n * r + i);
      y += at(x, t * K + k) * (at(w, n * K + k) + scale * kept * low);
    }
    return y;
  });
}

export function rmsNorm({ x, w }: Named, T: number, C: number, eps: number): Float64Array {
  const scales = range(T).map(
    (t) => 1 / Math.sqrt(range(C).reduce((sum, c) => sum + at(x, t * C + c) ** 2, 0) / C + eps),
  );
  return Float64Array.from({ length: T * C }, (_, i) => at(x, i) * at(scales, Math.floor(i / C)) * at(w, i % C));
}

/** Rotates halves of each head of size D; a row of `table` is D/2 cosines and D/2 sines. */
export function rope({ x, positions, table }: Named, W: number, D: number): Float64Array {
  const half = D / 2;
  return Float64Array.from({ length: x?.length ?? 0 }, (_, index) => {
    const i = index % D;
    const angle = at(positions, Math.floor(index / W)) * D + (i % half);
    const other = i < half ? -at(x, index + half) : at(x, index - half);
    return at(x, index) * at(table, angle) + other * at(table, angle + half);
  });
}

export const ACTIVATIONS = {
  silu: (x: number) => x / (1 + Math.exp(-x)),
  gelu: (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
} as const;

/** erf by its series of positive terms, 2/√π · exp(-x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!. For |x| up to 6. */
function erf(x: number): number {
  let term = x;
  let total = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(total); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    total += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}

export interface AttentionShape {
  readonly heads: number;
  readonly groups: number;
  /** Head size. */
  readonly D: number;
  readonly scale: number;
}

/** softmax(scale · q · Kᵀ) · V for each query row; it sees rows `first(i)` … `last(i)` of k and v. */
export function attention(
  { q, k, v }: Named,
  { heads, groups, D, scale }: AttentionShape,
  rows: readonly { readonly first: number; readonly last: number }[],
): Float64Array {
  const out = new Float64Array(rows.length * heads * D);
  rows.forEach(({ first, last }, i) => {
    for (const h of range(heads)) {
      const query = (i * heads + h) * D;
      const keys = range(last - first + 1).map((n) => ((first + n) * groups + Math.floor((h * groups) / heads)) * D);
      const scores = keys.map((key) => scale * range(D).reduce((sum, d) => sum + at(q, query + d) * at(k, key + d), 0));
      const top = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - top));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (const d of range(D)) {
        out[query + d] = keys.reduce((sum, key, n) => sum + (at(weights, n) / total) * at(v, key + d), 0);
      }
    }
  });
  return out;
}

/** −log softmax(x · Wᵀ) at the target of each row; 0 for a target that is no token. x: [R, C], w: [V, C]. */
export function crossEntropy({ x, w, targets }: Named, C: number, V: number): Float64Array {
  return Float64Array.from({ length: targets?.length ?? 0 }, (_, row) => {
    const target = at(targets, row);
    if (target >= V) return 0;
    const logits = range(V).map((n) => range(C).reduce((sum, c) => sum + at(x, row * C + c) * at(w, n * C + c), 0));
    const top = Math.max(...logits);
    return Math.log(logits.reduce((sum, z) => sum + Math.exp(z - top), 0)) + top - at(logits, target);
  });
}

/** The dropout of one module in one micro-step. */
export interface Mask {
  readonly p: number;
  readonly stream: number;
  readonly seed: number;
}

/** The dropout mask: 0 or 1 / (1 − p). */
function keep(index: number, { p, stream, seed }: Mask): number {
  const key = pcg((seed + Math.imul(stream, 2654435769)) >>> 0);
  return pcg((index ^ key) >>> 0) >= Math.round(p * 2 ** 32) ? 1 / (1 - p) : 0;
}

function pcg(x: number): number {
  const state = (Math.imul(x, 747796405) + 2891336453) >>> 0;
  const word = Math.imul((state >>> ((state >>> 28) + 4)) ^ state, 277803737) >>> 0;
  return ((word >>> 22) ^ word) >>> 0;
}

/** Significant bits behind the leading one, and the exponent of the smallest normal number. */
const FORMATS = { f16: { bits: 10, smallest: -14 }, bf16: { bits: 7, smallest: -126 } } as const;

/** The nearest number of a 16-bit type, ties to even. */
export function rounded(value: number, dtype: keyof typeof FORMATS): number {
  if (value === 0) return 0;
  const { bits, smallest } = FORMATS[dtype];
  const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(value))), smallest) - bits);
  const steps = value / unit;
  const below = Math.floor(steps);
  const up = steps - below > 0.5 || (steps - below === 0.5 && below % 2 !== 0);
  return (up ? below + 1 : below) * unit;
}

/** The packed words of numbers that a 16-bit type holds exactly. */
export function packed(values: Numbers, dtype: keyof typeof FORMATS): Uint32Array<ArrayBuffer> {
  const bits = new Uint32Array(Float32Array.from(values).buffer);
  const halves = Array.from(bits, (word) => {
    if (dtype === 'bf16') return word >>> 16;
    const exponent = (word >>> 23) & 0xff;
    return ((word >>> 16) & 0x8000) | (exponent === 0 ? 0 : ((exponent - 112) << 10) | ((word >>> 13) & 0x3ff));
  });
  return Uint32Array.from({ length: Math.ceil(halves.length / 2) }, (_, i) => {
    return ((halves[2 * i] ?? 0) | ((halves[2 * i + 1] ?? 0) << 16)) >>> 0;
  });
}
