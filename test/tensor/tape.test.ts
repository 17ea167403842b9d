import { describe, expect, test } from 'vitest';
import type { Tensor } from '../../src/kernels/define.ts';
import { compute } from '../../src/tensor/compute.ts';
import { download, Memory, upload } from '../../src/tensor/memory.ts';
import * as ops from '../../src/tensor/ops.ts';
import { planProgram, slotBytes } from '../../src/tensor/plan.ts';
import { Pool, Program } from '../../src/tensor/program.ts';
import { Tape } from '../../src/tensor/tape.ts';
import {
  execute,
  expectClose,
  identity,
  poison,
  random,
  randomArray,
  useGpu,
  type Values,
} from '../kernels/harness.ts';
import { limits, traits } from '../kernels/traits.ts';

const gpu = useGpu();

const [T, C] = [3, 4];

/** Parameters, their gradients and values, and a tape over them. */
class Model {
  readonly memory = new Memory(gpu().limits);
  readonly uploads: [Tensor, Values][] = [];
  readonly gradients = new Map<number, Tensor>();
  readonly values = new Map<number, Float32Array<ArrayBuffer>>();
  private seed = 0;

  parameter(shape: readonly number[], requiresGrad = true): Tensor {
    const tensor = this.memory.declare(`p${this.values.size}`, shape, { requiresGrad });
    this.seed += 1;
    const values = randomArray(
      shape.reduce((a, b) => a * b, 1),
      this.seed,
    );
    this.values.set(tensor.id, values);
    this.uploads.push([tensor, values]);
    if (requiresGrad) this.gradients.set(tensor.id, this.memory.declare(`d ${tensor.label}`, shape));
    return tensor;
  }

  given(label: string, shape: readonly number[], values: Values, dtype: Tensor['dtype'] = 'f32'): Tensor {
    const tensor = this.memory.declare(label, shape, { dtype });
    this.uploads.push([tensor, values]);
    return tensor;
  }

  tape(): Tape {
    return new Tape(gpu(), this.gradients);
  }

  /** Gradients of Σ out · weights of all parameters, in the order of their making. */
  async backward(tape: Tape, out: Tensor): Promise<Float32Array[]> {
    tape.backward(out, this.given('weights', out.shape, randomArray(T * C, 99)));
    const results = await execute(tape, this.memory, this.uploads, [...this.gradients.values()]);
    return results.map((result) => new Float32Array(result));
  }
}

const add = (tape: Tape, a: Tensor, b: Tensor) => tape.apply(ops.add, { a, b }, {});
const linear = (tape: Tape, x: Tensor, w: Tensor, residual?: Tensor) => tape.apply(ops.linear, { x, w, residual }, {});
const rmsNorm = (tape: Tape, x: Tensor, w: Tensor) => tape.apply(ops.rmsNorm, { x, w }, { eps: 1e-2 });
const copy = (tape: Tape, x: Tensor) => tape.apply(identity, { x }, {});
const weights = randomArray(T * C, 99);
const kernels = (tape: Tape, from = 0) =>
  tape.commands.slice(from).map((command) => (command.kind === 'dispatch' ? command.name : 'clear'));

