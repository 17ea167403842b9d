/**
 * Elementwise sum.
 *
 *     y = a + b
 *
 * a, b, y: f32 of one shape. Backward: both gradients are dy itself, passed on without a copy.
 */
import { bytesOf, defineKernel, defineOp, expectShape, type Step, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

const kernel = defineKernel({
  name: 'add',
  uniforms: { count: 'u32' },
  reads: (v: { b: boolean }) => ({ a: 'f32', ...(v.b && { b: 'f32' }) }),
  writes: () => ({ y: 'f32' }),
  source: ({ b }) => wgsl`
${main(64)} {
  let i = (${linear}) * 64u + lane;
  if (i >= u.count) { return; }
  #if ${b}
  y[i] = a[i] + b[i];
  #else
  y[i] = a[i];
  #endif
}`,
});

/** Appends `out = a + b`, or a copy of `a` when `b` is null. */
export function sum(step: Step, a: Tensor, b: Tensor | null, out: Tensor): void {
  const count = bytesOf(a) / 4;
  step.run(kernel, { b: b !== null }, { a, b: b ?? undefined, y: out }, { count }, [Math.ceil(count / 64)]);
}

export const add = defineOp({
  name: 'add',
  check: ({ a, b }: { a: Tensor; b: Tensor }, _: object) => expectShape('add', 'b', b, a.shape, 'to match a'),
  forward(step, { a, b }) {
    const out = step.tensor('add', a.shape);
    sum(step, a, b, out);
    return { out, saved: null };
  },
  backward(_step, _saved, dOut, gradients) {
    gradients.pass('a', dOut);
    gradients.pass('b', dOut);
  },
});
