/**
 * Gated activation of a feed-forward block (SwiGLU, GeGLU).
 *
 *     y = act(gate) · up
 *     dgate = dy · up · act'(gate)        dup = dy · act(gate)
 *
 * gate, up, y: f32 of one shape. `silu`: x·σ(x). `gelu_tanh`: 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
 * `gelu`: 0.5·x·(1 + erf(x/√2)), with erf by Abramowitz & Stegun 7.1.26 (absolute error below 1.5e-7).
 * Saved for backward: gate, up. Source: Shazeer 2020, arXiv:2002.05202.
 */
import { bytesOf, defineKernel, defineOp, expectShape, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

export type Activation = 'silu' | 'gelu' | 'gelu_tanh';

/** `act(x)` and its derivative as vec2. exp is taken of non-positive numbers only, so that it never overflows. */
const activation = (kind: Activation) => wgsl`
fn act(x: f32) -> vec2<f32> {
  #if ${kind === 'silu'}
  let e = exp(-abs(x));
  let s = select(e, 1.0, x >= 0.0) / (1.0 + e);
  return vec2(x * s, s * (1.0 + x * (1.0 - s)));
  #elif ${kind === 'gelu_tanh'}
  let z = clamp(0.7978845608 * (x + 0.044715 * x * x * x), -15.0, 15.0);
  let h = tanh(z);
  return vec2(0.5 * x * (1.0 + h), 0.5 * (1.0 + h) + 0.5 * x * (1.0 - h * h) * 0.7978845608 * (1.0 + 0.134145 * x * x));
  #else
  let a = abs(x) * 0.70710678118;
  let k = 1.0 / (1.0 + 0.3275911 * a);
  let e = exp(-a * a);
  let tail = k * (0.254829592 + k * (-0.284496736 + k * (1.421413741 + k * (-1.453152027 + k * 1.061405429)))) * e;
  let cdf = 0.5 * (1.0 + sign(x) * (1.0 - tail));
  return vec2(x * cdf, cdf + x * 0.39894228040 * e);
  #endif
}`;

const forward = defineKernel({
  name: 'gatedActivation.forward',
  uniforms: { count: 'u32' },
  reads: (_: { kind: Activation }) => ({ gate: 'f32', up: 'f32' }),
  writes: () => ({ y: 'f32' }),
  source: ({ kind }) => wgsl`${activation(kind)}
${main(64)} {
  let i = (${linear}) * 64u + lane;
  if (i >= u.count) { return; }
  y[i] = act(gate[i]).x * up[i];
}`,
});

const backward = defineKernel({
  name: 'gatedActivation.backward',
  uniforms: { count: 'u32', accumulateGate: 'u32', accumulateUp: 'u32' },
  reads: (_: { kind: Activation }) => ({ gate: 'f32', up: 'f32', dy: 'f32' }),
  writes: () => ({ dGate: 'f32', dUp: 'f32' }),
  source: ({ kind }) => wgsl`${activation(kind)}
${main(64)} {
  let i = (${linear}) * 64u + lane;
  if (i >= u.count) { return; }
  let a = act(gate[i]);
  var g = dy[i] * up[i] * a.y;
  var v = dy[i] * a.x;
  if (u.accumulateGate == 1u) { g += dGate[i]; }
  if (u.accumulateUp == 1u) { v += dUp[i]; }
  dGate[i] = g;
  dUp[i] = v;
}`,
});

export const gatedActivation = defineOp({
  name: 'gatedActivation',
  check: ({ gate, up }: { gate: Tensor; up: Tensor }, _: { kind: Activation }) =>
    expectShape('gatedActivation', 'up', up, gate.shape, 'to match gate'),
  forward(step, { gate, up }, { kind }) {
    const y = step.tensor('gatedActivation', gate.shape);
    const count = bytesOf(gate) / 4;
    step.run(forward, { kind }, { gate, up, y }, { count }, [Math.ceil(count / 64)]);
    return { out: y, saved: { gate, up, kind, count } };
  },
  backward(step, { gate, up, kind, count }, dy, gradients) {
    const dGate = gradients.into('gate');
    const dUp = gradients.into('up');
    if (!dGate && !dUp) return;
    const unused = (label: string) => ({ tensor: step.tensor(label, gate.shape), accumulate: 0 as const });
    const g = dGate ?? unused('d gate');
    const v = dUp ?? unused('d up');
    step.run(
      backward,
      { kind },
      { gate, up, dy, dGate: g.tensor, dUp: v.tensor },
      { count, accumulateGate: g.accumulate, accumulateUp: v.accumulate },
      [Math.ceil(count / 64)],
    );
  },
});
