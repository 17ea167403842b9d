/**
 * Embedding lookup.
 *
 *     y[t, c] = w[ids[t], c]
 *     dw[v, c] += Σ_{t: ids[t] = v} dy[t, c]
 *
 * ids: [T] u32. w: [V, C] f32, f16 or bf16, possibly split by rows. y: [T, C] f32 or f16. Sums in f32.
 * Backward needs the tokens grouped by id (`TokenGroups`, made on the CPU), so that no two invocations add to one element;
 * WebGPU has no atomic addition of floats. Tokens of no group (padding) count nothing.
 */
import { accessors, type Storage, storageOf, widthOf } from './activation.ts';
import { defineKernel, defineOp, matrixShape, parameterGradient, shardsOf, type Tensor } from './define.ts';
import { each, linear, main, numbers, wgsl } from './wgsl.ts';

/**
 * Positions grouped by token id. order: [T] u32, positions sorted by id. starts: [T + 1] u32, where group g begins in
 * `order`. ids: [T] u32, the id of group g. count: [1] u32, the number of groups.
 */
export interface TokenGroups {
  readonly order: Tensor;
  readonly starts: Tensor;
  readonly ids: Tensor;
  readonly count: Tensor;
}

const forward = defineKernel({
  name: 'embedding.forward',
  uniforms: { T: 'u32', C: 'u32', start: 'u32', rows: 'u32', others: 'u32' },
  reads: (v: { dtype: string; type: Storage; n: 1 | 2 | 4 }) => ({ ids: 'u32', w: v.dtype === 'f32' ? 'f32' : 'u32' }),
  writes: ({ type }) => ({ y: type }),
  source: ({ dtype, type, n }) => wgsl`
${accessors({}, { y: type })}
fn weight(e: u32) -> f32 {
  #if ${dtype === 'f32'}
  return w[e];
  #elif ${dtype === 'f16'}
  return unpack2x16float(w[e / 2u])[e % 2u];
  #else
  return bitcast<f32>(select(w[e / 2u] << 16u, w[e / 2u] & 0xffff0000u, e % 2u == 1u));
  #endif
}
${main(64)} {
  let i = ((${linear}) * 64u + lane) * ${n}u;
  if (i >= u.T * u.C) { return; }
  let row = ids[i / u.C] - u.start;
  let e = row * u.C + i % u.C;
  if (row < u.rows) { yStore${n}(i, ${numbers(n)}(${each(n, (j) => `weight(e + ${j}u)`, ', ')})); }
  else if (u.others == 1u) { yStore${n}(i, ${numbers(n)}()); }
}`,
});

const backward = defineKernel({
  name: 'embedding.backward',
  uniforms: { C: 'u32', start: 'u32', rows: 'u32' },
  reads: ({ type }: { type: Storage }) => ({ order: 'u32', starts: 'u32', ids: 'u32', count: 'u32', dy: type }),
  writes: () => ({ dw: 'f32' }),
  source: ({ type }) => wgsl`
${accessors({ dy: type })}
${main(64)} {
  let parts = (u.C + 63u) / 64u;
  let group = (${linear}) / parts;
  let c = ((${linear}) % parts) * 64u + lane;
  if (group >= count[0] || c >= u.C) { return; }
  let row = ids[group] - u.start;
  if (row >= u.rows) { return; }
  var sum = 0.0;
  for (var i = starts[group]; i < starts[group + 1u]; i++) { sum += dyLoad1(order[i] * u.C + c); }
  dw[row * u.C + c] += sum;
}`,
});

/**
 * Rows of w [V, C] by `ids` [T] u32 → [T, C]; an id outside of the vocabulary reads as zeros. The gradient of w needs
 * `groups`, the positions by id.
 */
export const embedding = defineOp({
  name: 'embedding',
  check: ({ w }: { ids: Tensor; w: Tensor }, _: { groups: TokenGroups | null }) =>
    void matrixShape('embedding', 'w', w),
  forward(step, { ids, w }, { groups }) {
    const [T = 0] = ids.shape;
    const [, C] = matrixShape('embedding', 'w', w);
    const n = widthOf(C);
    const y = step.tensor('embedding', [T, C], { dtype: step.activation });
    const variant = { dtype: w.dtype, type: storageOf(y, step.traits, n === 4), n };
    shardsOf(w).forEach(({ tensor, start, rows }, index) => {
      // The first shard also clears the rows that belong to others, so that an id outside the vocabulary reads as zero.
      const others = index === 0 ? 1 : 0;
      step.run(forward, variant, { ids, w: tensor, y }, { T, C, start, rows, others }, [Math.ceil((T * C) / n / 64)]);
    });
    return { out: y, saved: { groups, T, C } };
  },
  backward(step, { groups, T, C }, dy, gradients) {
    const dw = parameterGradient(gradients.into('w'));
    if (!dw || !groups) return;
    const variant = { type: storageOf(dy, step.traits, false) };
    for (const { tensor, start, rows } of shardsOf(dw)) {
      step.run(backward, variant, { ...groups, dy, dw: tensor }, { C, start, rows }, [T * Math.ceil(C / 64)]);
    }
  },
});