describe('gradients of tensors with several uses', () => {
  test('the same tensor as both inputs', async () => {
    const model = new Model();
    const x = model.parameter([T, C]);
    const tape = model.tape();
    const inner = copy(tape, x);
    const [dx] = await model.backward(tape, add(tape, inner, inner));
    expectClose(
      'dx',
      dx!,
      weights.map((w) => 2 * w),
      1e-7,
    );
  });

  test('x + f(x), and three uses of one tensor', async () => {
    const model = new Model();
    const [x, w, v] = [model.parameter([T, C]), model.parameter([C, C]), model.parameter([C, C])];
    const tape = model.tape();
    const inner = copy(tape, x);
    const two = add(tape, inner, linear(tape, inner, w));
    const [dx, dw, dv] = await model.backward(tape, add(tape, linear(tape, inner, v), two));
    const [xs, ws, vs] = [x, w, v].map(({ id }) => model.values.get(id)!);
    const expected = Float64Array.from({ length: T * C }, (_, i) => {
      const [t, c] = [Math.floor(i / C), i % C];
      let sum = weights[i]!;
      for (let n = 0; n < C; n++) sum += weights[t * C + n]! * (ws![n * C + c]! + vs![n * C + c]!);
      return sum;
    });
    expectClose('dx', dx!, expected, 1e-6);
    const outer = Float64Array.from({ length: C * C }, (_, i) => {
      let sum = 0;
      for (let t = 0; t < T; t++) sum += weights[t * C + Math.floor(i / C)]! * xs![t * C + (i % C)]!;
      return sum;
    });
    expectClose('dw', dw!, outer, 1e-6);
    expectClose('dv', dv!, outer, 1e-6);
  });

  test('a parameter used twice gets the sum', async () => {
    const model = new Model();
    const [x, w] = [model.parameter([T, C], false), model.parameter([C, C])];
    const once = async (twice: boolean) => {
      const fresh = new Model();
      const [x1, w1] = [fresh.parameter([T, C], false), fresh.parameter([C, C])];
      const tape = fresh.tape();
      const y = linear(tape, x1, w1);
      const [dw] = await fresh.backward(tape, twice ? add(tape, y, linear(tape, x1, w1)) : y);
      return dw!;
    };
    expect([x.requiresGrad, w.requiresGrad]).toEqual([false, true]);
    expectClose(
      'dw',
      await once(true),
      (await once(false)).map((value) => 2 * value),
      1e-6,
    );
  });

  test('a residual block passes its gradient on without a kernel of its own', () => {
    const model = new Model();
    const [x, w, v] = [model.parameter([T, C]), model.parameter([C]), model.parameter([C, C])];
    const tape = model.tape();
    let hidden = copy(tape, x);
    for (let i = 0; i < 3; i++) hidden = linear(tape, rmsNorm(tape, hidden, w), v, hidden);
    const forward = tape.commands.length;
    tape.backward(hidden, model.given('weights', [T, C], weights));
    // One copy, because the caller's gradient is nobody's to add to.
    expect(kernels(tape, forward).filter((name) => name === 'add')).toHaveLength(1);
  });

  test('the gradient that the caller gives is left as it is, replay after replay', async () => {
    const model = new Model();
    const [x, w] = [model.parameter([T, C]), model.parameter([C, C])];
    const tape = model.tape();
    const inner = copy(tape, x);
    const out = add(tape, inner, linear(tape, linear(tape, inner, w), w));
    const given = model.given('weights', [T, C], weights);
    for (const gradient of model.gradients.values()) tape.clear(gradient);
    tape.backward(out, given);
    await model.memory.allocate(gpu());
    for (const [tensor, values] of model.uploads) upload(gpu(), model.memory, tensor, values);
    const pool = new Pool();
    const program = await Program.build(gpu(), tape, model.memory, pool);
    const replay = async () => {
      poison(gpu(), pool, program);
      await program.run();
      const tensors = [given, ...model.gradients.values()];
      return Promise.all(tensors.map(async (tensor) => new Float32Array(await download(gpu(), model.memory, tensor))));
    };
    const first = await replay();
    expect(first[0]).toEqual(weights);
    expect(await replay()).toEqual(first);
    program.close();
    pool.close(gpu());
    model.memory.close(gpu());
    await gpu().collect();
  });

  test('what is frozen costs nothing', () => {
    const model = new Model();
    const [x, frozen, trained] = [
      model.parameter([T, C], false),
      model.parameter([C, C], false),
      model.parameter([C, C]),
    ];
    const tape = model.tape();
    const out = linear(tape, linear(tape, x, frozen), trained);
    const forward = tape.commands.length;
    tape.backward(out, model.given('weights', [T, C], weights));
    expect(kernels(tape, forward)).toEqual(['matmul']);
  });
});

