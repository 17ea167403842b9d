/**
 * Gated activation of a feed-forward block (SwiGLU, GeGLU).
 *
 *     y = act(gate) · up
 *     dgate = dy · up · act'(gate)        dup = dy · act(gate)
 *
 * gate, up, y: f32 or f16 of one shape, computed in f32. `silu`: x·σ(x). `gelu_tanh`: 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
 * `gelu`: 0.5·x·(1 + erf(x/√2)), with erf by Abramowitz & Stegun 7.1.26 (absolute error below 1.5e-7).
 * Saved for backward: gate, up, over which their gradients are written where nobody reads them again.
 * Source: Shazeer 2020, arXiv:2002.05202.
 */
import { accessors, type Storage, storageOf } from './activation.ts';
import { countOf, defineKernel, defineOp, expectShape, type Tensor } from './define.ts';
import { linear, main, wgsl } from './wgsl.ts';

/** The function of a gate, as PyTorch has it; `gelu_tanh` is its `gelu(approximate="tanh")`. */
export type Activation = 'silu' | 'gelu' | 'gelu_tanh';

/** `act(x)` and its derivative, of four numbers. exp is taken of non-positive ones only, so that it never overflows. */
const activation = (kind: Activation) => wgsl`
struct Activated { value: vec4<f32>, slope: vec4<f32> }
fn act(x: vec4<f32>) -> Activated {
  #if ${kind === 'silu'}
  let e = exp(-abs(x));
  let s = select(e, vec4(1.0), x >= vec4(0.0)) / (1.0 + e);
  return Activated(x * s, s * (1.0 + x * (1.0 - s)));
  #elif ${kind === 'gelu_tanh'}
  let z = clamp(0.7978845608 * (x + 0.044715 * x * x * x), vec4(-15.0), vec4(15.0));
  let h = tanh(z);
  return Activated(0.5 * x * (1.0 + h), 0.5 * (1.0 + h) + 0.5 * x * (1.0 - h * h) * 0.7978845608 * (1.0 + 0.134145 * x * x));
  #else
  let a = abs(x) * 0.70710678118;
  let k = 1.0 / (1.0 + 0.3275911 * a);
  let e = exp(-a * a);
  let tail = k * (0.254829592 + k * (-0.284496736 + k * (1.421413741 + k * (-1.453152027 + k * 1.061405429)))) * e;
  let cdf = 0.5 * (1.0 + sign(x) * (1.0 - tail));
  return Activated(x * cdf, cdf + x * 0.39894228040 * e);
  #endif
}`;

const forward = defineKernel({
  name: 'gatedActivation.forward',
  uniforms: { count: 'u32' },
  reads: ({ type }: { kind: Activation; type: Storage }) => ({ gate: type, up: type }),
  writes: ({ type }) => ({ y: type }),
  source: ({ kind, type }) => wgsl`${activation(kind)}
${accessors({ gate: type, up: type }, { y: type })}
${main(64)} {
  let e = ((${linear}) * 64u + lane) * 4u;
  if (e >= u.count) { return; }
  yStore4(e, act(gateLoad4(e)).value * upLoad4(e));
}`,
});

interface BackwardVariant {
  readonly kind: Activation;
  readonly type: Storage;
  /** Whether the gradient is written over gate, over up. */
  readonly overGate: boolean;
  readonly overUp: boolean;
}

const inputs = ({ type, overGate, overUp }: BackwardVariant) => ({
  ...(!overGate && { gate: type }),
  ...(!overUp && { up: type }),
  dy: type,
});
const outputs = ({ type, overGate, overUp }: BackwardVariant) => ({
  ...(overGate ? { gate: type } : { dGate: type }),
  ...(overUp ? { up: type } : { dUp: type }),
});

const backward = defineKernel({
  name: 'gatedActivation.backward',
  uniforms: { count: 'u32', accumulateGate: 'u32', accumulateUp: 'u32' },
  reads: inputs,
  writes: outputs,
  source(v) {
    const [dGate, dUp] = [v.overGate ? 'gate' : 'dGate', v.overUp ? 'up' : 'dUp'];
    return wgsl`${activation(v.kind)}
${accessors(inputs(v), outputs(v))}
${main(64)} {
  let e = ((${linear}) * 64u + lane) * 4u;
  if (e >= u.count) { return; }
  let a = act(gateLoad4(e));
  let dy = dyLoad4(e);
  var g = dy * upLoad4(e) * a.slope;
  var v = dy * a.value;
  if (u.accumulateGate == 1u) { g += ${dGate}Load4(e); }
  if (u.accumulateUp == 1u) { v += ${dUp}Load4(e); }
  ${dGate}Store4(e, g);
  ${dUp}Store4(e, v);
}`;
  },
});

/** act(gate) · up, elementwise (SwiGLU, GeGLU; arXiv:2002.05202): gate and up of one shape, which is that of the result. */
export const gatedActivation = defineOp({
  name: 'gatedActivation',
  check: ({ gate, up }: { gate: Tensor; up: Tensor }, _: { kind: Activation }) =>
    expectShape('gatedActivation', 'up', up, gate.shape, 'to match gate'),
  forward(step, { gate, up }, { kind }) {
    const y = step.tensor('gatedActivation', gate.shape, { dtype: gate.dtype });
    const count = countOf(gate);
    const type = storageOf(gate, step.traits, true);
    step.run(forward, { kind, type }, { gate, up, y }, { count }, [Math.ceil(count / 256)]);
    return { out: y, saved: { gate, up, kind, type, count } };
  },
  backward(step, { gate, up, kind, type, count }, dy, gradients) {
    const dGate = gradients.over('gate');
    const dUp = gradients.over('up');
    if (!dGate && !dUp) return;
    const { shape, dtype } = gate;
    const unused = (label: string) => ({ tensor: step.tensor(label, shape, { dtype }), accumulate: 0 as const });
    const g = dGate ?? unused('d gate');
    const v = dUp ?? unused('d up');
    step.run(
      backward,
      { kind, type, overGate: g.tensor.id === gate.id, overUp: v.tensor.id === up.id },
      { gate, up, dy, dGate: g.tensor, dUp: v.tensor },
      { count, accumulateGate: g.accumulate, accumulateUp: v.accumulate },
      [Math.ceil(count / 256)],
    );
  },
});
