/** Matrix products at the shapes of SmolLM2-135M, attention and the chunked head, each against the floor. */
import type { Gpu } from '../src/gpu/device.ts';
import type { Tensor } from '../src/kernels/define.ts';
import { matmul } from '../src/kernels/matmul.ts';
import * as ops from '../src/tensor/ops.ts';
import { floorMatmul } from './floor.ts';
import { compare, type Result, type Side } from './measure.ts';
import { sideOf } from './programs.ts';

/** [tokens, out, in] of the layers of SmolLM2-135M, and a square one. */
const SHAPES: readonly (readonly [number, number, number])[] = [
  [512, 512, 512],
  [512, 576, 576],
  [512, 1536, 576],
  [512, 576, 1536],
  [64, 49152, 576],
];

async function withBoth(
  gpu: Gpu,
  ours: Parameters<typeof sideOf>[1],
  reference: Parameters<typeof sideOf>[1],
  measure: (a: Side, b: Side) => Promise<Result>,
  parameters = false,
): Promise<Result> {
  const a = await sideOf(gpu, ours, { parameters, repeat: 2 });
  const b = await sideOf(gpu, reference, { repeat: 2 });
  try {
    return await measure(a, b);
  } finally {
    await a.close();
    await b.close();
  }
}

/** x · Wᵀ (forward), dY · W (backward) and dYᵀ · X (weight gradient). */
export async function* benchGemm(gpu: Gpu): AsyncGenerator<Result> {
  for (const shape of SHAPES) {
    const [m, n, k] = shape;
    const label = shape.join('x');
    const floor: Parameters<typeof sideOf>[1] = (tape, declare) =>
      floorMatmul(tape, declare([m, k]), declare([n, k]), declare([m, n]), shape);
    const kinds: Record<string, Parameters<typeof sideOf>[1]> = {
      forward: (tape, declare) =>
        matmul(tape, {
          m,
          n,
          k,
          a: { tensor: declare([m, k]) },
          b: { tensor: declare([n, k]) },
          c: { tensor: declare([m, n]) },
        }),
      'backward x': (tape, declare) =>
        matmul(tape, {
          m,
          n: k,
          k: n,
          a: { tensor: declare([m, n]) },
          b: { tensor: declare([n, k]), layout: 'kn' },
          c: { tensor: declare([m, k]) },
        }),
      'backward W': (tape, declare) =>
        matmul(tape, {
          m: n,
          n: k,
          k: m,
          a: { tensor: declare([m, n]), layout: 'km' },
          b: { tensor: declare([m, k]), layout: 'kn' },
          c: { tensor: declare([n, k]) },
        }),
    };
    for (const [kind, trace] of Object.entries(kinds)) {
      yield await withBoth(gpu, trace, floor, (a, b) =>
        compare(gpu, `gemm ${label} ${kind}`, a, b, 'reference: plain 4x4 register tile, same shape'),
      );
    }
  }
}

/** [tokens, out, in] of training, and of one new token. */
const QUANTIZED_SHAPES: readonly (readonly [number, number, number])[] = [
  [256, 576, 1536],
  [512, 896, 4864],
  [256, 1536, 576],
  [1, 4864, 896],
];

type Declare = Parameters<Parameters<typeof sideOf>[1]>[1];

/** A matrix of quantised weights, nf4 with double quantisation in blocks of 64 or i8 in rows; any codes will do. */
function quantizedWeights(declare: Declare, n: number, k: number, dtype: 'nf4' | 'i8'): Tensor {
  const words = (count: number, word: (i: number) => number) =>
    declare(
      [count],
      Uint32Array.from({ length: count }, (_, i) => word(i)),
    );
  const blocks = dtype === 'nf4' ? (n * k) / 64 : n;
  const nested = 257 + Math.ceil(blocks / 256) + Math.ceil(blocks / 4);
  const statistics = words(dtype === 'nf4' ? nested : blocks, () => 0x3c003c00);
  const quantization = { blockSize: dtype === 'nf4' ? 64 : k, nested: dtype === 'nf4', statistics };
  const codes = words((n * k) / (dtype === 'nf4' ? 8 : 4), (i) => i * 2654435761);
  return { ...codes, shape: [n, k], dtype, quantization };
}