/** Three blocks with residuals and LoRA dropout, each checkpointed or not. */
function blocks(model: Model, checkpointed: boolean): { tape: Tape; out: Tensor } {
  const x = model.parameter([T, C]);
  const layers = Array.from({ length: 3 }, (_, index) => ({
    norm: model.parameter([C]),
    w: model.parameter([C, C], index === 1),
    loraA: model.parameter([2, C]),
    loraB: model.parameter([C, 2]),
  }));
  const seed = model.given('seed', [1], Uint32Array.of(7), 'u32');
  const tape = model.tape();
  let hidden = copy(tape, x);
  for (const [stream, { norm, w, loraA, loraB }] of layers.entries()) {
    const block = (input: Tensor) => {
      const y = tape.apply(
        ops.linear,
        { x: rmsNorm(tape, input, norm), w, loraA, loraB, seed, residual: input },
        { scale: 2, dropout: { p: 0.3, stream } },
      );
      return add(tape, y, linear(tape, y, w));
    };
    hidden = checkpointed ? tape.checkpoint(block, hidden) : block(hidden);
  }
  return { tape, out: hidden };
}

describe('checkpoint', () => {
  test('gives the same bytes as the plain run, dropout included', async () => {
    const [plain, saving] = [new Model(), new Model()];
    const first = blocks(plain, false);
    const second = blocks(saving, true);
    const expected = await plain.backward(first.tape, first.out);
    const got = await saving.backward(second.tape, second.out);
    expect(got).toEqual(expected);
    expect(expected.every((gradient) => gradient.some((value) => value !== 0))).toBe(true);
  });

  test('nests', async () => {
    const run = async (nested: boolean) => {
      const model = new Model();
      const [x, w] = [model.parameter([T, C]), model.parameter([C, C])];
      const tape = model.tape();
      const inner = (input: Tensor) => linear(tape, input, w, input);
      const outer = (input: Tensor) =>
        add(tape, input, nested ? tape.checkpoint(inner, inner(input)) : inner(inner(input)));
      return model.backward(tape, nested ? tape.checkpoint(outer, copy(tape, x)) : outer(copy(tape, x)));
    };
    expect(await run(true)).toEqual(await run(false));
  });

  test('a gradient that others share as well is not added to', async () => {
    const run = async (checkpointed: boolean) => {
      const model = new Model();
      const [x, norm] = [model.parameter([T, C]), model.parameter([C])];
      const w = model.parameter([C, C]);
      const tape = model.tape();
      const input = copy(tape, x);
      const a = linear(tape, input, w);
      const b = rmsNorm(tape, input, norm);
      const block = (given: Tensor) => rmsNorm(tape, given, norm);
      const c = linear(tape, b, w);
      const last = checkpointed ? tape.checkpoint(block, c) : block(c);
      // a, b and the block share one gradient; b gets more of its own before a's is used.
      return model.backward(tape, linear(tape, add(tape, add(tape, a, b), last), w));
    };
    expect(await run(true)).toEqual(await run(false));
  });

  test('keeps one tensor for each block', () => {
    const activations = (checkpointed: boolean) => {
      const memory = new Memory(limits);
      const [x, w, norm] = [
        memory.declare('x', [64, 64], { requiresGrad: true }),
        memory.declare('w', [64, 64]),
        memory.declare('n', [64]),
      ];
      const tape = new Tape(traits, new Map([[x.id, memory.declare('dx', [64, 64])]]));
      const block = (input: Tensor) => {
        let hidden = input;
        for (let i = 0; i < 4; i++) hidden = linear(tape, rmsNorm(tape, hidden, norm), w, hidden);
        return hidden;
      };
      let hidden = copy(tape, x);
      for (let i = 0; i < 8; i++) hidden = checkpointed ? tape.checkpoint(block, hidden) : block(hidden);
      tape.backward(hidden, memory.declare('weights', [64, 64]));
      return slotBytes(planProgram(tape).slots).activations / (64 * 64 * 4);
    };
    // Plain: the input and the norm of 4 layers of 8 blocks. Checkpointed: 8 inputs, and one block's worth.
    expect(activations(false)).toBeGreaterThan(32);
    expect(activations(true)).toBeLessThan(18);
  });

  test('costs nothing where nothing is recorded', () => {
    const memory = new Memory(limits);
    const [x, w] = [memory.declare('x', [4, 4]), memory.declare('w', [4, 4])];
    const tape = new Tape(traits, null);
    tape.checkpoint((input) => linear(tape, input, w), x);
    expect(tape.commands).toHaveLength(1);
  });
});

