/**
 * 8-bit AdamW against bitsandbytes: its maps, the rule of its CUDA kernel re-implemented in numpy (the kernel itself needs
 * CUDA), and its own optimizer on the CPU. Needs WEBGPU_SFT_ORACLE_PYTHON: a Python with torch and bitsandbytes.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Gpu } from '../../src/gpu/device.ts';
import { adamWHyper } from '../../src/kernels/adamW.ts';
import { adamW8bit, HYPER_8BIT, MOMENT_BLOCK, momentMaps } from '../../src/kernels/adamW8bit.ts';
import { randomStream } from '../../src/platform/random.ts';
import { download, Memory, upload } from '../../src/tensor/memory.ts';
import { Pool, Program } from '../../src/tensor/program.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { python, relativeToLargest, runPython } from './python.ts';

interface State {
  readonly p: readonly number[];
  readonly m: readonly number[];
  readonly v: readonly number[];
  readonly absmax: readonly number[];
}

interface Oracle {
  readonly maps: readonly (readonly number[])[];
  readonly rule: readonly State[];
  readonly undecayed: readonly State[];
  /** Parameters after each step. */
  readonly theirs: readonly (readonly number[])[];
}

const COUNT = 32 * MOMENT_BLOCK;
const STEPS = 6;
const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, lr: 3e-3, weight_decay: 0.1 };

/** Numbers that are float32. */
function draw(stream: number, scale: number): number[] {
  const next = randomStream(5, stream);
  const unit = () => next() / 2 ** 31 - 1;
  return Array.from({ length: COUNT }, () => Math.fround(scale * unit() * 10 ** (0.5 * unit())));
}

describe.skipIf(!python)('8-bit AdamW', () => {
  let gpu: Gpu;
  let oracle: Oracle;
  const start = draw(0, 0.5);
  const gradients = Array.from({ length: STEPS }, (_, step) => draw(1 + step, 0.1));
  beforeAll(async () => {
    gpu = await Gpu.open();
    oracle = runPython<Oracle>('adamW8bit.py', [], { start, gradients, settings });
  });
  afterAll(() => gpu.close());

  /** The state after each step on the GPU. */
  async function run(decay: boolean): Promise<State[]> {
    const memory = new Memory(gpu.limits);
    const pool = new Pool();
    const f32 = (name: string, count: number) => memory.declare(name, [count]);
    const tensors = {
      p: f32('p', COUNT),
      g: f32('g', COUNT),
      m: memory.declare('m', [COUNT / 4], { dtype: 'u32' }),
      v: memory.declare('v', [COUNT / 4], { dtype: 'u32' }),
      absmax: f32('absmax', COUNT / 128),
      clip: f32('clip', 2),
      hyper: f32('hyper', HYPER_8BIT),
    };
    const trace = new Trace(gpu);
    adamW8bit(trace, tensors, decay);
    await memory.allocate(gpu);
    const program = await Program.build(gpu, trace, memory, pool);
    upload(gpu, memory, tensors.p, new Float32Array(start));
    upload(gpu, memory, tensors.clip, Float32Array.of(1, 1));
    const states: State[] = [];
    for (const [index, gradient] of gradients.entries()) {
      const { lr, weight_decay, ...rest } = settings;
      const hyper = adamWHyper({ ...rest, t: index + 1, learningRate: lr, weightDecay: weight_decay });
      upload(gpu, memory, tensors.hyper, new Float32Array([...hyper, ...momentMaps()]));
      upload(gpu, memory, tensors.g, new Float32Array(gradient));
      await program.run();
      const [p, m, v, absmax] = await Promise.all(
        [tensors.p, tensors.m, tensors.v, tensors.absmax].map((tensor) => download(gpu, memory, tensor)),
      );
      states.push({
        p: [...new Float32Array(p!)],
        m: [...new Uint8Array(m!)],
        v: [...new Uint8Array(v!)],
        absmax: [...new Float32Array(absmax!)],
      });
    }
    pool.close(gpu);
    memory.close(gpu);
    await gpu.collect();
    return states;
  }

  it('the maps are those of bitsandbytes, bit for bit', () => {
    expect([...momentMaps()]).toEqual(oracle.maps.flat());
  });

  it('states follow the rule of its CUDA kernel', async () => {
    const states = await run(true);
    for (const [step, { p, m, v, absmax }] of states.entries()) {
      const want = oracle.rule[step]!;
      // A code that differs shows in its parameter from the next step on.
      const moved = p.filter((value, e) => Math.abs(value - want.p[e]!) > 1e-6 * (1 + Math.abs(want.p[e]!))).length;
      expect(moved, `parameters that differ after step ${step + 1}`).toBeLessThanOrEqual((step * COUNT) / 1000);
      expect(relativeToLargest(absmax, want.absmax)).toBeLessThan(1e-4);
      for (const [got, codes] of [
        [m, want.m],
        [v, want.v],
      ] as const) {
        // WGSL's division may be off in the last place, which decides in the middle between two entries.
        const off = got.filter((code, e) => code !== codes[e]).length;
        expect(off, `codes that differ after step ${step + 1}`).toBeLessThanOrEqual(COUNT / 1000);
      }
    }
  });

  it('parameters go where bitsandbytes takes them on the CPU', async () => {
    const states = await run(false);
    const error = Math.max(...states.map(({ p }, step) => relativeToLargest(p, oracle.theirs[step]!)));
    // Its CPU code does not always take the nearest entry, so that the rule of its own CUDA kernel is as far from it.
    const rule = Math.max(...oracle.undecayed.map(({ p }, step) => relativeToLargest(p, oracle.theirs[step]!)));
    console.log(
      `8-bit AdamW, largest error ÷ largest parameter: ${error.toExponential(1)}, the rule's ${rule.toExponential(1)}`,
    );
    expect(rule).toBeLessThan(1e-3);
    expect(error).toBeLessThan(1.05 * rule);
  });
});
