/** Small problems for the kernels that no op of a tape shows alone: products, casts, the norm of gradients, AdamW. */
import { adamW, adamWHyper } from '../kernels/adamW.ts';
import { castInto } from '../kernels/cast.ts';
import { gradientNorm } from '../kernels/gradientNorm.ts';
import { type MatmulProblem, matmul } from '../kernels/matmul.ts';
import { Memory } from './memory.ts';
import { type Lab, largestError, randomValues, type SelfTestCase, stored } from './selfTestLab.ts';
import { quantizedMatrix } from './selfTestQuantized.ts';
import { rounded } from './selfTestReferences.ts';
import { Trace } from './trace.ts';

function cast(dtype: 'f16' | 'bf16'): SelfTestCase {
  const values = randomValues(131, 1, 300);
  const expected = values.map((value) => rounded(value, dtype));
  const run = async (lab: Lab): Promise<number> => {
    const memory = new Memory(lab.traits.limits);
    const [x, y] = [memory.declare('x', [131]), memory.declare('y', [131])];
    const trace = new Trace(lab.traits);
    const half = trace.tensor('half', [131], { dtype });
    castInto(trace, x, half);
    castInto(trace, half, y);
    const [got = []] = await lab.run(trace, memory, [[x, values]], [y]);
    return largestError(got, expected);
  };
  return { op: 'cast', run };
}

type MatmulCase = Pick<MatmulProblem, 'm' | 'n' | 'k' | 'accumulate'> & {
  readonly a: 'mk' | 'km';
  readonly b: 'nk' | 'kn';
  readonly dtype?: 'f32' | 'f16' | 'bf16' | 'nf4' | 'i8';
};

function product({ m, n, k, a, b, dtype = 'f32', accumulate = 0 }: MatmulCase): SelfTestCase {
  const left = randomValues(m * k, 1);
  const shape = b === 'nk' ? ([n, k] as const) : ([k, n] as const);
  const right = dtype === 'nf4' || dtype === 'i8' ? quantizedMatrix(...shape, dtype, 2) : stored(shape, 2, dtype);
  const before = randomValues(m * n, 3);
  const expected = Float64Array.from({ length: m * n }, (_, index) => {
    const [row, column] = [Math.floor(index / n), index % n];
    let sum = accumulate ? (before[index] ?? 0) : 0;
    for (let i = 0; i < k; i++) {
      const x = left[a === 'mk' ? row * k + i : i * m + row] ?? 0;
      sum += x * (right.numbers[b === 'nk' ? column * k + i : i * n + column] ?? 0);
    }
    return sum;
  });
  const run = async (lab: Lab): Promise<number> => {
    const memory = new Memory(lab.traits.limits);
    const [A, C] = [memory.declare('a', [m, k]), memory.declare('c', [m, n])];
    const words = 'statistics' in right ? right.statistics : new Uint32Array(1);
    const statistics = memory.declare('statistics', [words.length], { dtype: 'u32' });
    const quantization = 'statistics' in right ? { ...right, statistics } : null;
    const B = memory.declare('b', shape, { dtype, ...(quantization && { quantization }) });
    const trace = new Trace(lab.traits);
    const [aSide, bSide] = [{ tensor: A, layout: a } as const, { tensor: B, layout: b } as const];
    matmul(trace, { m, n, k, a: aSide, b: bSide, c: { tensor: C }, accumulate });
    const uploads = [
      [A, left],
      [B, right.values],
      [statistics, words],
      [C, before],
    ] as const;
    const [got = []] = await lab.run(trace, memory, uploads, [C]);
    return largestError(got, expected);
  };
  return { op: 'matmul', run };
}

