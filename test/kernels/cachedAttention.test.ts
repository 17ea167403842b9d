import { describe } from 'vitest';
import { cachedAttention } from '../../src/kernels/cachedAttention.ts';
import { checkOp, randomArray, testFamilies, useGpu } from './harness.ts';

useGpu();

interface Case {
  readonly D: number;
  readonly heads: number;
  readonly groups: number;
  /** Rows of the cache. */
  readonly N: number;
  /** For each new token the first cache row of its sequence and its own row; a row beyond N is padding. */
  readonly tokens: readonly (readonly [first: number, slot: number])[];
  readonly window?: number;
  /** Size of queries and keys: large ones overflow exp unless the maximum is taken off. */
  readonly size?: number;
}

const cases: readonly Case[] = [
  { D: 8, heads: 2, groups: 1, N: 5, tokens: [[0, 0]] },
  { D: 32, heads: 3, groups: 3, N: 40, tokens: [[0, 38]] },
  {
    D: 64,
    heads: 6,
    groups: 2,
    N: 90,
    tokens: [
      [0, 17],
      [30, 30],
      [31, 88],
    ],
  },
  {
    D: 80,
    heads: 2,
    groups: 1,
    N: 70,
    tokens: [
      [3, 69],
      [0, 2],
    ],
    window: 9,
  },
  { D: 128, heads: 2, groups: 2, N: 12, tokens: [[0, 11]], size: 12 },
  { D: 256, heads: 1, groups: 1, N: 70, tokens: [[1, 66]] },
  {
    D: 16,
    heads: 2,
    groups: 1,
    N: 10,
    tokens: [
      [0, 4],
      [0, 4294967295],
    ],
  },
];

describe('cachedAttention', () => {
  for (const one of cases) {
    const { D, heads, groups, N, tokens, window = 0, size = 1 } = one;
    testFamilies(JSON.stringify(one), (traits) => {
      const B = tokens.length;
      const width = groups * D;
      const scale = D ** -0.5;
      const matrix = (rows: number, columns: number, seed: number) => ({
        shape: [rows, columns],
        values: randomArray(rows * columns, seed, size),
      });
      const column = (n: 0 | 1) => ({
        shape: [B],
        dtype: 'u32' as const,
        values: Uint32Array.from(tokens, (token) => token[n]),
      });
      return checkOp({
        op: cachedAttention,
        inputs: {
          q: matrix(B, heads * D, 1),
          k: matrix(B, width, 2),
          v: matrix(B, width, 3),
          cacheK: matrix(N, width, 4),
          cacheV: matrix(N, width, 5),
          firsts: column(0),
          slots: column(1),
        },
        attributes: { heads, groups, scale, window },
        traits,
        reference({ q = [], k = [], v = [], cacheK = [], cacheV = [] }) {
          const [keys, values] = [Float64Array.from(cacheK), Float64Array.from(cacheV)];
          tokens.forEach(([, slot], b) => {
            if (slot >= N) return;
            for (let c = 0; c < width; c++) {
              keys[slot * width + c] = k[b * width + c]!;
              values[slot * width + c] = v[b * width + c]!;
            }
          });
          // What padding gives is nobody's business, as long as the other tokens do not see it.
          const out = new Float64Array(tokens.filter(([, slot]) => slot < N).length * heads * D);
          for (let at = 0; at < out.length; at += D) {
            const b = Math.floor(at / (heads * D));
            const g = Math.floor((((at / D) % heads) * groups) / heads);
            const [start = 0, slot = 0] = tokens[b] ?? [];
            const first = window > 0 ? Math.max(start, slot - window + 1) : start;
            const scores = Array.from({ length: slot - first + 1 }, (_, n) => {
              let score = 0;
              for (let d = 0; d < D; d++) score += q[at + d]! * keys[(first + n) * width + g * D + d]!;
              return score * scale;
            });
            const top = Math.max(...scores);
            const weights = scores.map((score) => Math.exp(score - top));
            const total = weights.reduce((sum, weight) => sum + weight, 0);
            weights.forEach((weight, n) => {
              for (let d = 0; d < D; d++) out[at + d]! += (weight / total) * values[(first + n) * width + g * D + d]!;
            });
          }
          return out;
        },
      });
    });
  }
});