/** x · Wᵀ and dY · W with quantised weights, each against the same product with weights in f32. */
export async function* benchQuantized(gpu: Gpu): AsyncGenerator<Result> {
  for (const [m, n, k] of QUANTIZED_SHAPES) {
    const times = m === 1 ? 64 : 1;
    for (const kind of m === 1 ? ['forward'] : ['forward', 'backward x']) {
      for (const dtype of ['nf4', 'i8'] as const) {
        const product =
          (weights: (declare: Declare) => Tensor): Parameters<typeof sideOf>[1] =>
          (tape, declare) => {
            const [inner, outer] = kind === 'forward' ? [k, n] : [n, k];
            const [a, c] = [{ tensor: declare([m, inner]) }, { tensor: declare([m, outer]) }];
            const b = { tensor: weights(declare), layout: kind === 'forward' ? 'nk' : 'kn' } as const;
            for (let i = 0; i < times; i++) matmul(tape, { m, n: outer, k: inner, a, b, c });
          };
        const codes = product((declare) => quantizedWeights(declare, n, k, dtype));
        const name = `${dtype} ${[m, n, k].join('x')} ${kind}`;
        yield await withBoth(
          gpu,
          codes,
          product((declare) => declare([n, k])),
          (a, b) => compare(gpu, name, a, b, 'reference: the same product with f32 weights'),
        );
      }
    }
  }
}

const square: Parameters<typeof sideOf>[1] = (tape, declare) =>
  floorMatmul(tape, declare([512, 512]), declare([512, 512]), declare([512, 512]), [512, 512, 512]);

/** Causal attention, 9 heads of 64 over 3 groups. Arithmetic counts the causal half. */
export async function* benchAttention(gpu: Gpu): AsyncGenerator<Result> {
  const [heads, groups, D] = [9, 3, 64];
  for (const T of [256, 512]) {
    const trace =
      (training: boolean): Parameters<typeof sideOf>[1] =>
      (tape, declare) => {
        const [q, k, v] = [declare([T, heads * D]), declare([T, groups * D]), declare([T, groups * D])];
        const starts = declare([T], new Uint32Array(T));
        const ends = declare([T], new Uint32Array(T).fill(T));
        const out = tape.apply(
          ops.attention,
          { q, k, v, starts, ends },
          { heads, groups, scale: D ** -0.5, window: 0 },
        );
        if (training) tape.backward(out);
      };
    const note = 'reference: plain 4x4 register tile at 512x512x512';
    yield await withBoth(gpu, trace(false), square, (a, b) => compare(gpu, `attention ${T} forward`, a, b, note));
    yield await withBoth(
      gpu,
      trace(true),
      square,
      (a, b) => compare(gpu, `attention ${T} forward and backward`, a, b, note),
      true,
    );
  }
}

/** Chunked head and cross-entropy, vocabulary 49152, frozen head: loss and gradient of the hidden states. */
export async function* benchCrossEntropy(gpu: Gpu): AsyncGenerator<Result> {
  const [R, V, C] = [64, 49152, 576];
  const trace: Parameters<typeof sideOf>[1] = (tape, declare) => {
    const x = tape.apply(ops.rmsNorm, { x: declare([R, C]), w: declare([C]) }, { eps: 1e-5 });
    const w = { ...declare([V, C]), requiresGrad: false };
    const targets = declare(
      [R],
      Uint32Array.from({ length: R }, (_, i) => (i * 7919) % V),
    );
    const scale = { ...declare([1]), requiresGrad: false };
    const total = { ...declare([1]), requiresGrad: false };
    const loss = tape.apply(ops.linearCrossEntropy, { x, w, targets, scale, total }, { losses: null, training: true });
    tape.backward(loss);
  };
  yield await withBoth(
    gpu,
    trace,
    square,
    (a, b) => compare(gpu, `cross-entropy ${R}x${V}x${C}`, a, b, 'reference: plain 4x4 register tile at 512x512x512'),
    true,
  );
}