describe('misuse', () => {
  const declare = () => {
    const memory = new Memory(limits);
    const [x, w, dw] = [
      memory.declare('x', [4, 4]),
      memory.declare('w', [4, 4], { requiresGrad: true }),
      memory.declare('dw', [4, 4]),
    ];
    return { x, w, parameters: new Map([[w.id, dw]]) };
  };

  test('backward of something that is not the last result', () => {
    const { x, w, parameters } = declare();
    const tape = new Tape(traits, parameters);
    const y = linear(tape, x, w);
    linear(tape, y, w);
    expect(() => tape.backward(y)).toThrow('not the last thing that was computed');
    expect(() => new Tape(traits, null).backward(y)).toThrow('not the last thing that was computed');
  });

  test('shapes that do not fit are told in one sentence', () => {
    const { x, parameters } = declare();
    const tape = new Tape(traits, parameters);
    const other = new Memory(limits).declare('other', [4, 5]);
    expect(() => add(tape, x, other)).toThrow('[add] b must be [4, 4] to match a, got [4, 5]');
    expect(() => linear(tape, other, x)).toThrow('[linear] w must be [4, 5] to match x [4, 5], got [4, 4]');
  });
});

/** A program by numbers: each node reads earlier nodes (node 0 is the input) and parameters. */
type Node =
  | { op: 'add'; a: number; b: number }
  | { op: 'norm'; x: number; w: number }
  | { op: 'linear'; x: number; w: number; residual: number | null }
  | { op: 'block'; x: number; norm: number; w: number };

function randomNodes(seed: number): Node[] {
  const next = random(seed);
  const below = (n: number) => Math.floor(((next() + 1) / 2) * n);
  return Array.from({ length: 4 + below(6) }, (_, index): Node => {
    const node = () => Math.max(0, index - below(4));
    const w = below(2);
    switch (below(5)) {
      case 0:
      case 1:
        return { op: 'add', a: node(), b: node() };
      case 2:
        return { op: 'norm', x: node(), w };
      case 3:
        return { op: 'linear', x: node(), w, residual: below(2) === 0 ? node() : null };
      default:
        return { op: 'block', x: node(), norm: below(2), w };
    }
  });
}

interface Numbers {
  readonly x: Float64Array;
  readonly norms: readonly Float64Array[];
  readonly ws: readonly Float64Array[];
}

function evaluate(nodes: readonly Node[], { x, norms, ws }: Numbers): Float64Array {
  const norm = (input: Float64Array, w: Float64Array) =>
    input.map((value, i) => {
      const row = input.subarray(Math.floor(i / C) * C, (Math.floor(i / C) + 1) * C);
      return (value * w[i % C]!) / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / C + 1e-2);
    });
  const product = (input: Float64Array, w: Float64Array, residual: Float64Array | null) =>
    input.map((_, i) => {
      let sum = residual?.[i] ?? 0;
      for (let k = 0; k < C; k++) sum += input[Math.floor(i / C) * C + k]! * w[(i % C) * C + k]!;
      return sum;
    });
  const results = [x];
  for (const node of nodes) {
    if (node.op === 'add') results.push(results[node.a]!.map((value, i) => value + results[node.b]![i]!));
    else if (node.op === 'norm') results.push(norm(results[node.x]!, norms[node.w]!));
    else if (node.op === 'linear')
      results.push(product(results[node.x]!, ws[node.w]!, node.residual === null ? null : results[node.residual]!));
    else results.push(product(norm(results[node.x]!, norms[node.norm]!), ws[node.w]!, results[node.x]!));
  }
  return results.at(-1)!;
}

