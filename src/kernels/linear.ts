/**
 * Linear layer, with an optional low-rank adapter and an optional residual connection.
 *
 *     y = x · Wᵀ + b + residual + s · drop(x) · Aᵀ · Bᵀ
 *     dx = dy · W + mask ∘ (s · dy · B · A) / (1 − p)        dW += dyᵀ · x        db += Σ_t dy
 *     dA += s · (dy · B)ᵀ · drop(x)                          dB += s · dyᵀ · (drop(x) · Aᵀ)
 *
 * x: [T, K], residual and y: [T, N], f32 or f16. W: [N, K] f32, f16, bf16, nf4 or i8, possibly split by rows. b: [N], A: [r, K],
 * B: [N, r], f32. Saved for backward: s · drop(x) · Aᵀ [T, r] f32. The gradient of the residual is dy, passed on.
 * Source of the adapter: Hu et al. 2021, arXiv:2106.09685; order of products as in PEFT, always through rank r first.
 */
import { SftError } from '../platform/errors.ts';
import { accessors, type Storage, storageOf } from './activation.ts';
import {
  defineKernel,
  defineOp,
  expectShape,
  matrixShape,
  parameterGradient,
  shardsOf,
  type Tensor,
} from './define.ts';
import type { Dropout } from './dropout.ts';
import { matmul } from './matmul.ts';
import { main, wgsl } from './wgsl.ts';

export interface LinearInputs {
  readonly [name: string]: Tensor | undefined;
  readonly x: Tensor;
  readonly w: Tensor;
  readonly bias?: Tensor | undefined;
  readonly residual?: Tensor | undefined;
  readonly loraA?: Tensor | undefined;
  readonly loraB?: Tensor | undefined;
  /** [1] u32, the dropout seed of the micro-step. */
  readonly seed?: Tensor | undefined;
}

export interface LinearAttributes {
  /** s: alpha / r, or alpha / √r. */
  readonly scale?: number;
  readonly dropout?: Dropout | null;
}

const columnSum = defineKernel({
  name: 'linear.backwardBias',
  uniforms: { T: 'u32', N: 'u32' },
  reads: ({ type }: { type: Storage }) => ({ dy: type }),
  writes: () => ({ db: 'f32' }),
  source: ({ type }) => wgsl`
${accessors({ dy: type })}
${main(64)} {
  let n = wg.x * 64u + lane;
  if (n >= u.N) { return; }
  var sum = 0.0;
  for (var t = 0u; t < u.T; t++) { sum += dyLoad1(t * u.N + n); }
  db[n] += sum;
}`,
});

/**
 * x · wᵀ + bias + residual + scale · drop(x) · loraAᵀ · loraBᵀ: x [T, K], w [N, K], bias [N], residual [T, N], loraA [r, K],
 * loraB [N, r] → [T, N]. All but x and w may be left out; loraA and loraB go together (arXiv:2106.09685), and `dropout`
 * needs `seed`.
 */