/** The second chunk takes more than one workgroup. */
function norm(maxNorm: number): SelfTestCase {
  const chunks = [randomValues(7, 1), randomValues(16390, 2)];
  const size = Math.sqrt(chunks.flatMap((chunk) => [...chunk]).reduce((sum, value) => sum + value ** 2, 0));
  const run = async (lab: Lab): Promise<number> => {
    const memory = new Memory(lab.traits.limits);
    const tensors = chunks.map((chunk, index) => memory.declare(`g${index}`, [chunk.length]));
    const result = memory.declare('result', [2]);
    const trace = new Trace(lab.traits);
    gradientNorm(trace, tensors, result, maxNorm);
    const uploads = tensors.map((tensor, index) => [tensor, chunks[index] ?? new Float32Array()] as const);
    const [got = []] = await lab.run(trace, memory, uploads, [result]);
    return largestError(got, [size, maxNorm > 0 ? Math.min(1, maxNorm / (size + 1e-6)) : 1]);
  };
  return { op: 'gradientNorm', run };
}

function optimizer(decay: boolean): SelfTestCase {
  const count = 131;
  const options = { t: 3, learningRate: 0.01, weightDecay: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
  const [p, g, m] = [randomValues(count, 1), randomValues(count, 2), randomValues(count, 3)];
  const v = randomValues(count, 4).map((value) => value ** 2);
  const clip = 0.5;
  const { t, learningRate, weightDecay, beta1, beta2, epsilon } = options;
  const next = Array.from(p, (value, i) => {
    const gradient = (g[i] ?? 0) * clip;
    const first = beta1 * (m[i] ?? 0) + (1 - beta1) * gradient;
    const second = beta2 * (v[i] ?? 0) + (1 - beta2) * gradient ** 2;
    const step = first / (1 - beta1 ** t) / (Math.sqrt(second / (1 - beta2 ** t)) + epsilon);
    return [value * (1 - (decay ? learningRate * weightDecay : 0)) - learningRate * step, first, second] as const;
  });
  const run = async (lab: Lab): Promise<number> => {
    const memory = new Memory(lab.traits.limits);
    const declare = (label: string, length = count) => memory.declare(label, [length]);
    const tensors = { p: declare('p'), g: declare('g'), m: declare('m'), v: declare('v') };
    const both = { ...tensors, clip: declare('clip', 2), hyper: declare('hyper', 8) };
    const trace = new Trace(lab.traits);
    adamW(trace, both, decay);
    const uploads = [
      [both.p, p],
      [both.g, g],
      [both.m, m],
      [both.v, v],
      [both.clip, Float32Array.of(0, clip)],
      [both.hyper, adamWHyper(options)],
    ] as const;
    const results = await lab.run(trace, memory, uploads, [both.p, both.m, both.v]);
    const errors = results.map((got, part) =>
      largestError(
        got,
        next.map((values) => values[part] ?? 0),
      ),
    );
    return Math.max(...errors);
  };
  return { op: 'adamW', run };
}

export const KERNEL_CASES: readonly SelfTestCase[] = [
  product({ m: 65, n: 67, k: 33, a: 'mk', b: 'nk' }),
  product({ m: 36, n: 68, k: 32, a: 'km', b: 'kn', accumulate: 1 }),
  product({ m: 19, n: 64, k: 64, a: 'mk', b: 'nk', dtype: 'f16' }),
  product({ m: 18, n: 37, k: 29, a: 'mk', b: 'kn', dtype: 'bf16' }),
  product({ m: 4, n: 20, k: 96, a: 'mk', b: 'nk', dtype: 'nf4' }),
  product({ m: 17, n: 96, k: 20, a: 'mk', b: 'kn', dtype: 'nf4' }),
  product({ m: 3, n: 13, k: 37, a: 'mk', b: 'nk', dtype: 'nf4' }),
  product({ m: 9, n: 28, k: 13, a: 'mk', b: 'kn', dtype: 'i8' }),
  ...(['f16', 'bf16'] as const).map(cast),
  norm(1),
  norm(0),
  optimizer(true),
  optimizer(false),
];
