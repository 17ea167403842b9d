import { describe, expect } from 'vitest';
import { add, sum } from '../../src/kernels/add.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { checkOp, execute, type Precision, randomArray, testFamilies, testPrecisions, useGpu } from './harness.ts';

useGpu();

describe('add', () => {
  for (const shape of [[1], [63], [5, 13], [3, 64, 2]]) {
    const run = shape.at(-1)! % 2 === 0 ? testPrecisions : testFamilies;
    run(`[${shape}]`, (traits, precision?: Precision) => {
      const count = shape.reduce((a, b) => a * b, 1);
      return checkOp({
        op: add,
        inputs: {
          a: { shape, values: randomArray(count, 1), requiresGrad: true, passed: true },
          b: { shape, values: randomArray(count, 2), requiresGrad: true, passed: true },
        },
        attributes: {},
        reference: ({ a = [], b = [] }) => Float64Array.from(a, (value, i) => value + (b[i] ?? 0)),
        gradients: (_, dOut) => ({ a: dOut, b: dOut }),
        tolerance: 1e-7,
        traits,
        precision,
      });
    });
  }

  // 65 535 workgroups of 64 are the most of one dimension; a longer grid is folded.
  testFamilies('a grid longer than one dimension', async (traits) => {
    const count = 65535 * 64 + 1001;
    const memory = new Memory(traits.limits);
    const [a, b, y] = ['a', 'b', 'y'].map((name) => memory.declare(name, [count]));
    const trace = new Trace(traits);
    sum(trace, a!, b!, y!);
    const [values, others] = [randomArray(count, 1), randomArray(count, 2)];
    const [result] = await execute(
      trace,
      memory,
      [
        [a!, values],
        [b!, others],
      ],
      [y!],
    );
    const wrong = new Float32Array(result!).findIndex((value, i) => value !== Math.fround(values[i]! + others[i]!));
    expect(wrong, 'first wrong element').toBe(-1);
  });
});
