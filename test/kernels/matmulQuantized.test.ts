import { describe, expect } from 'vitest';
import type { GpuTraits } from '../../src/gpu/device.ts';
import type { Tensor } from '../../src/kernels/define.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { execute, expectClose, randomArray, testFamilies, useGpu, type Values } from './harness.ts';
import { type QuantizedKind, quantizedMatrix } from './quantizedWeights.ts';

useGpu();

/** The product of x [m, ·] with W [rows, columns] as it lies (`kn`) or transposed (`nk`). */
interface Case extends QuantizedKind {
  readonly m: number;
  readonly rows: number;
  readonly columns: number;
  readonly b: 'nk' | 'kn';
  /** The product goes over these rows of W alone. */
  readonly part?: readonly [first: number, rows: number];
  readonly extras?: boolean;
  readonly accumulate?: 0 | 1;
}

async function check(problem: Case, traits: GpuTraits): Promise<void> {
  const { m, rows, columns, dtype, b, extras = false, accumulate = 0, part = [0, rows] } = problem;
  const [first, count] = part;
  const w = quantizedMatrix([rows, columns], problem, 2, first || rows);
  const [n, k] = b === 'nk' ? [count, columns] : [columns, count];
  const r = 5;
  const [x, before] = [randomArray(m * k, 1), randomArray(m * n, 3)];
  const low = { l: randomArray(m * r, 4), m: randomArray(b === 'nk' ? (first + n) * r : r * n, 5) };
  const [bias, residual] = [randomArray(first + n, 6), randomArray(m * n, 7)];

  const memory = new Memory(traits.limits);
  const uploads: [Tensor, Values][] = [];
  const tensor = (label: string, values: Values, shape = [values.length], type: Tensor['dtype'] = 'f32') => {
    const made = memory.declare(label, shape, { dtype: type });
    uploads.push([made, values]);
    return made;
  };
  const statistics = tensor('statistics', w.statistics, undefined, 'u32');
  const start = first === 0 ? 0 : w.words.length / Math.ceil(rows / first);
  const codes = tensor('w', w.words.subarray(start), [count, columns], dtype);
  const c = tensor('c', before);
  const trace = new Trace(traits);
  matmul(trace, {
    m,
    n,
    k,
    a: { tensor: tensor('x', x) },
    b: {
      tensor: { ...codes, quantization: { blockSize: w.blockSize, nested: w.nested, statistics } },
      layout: b,
      first,
    },
    c: { tensor: c },
    accumulate,
    nOffset: b === 'nk' ? first : 0,
    low: extras ? { l: tensor('l', low.l), m: tensor('m', low.m), layout: b, r } : undefined,
    ...(extras && b === 'nk' && { bias: tensor('bias', bias), residual: tensor('residual', residual) }),
  });
  const bindings = trace.commands.flatMap((command) => (command.kind === 'dispatch' ? [command.tensors.length] : []));
  expect(Math.max(...bindings), 'storage bindings').toBeLessThanOrEqual(8);
  const [result] = await execute(trace, memory, uploads, [c]);

  const expected = Float64Array.from(before, (value, index) => {
    const [row, column] = [Math.floor(index / n), index % n];
    let sum = accumulate ? value : 0;
    for (let i = 0; i < k; i++) {
      sum += x[row * k + i]! * w.values[b === 'nk' ? (first + column) * columns + i : (first + i) * columns + column]!;
    }
    for (let i = 0; extras && i < r; i++) {
      sum += low.l[row * r + i]! * low.m[b === 'nk' ? (first + column) * r + i : i * n + column]!;
    }
    if (extras && b === 'nk') sum += bias[first + column]! + residual[index]!;
    return sum;
  });
  expectClose('c', new Float32Array(result!), expected, 2e-5);
}

const both = (one: Omit<Case, 'b'>): Case[] => [
  { ...one, b: 'nk' },
  { ...one, b: 'kn' },
];

/** Few distinct texts of the kernel: `extras` come with `nested`, or with blocks that are rows of whole words. */
const cases: readonly Case[] = [
  // Blocks that end with rows, several of them to a row, and words of codes that are read whole.
  ...both({ dtype: 'nf4', m: 35, rows: 70, columns: 128, nested: true, extras: true }),
  ...both({ dtype: 'nf4', m: 17, rows: 36, columns: 192, blockSize: 32 }),
  ...both({ dtype: 'nf4', m: 19, rows: 64, columns: 96, blockSize: 4096, accumulate: 1 }),
  // Blocks that straddle rows.
  ...both({ dtype: 'nf4', m: 33, rows: 21, columns: 40, nested: true, extras: true }),
  ...both({ dtype: 'nf4', m: 16, rows: 41, columns: 72, blockSize: 128 }),
  ...both({ dtype: 'nf4', m: 18, rows: 24, columns: 36 }),
  ...both({ dtype: 'nf4', m: 17, rows: 13, columns: 37, nested: true, extras: true }),
  ...both({ dtype: 'nf4', m: 9, rows: 70, columns: 33, blockSize: 32, accumulate: 1 }),
  ...both({ dtype: 'nf4', m: 2, rows: 1, columns: 1 }),
  // More than 256 blocks.
  ...both({ dtype: 'nf4', m: 8, rows: 130, columns: 96, blockSize: 32, nested: true, extras: true }),
  // A part of a split matrix: elements are numbered over the whole.
  ...both({ dtype: 'nf4', m: 17, rows: 70, columns: 64, nested: true, part: [40, 30], extras: true }),
  ...both({ dtype: 'nf4', m: 6, rows: 20, columns: 13, blockSize: 32, part: [16, 4] }),
  ...both({ dtype: 'i8', m: 35, rows: 70, columns: 128, extras: true }),
  ...both({ dtype: 'i8', m: 17, rows: 41, columns: 36, extras: true, accumulate: 1 }),
  ...both({ dtype: 'i8', m: 16, rows: 13, columns: 37, nested: true }),
  ...both({ dtype: 'i8', m: 8, rows: 70, columns: 20, part: [64, 6], extras: true }),
];

/** Few rows, as in inference. */
const fewRows: readonly Case[] = [1, 2, 3, 4, 5].flatMap((m) => [
  { dtype: 'nf4', m, rows: 70, columns: 128, nested: true, b: 'nk', extras: true },
  { dtype: 'nf4', m, rows: 70, columns: 300, b: 'nk' },
  { dtype: 'nf4', m, rows: 7, columns: 37, b: 'nk', accumulate: 1 },
  { dtype: 'i8', m, rows: 37, columns: 260, b: 'nk', extras: true },
]);

describe('matmul with quantised weights', () => {
  for (const problem of cases) testFamilies(JSON.stringify(problem), (traits) => check(problem, traits));
  testFamilies('few rows', async (traits) => {
    for (const problem of fewRows) {
      await check(problem, traits).catch((error: Error) => {
        throw new Error(`${JSON.stringify(problem)}: ${error.message}`, { cause: error });
      });
    }
  });
});