export const linear = defineOp({
  name: 'linear',
  check({ x, w, bias, residual, loraA, loraB, seed }: LinearInputs, { dropout }: LinearAttributes) {
    const [T, K] = matrixShape('linear', 'x', x);
    const [N] = matrixShape('linear', 'w', w);
    expectShape('linear', 'w', w, [N, K], `to match x [${T}, ${K}]`);
    if (bias) expectShape('linear', 'bias', bias, [N], 'to match w');
    if (residual) expectShape('linear', 'residual', residual, [T, N], 'to match y');
    if ((loraA === undefined) !== (loraB === undefined))
      throw new SftError('INTERNAL', '[linear] loraA and loraB go together');
    if (loraA && loraB) {
      const [r] = matrixShape('linear', 'loraA', loraA);
      expectShape('linear', 'loraA', loraA, [r, K], 'to match x');
      expectShape('linear', 'loraB', loraB, [N, r], 'to match w and loraA');
      if (dropout && !seed) throw new SftError('INTERNAL', '[linear] dropout needs a seed');
    }
  },
  forward(step, { x, w, bias, residual, loraA, loraB, seed }, { scale = 1, dropout }) {
    const [T, K] = matrixShape('linear', 'x', x);
    const [N] = matrixShape('linear', 'w', w);
    const y = step.tensor('linear', [T, N], { dtype: x.dtype });
    const mask = dropout && seed ? { dropout, seed } : null;
    let low: { l: Tensor; m: Tensor; layout: 'nk'; r: number } | undefined;
    if (loraA && loraB) {
      const [r] = matrixShape('linear', 'loraA', loraA);
      const l = step.tensor('linear.lora', [T, r]);
      const a = { tensor: x };
      matmul(step, {
        m: T,
        n: r,
        k: K,
        a,
        b: { tensor: loraA },
        c: { tensor: l },
        alpha: scale,
        mask: mask ? { on: 'a', ...mask } : undefined,
      });
      low = { l, m: loraB, layout: 'nk', r };
    }
    for (const { tensor, start, rows } of shardsOf(w)) {
      const c = { tensor: y, offset: start, stride: N };
      const b = { tensor, first: start };
      matmul(step, { m: T, n: rows, k: K, a: { tensor: x }, b, c, nOffset: start, bias, residual, low });
    }
    return { out: y, saved: { x, w, loraA, loraB, l: low?.l, T, K, N, scale, mask } };
  },
  backward(step, { x, w, loraA, loraB, l, T, K, N, scale, mask }, dy, gradients) {
    gradients.pass('residual', dy);
    const db = parameterGradient(gradients.into('bias'));
    if (db) step.run(columnSum, { type: storageOf(dy, step.traits, false) }, { dy, db }, { T, N }, [Math.ceil(N / 64)]);
    const dw = gradients.into('w');
    if (dw) {
      for (const { tensor, start, rows } of shardsOf(dw.tensor)) {
        const a = { tensor: dy, layout: 'km', offset: start, stride: N } as const;
        matmul(step, {
          m: rows,
          n: K,
          k: T,
          a,
          b: { tensor: x, layout: 'kn' },
          c: { tensor },
          accumulate: dw.accumulate,
        });
      }
    }
    let low: { l: Tensor; m: Tensor; layout: 'kn'; r: number } | undefined;
    if (loraA && loraB && l) {
      const [r] = matrixShape('linear', 'loraA', loraA);
      const dl = step.tensor('d linear.lora', [T, r]);
      matmul(step, {
        m: T,
        n: r,
        k: N,
        a: { tensor: dy },
        b: { tensor: loraB, layout: 'kn' },
        c: { tensor: dl },
        alpha: scale,
      });
      const dB = gradients.into('loraB');
      if (dB) {
        const [a, b, c] = [
          { tensor: dy, layout: 'km' } as const,
          { tensor: l, layout: 'kn' } as const,
          { tensor: dB.tensor },
        ];
        matmul(step, { m: N, n: r, k: T, a, b, c, accumulate: dB.accumulate });
      }
      const dA = gradients.into('loraA');
      if (dA) {
        const [a, b, c] = [
          { tensor: dl, layout: 'km' } as const,
          { tensor: x, layout: 'kn' } as const,
          { tensor: dA.tensor },
        ];
        matmul(step, {
          m: r,
          n: K,
          k: T,
          a,
          b,
          c,
          accumulate: dA.accumulate,
          mask: mask ? { on: 'b', ...mask } : undefined,
        });
      }
      low = { l: dl, m: loraA, layout: 'kn', r };
    }
    const dx = gradients.into('x');
    if (!dx) return;
    shardsOf(w).forEach(({ tensor, start, rows }, index) => {
      const first = index === 0;
      matmul(step, {
        m: T,
        n: K,
        k: rows,
        a: { tensor: dy, offset: start, stride: N },
        b: { tensor, layout: 'kn', first: start },
        c: { tensor: dx.tensor },
        accumulate: first ? dx.accumulate : 1,
        low: first ? low : undefined,
        mask: first && low && mask ? { on: 'low', ...mask } : undefined,
      });
    });
  },
});
