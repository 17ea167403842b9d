/**
 * Elementwise sum.
 *
 *     y = a + b
 *
 * a, b, y: f32 or f16 of one shape. Summed in f32. Backward: both gradients are dy itself, passed on without a copy.
 */
import { accessors, type Storage, storageOf } from './activation.ts';
import { countOf, defineKernel, defineOp, expectShape, type Step, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

const kernel = defineKernel({
  name: 'add',
  uniforms: { count: 'u32' },
  reads: (v: { type: Storage; b: boolean }) => ({ a: v.type, ...(v.b && { b: v.type }) }),
  writes: (v) => ({ y: v.type }),
  source: ({ type, b }) => wgsl`
${accessors({ a: type, ...(b && { b: type }) }, { y: type })}
${main(64)} {
  let e = ((${linear}) * 64u + lane) * 4u;
  if (e >= u.count) { return; }
  #if ${b}
  yStore4(e, aLoad4(e) + bLoad4(e));
  #else
  yStore4(e, aLoad4(e));
  #endif
}`,
});

/** Appends `out = a + b`, or a copy of `a` when `b` is null. */
export function sum(step: Step, a: Tensor, b: Tensor | null, out: Tensor): void {
  const count = countOf(a);
  const variant = { type: storageOf(a, step.traits, true), b: b !== null };
  step.run(kernel, variant, { a, b: b ?? undefined, y: out }, { count }, [Math.ceil(count / 256)]);
}

/** a + b, elementwise: two tensors of one shape, which is that of the result. */
export const add = defineOp({
  name: 'add',
  check: ({ a, b }: { a: Tensor; b: Tensor }, _: object) => expectShape('add', 'b', b, a.shape, 'to match a'),
  forward(step, { a, b }) {
    const out = step.tensor('add', a.shape, { dtype: a.dtype });
    sum(step, a, b, out);
    return { out, saved: null };
  },
  backward(_step, _saved, dOut, gradients) {
    gradients.pass('a', dOut);
    gradients.pass('b', dOut);
  },
});