function traceNodes(
  nodes: readonly Node[],
  tape: Tape,
  x: Tensor,
  norms: readonly Tensor[],
  ws: readonly Tensor[],
): Tensor {
  const results = [copy(tape, x)];
  const at = (index: number) => results[index]!;
  for (const node of nodes) {
    if (node.op === 'add') results.push(add(tape, at(node.a), at(node.b)));
    else if (node.op === 'norm') results.push(rmsNorm(tape, at(node.x), norms[node.w]!));
    else if (node.op === 'linear')
      results.push(linear(tape, at(node.x), ws[node.w]!, node.residual === null ? undefined : at(node.residual)));
    else
      results.push(
        tape.checkpoint(
          (input) => linear(tape, rmsNorm(tape, input, norms[node.norm]!), ws[node.w]!, input),
          at(node.x),
        ),
      );
  }
  return results.at(-1)!;
}

describe('random programs', () => {
  test.each(Array.from({ length: 24 }, (_, seed) => seed + 1))(
    '%i: gradients, and no aliasing in shared memory',
    async (seed) => {
      const nodes = randomNodes(seed);
      const run = async (shared: boolean) => {
        const model = new Model();
        const x = model.parameter([T, C]);
        const norms = [model.parameter([C]), model.parameter([C])];
        const ws = [model.parameter([C, C]), model.parameter([C, C])];
        const tape = model.tape();
        const out = traceNodes(nodes, tape, x, norms, ws);
        if (!shared) {
          // Nothing is the program's own: every tensor gets a buffer for itself.
          const backward = tape.backward.bind(tape);
          tape.backward = (...given) => {
            backward(...given);
            for (const tensor of tape.transients.values())
              model.memory.place(tensor, model.memory.block(tensor.label, 'activations', 4 * T * C), 0);
            tape.transients.clear();
          };
        }
        return { model, gradients: await model.backward(tape, out) };
      };
      const { model, gradients } = await run(true);
      expect((await run(false)).gradients).toEqual(gradients);

      const values = [...model.values.values()].map((numbers) => Float64Array.from(numbers));
      const loss = () => {
        const [x, n0, n1, w0, w1] = values as [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];
        return evaluate(nodes, { x, norms: [n0, n1], ws: [w0, w1] }).reduce(
          (sum, value, i) => sum + value * weights[i]!,
          0,
        );
      };
      for (const [index, parameter] of values.entries()) {
        const expected = parameter.map((value, i) => {
          const at = (delta: number) => {
            parameter[i] = value + delta;
            const result = loss();
            parameter[i] = value;
            return result;
          };
          return (8 * (at(1e-4) - at(-1e-4)) - (at(2e-4) - at(-2e-4))) / 12e-4;
        });
        const size = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
        expectClose(
          `gradient ${index} of ${JSON.stringify(nodes)}`,
          Array.from(gradients[index]!, (g) => g / size),
          expected.map((g) => g / size),
          1e-4,
        );
      }
    },
  );
});

test('the gradient of a parameter is added to where an op passes it on', async () => {
  const w = { shape: [2, 3], values: Float32Array.of(1, 2, 3, 4, 5, 6), trained: true };
  const gradient = Float32Array.of(1, 2, 3, 4, 5, 6);
  const { out, gradients } = await compute(
    gpu(),
    { w },
    (tape, { w }) => tape.apply(ops.add, { a: tape.apply(ops.add, { a: w, b: w }, {}), b: w }, {}),
    { gradient },
  );
  expect([...out]).toEqual([3, 6, 9, 12, 15, 18]);
  expect([...gradients.w!]).toEqual([3, 6, 9, 12, 15, 18]);
});
