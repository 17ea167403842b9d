import { describe } from 'vitest';
import { type Activation, gatedActivation } from '../../src/kernels/gatedActivation.ts';
import { checkOp, type Precision, randomArray, testFamilies, testPrecisions, useGpu } from './harness.ts';

useGpu();

/** erf(x) = 2/√π · exp(-x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!, whose terms are all positive: exact to float64. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let total = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(total); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    total += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}

const activations: Record<Activation, (x: number) => number> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

describe('gatedActivation', () => {
  for (const kind of ['silu', 'gelu', 'gelu_tanh'] as const) {
    const check = (
      shape: readonly number[],
      gate: Float32Array<ArrayBuffer>,
      traits: Parameters<typeof checkOp>[0]['traits'],
      precision?: Precision,
    ) =>
      checkOp({
        op: gatedActivation,
        inputs: {
          gate: { shape, values: gate, requiresGrad: true },
          up: { shape, values: randomArray(gate.length, 2), requiresGrad: true },
        },
        attributes: { kind },
        reference: ({ gate: g = [], up = [] }) => Float64Array.from(g, (x, i) => activations[kind](x) * (up[i] ?? 0)),
        tolerance: 1e-5,
        traits,
        precision,
      });

    testFamilies(`${kind} [5, 33]`, (traits) => check([5, 33], randomArray(165, 1, 4), traits));

    testPrecisions(`${kind} [5, 34]`, (traits, precision) => check([5, 34], randomArray(170, 1, 4), traits, precision));

    // Where exp of a positive number would overflow, or 1 - tanh² cancel.
    const extremes = Float32Array.of(
      0,
      -0,
      1e-30,
      -1e-6,
      9,
      -9,
      14.9,
      -15.1,
      88,
      -89,
      104,
      -104,
      1e3,
      -1e3,
      6e4,
      -6e4,
      1e7,
      -1e7,
    );
    testFamilies(`${kind} of extreme numbers`, (traits) => check([extremes.length], extremes, traits));
  }
});
