import { describe, expect, test } from 'vitest';
import type { Gpu, GpuTraits } from '../../src/gpu/device.ts';
import { adamWHyper } from '../../src/kernels/adamW.ts';
import { adamW8bit, HYPER_8BIT, MOMENT_BLOCK, momentMaps } from '../../src/kernels/adamW8bit.ts';
import { download, Memory, upload } from '../../src/tensor/memory.ts';
import { Pool, Program } from '../../src/tensor/program.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { expectClose, random, randomArray, testFamilies, useGpu } from './harness.ts';

const gpu = useGpu();
const maps = momentMaps();
const [signed, unsigned] = [maps.subarray(0, 256), maps.subarray(256)];

interface Settings {
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly rates: readonly number[];
  readonly clips: readonly number[];
  readonly decay: boolean;
}

interface State {
  readonly p: Float64Array;
  readonly m: Uint8Array;
  readonly v: Uint8Array;
  readonly absmax: Float64Array;
}

/** The nearest entry of an ascending map; the first of two that are as near. */
function nearest(map: Float32Array, x: number): number {
  let best = 0;
  for (let code = 1; code < 256; code++) if (Math.abs(map[code]! - x) < Math.abs(map[best]! - x)) best = code;
  return best;
}

/** One step as bitsandbytes does it, in float64. */
function step(state: State, g: Float32Array, t: number, settings: Settings): State {
  const { weightDecay, beta1, beta2, epsilon, rates, clips, decay } = settings;
  const [lr, clip] = [rates[t - 1]!, clips[t - 1]!];
  const [first, second] = [1 - beta1 ** t, Math.sqrt(1 - beta2 ** t)];
  const p = state.p.slice();
  const m = new Uint8Array(p.length);
  const v = new Uint8Array(p.length);
  const absmax = new Float64Array(state.absmax.length);
  for (let block = 0; block * MOMENT_BLOCK < p.length; block++) {
    const pairs = Array.from({ length: MOMENT_BLOCK }, (_, i): [number, number] => {
      const e = block * MOMENT_BLOCK + i;
      if (!Number.isFinite(g[e]!)) return [0, 0];
      const [s, q] = [
        signed[state.m[e]!]! * state.absmax[2 * block]!,
        unsigned[state.v[e]!]! * state.absmax[2 * block + 1]!,
      ];
      const pair: [number, number] = [
        beta1 * s + (1 - beta1) * g[e]! * clip,
        beta2 * q + (1 - beta2) * (g[e]! * clip) ** 2,
      ];
      p[e]! -= ((lr * second) / first) * (pair[0] / (Math.sqrt(pair[1]) + second * epsilon));
      p[e]! *= 1 - lr * (decay ? weightDecay : 0);
      return pair;
    });
    absmax[2 * block] = Math.max(...pairs.map(([s]) => Math.abs(s)));
    absmax[2 * block + 1] = Math.max(...pairs.map(([, q]) => q));
    for (const [i, [s, q]] of pairs.entries()) {
      const e = block * MOMENT_BLOCK + i;
      const code = nearest(signed, absmax[2 * block]! === 0 ? 0 : s / absmax[2 * block]!);
      m[e] = s < 0 && signed[code] === 0 ? code - 1 : code;
      v[e] = nearest(unsigned, absmax[2 * block + 1]! === 0 ? 0 : q / absmax[2 * block + 1]!);
    }
  }
  return { p, m, v, absmax };
}

/** Replays one program with new contents of its buffers; after each step the device's own state is the reference's next one. */
async function check(
  device: Gpu,
  traits: GpuTraits,
  gradients: readonly Float32Array<ArrayBuffer>[],
  settings: Settings,
): Promise<void> {
  const count = gradients[0]!.length;
  const blocks = count / MOMENT_BLOCK;
  const memory = new Memory(traits.limits);
  const pool = new Pool();
  const declare = (name: string, shape: readonly number[], dtype: 'f32' | 'u32' = 'f32') =>
    memory.declare(name, shape, { dtype });
  const tensors = {
    p: declare('p', [count]),
    g: declare('g', [count]),
    m: declare('m', [count / 4], 'u32'),
    v: declare('v', [count / 4], 'u32'),
    absmax: declare('absmax', [blocks, 2]),
    clip: declare('clip', [2]),
    hyper: declare('hyper', [HYPER_8BIT]),
  };
  const trace = new Trace(traits);
  adamW8bit(trace, tensors, settings.decay);
  await memory.allocate(device);
  const start = randomArray(count, 1);
  upload(device, memory, tensors.p, start);
  const program = await Program.build(device, trace, memory, pool);
  let state: State = {
    p: Float64Array.from(start),
    m: new Uint8Array(count),
    v: new Uint8Array(count),
    absmax: new Float64Array(2 * blocks),
  };
  for (const [index, gradient] of gradients.entries()) {
    const t = index + 1;
    upload(device, memory, tensors.g, gradient);
    upload(device, memory, tensors.clip, Float32Array.of(123, settings.clips[index]!));
    const hyper = adamWHyper({ ...settings, t, learningRate: settings.rates[index]! });
    upload(device, memory, tensors.hyper, new Float32Array([...hyper, ...maps]));
    await program.run();
    const wanted = step(state, gradient, t, settings);
    const read = async (name: 'p' | 'm' | 'v' | 'absmax') => download(device, memory, tensors[name]);
    const got: State = {
      p: Float64Array.from(new Float32Array(await read('p'))),
      m: new Uint8Array(await read('m')),
      v: new Uint8Array(await read('v')),
      absmax: Float64Array.from(new Float32Array(await read('absmax'))),
    };
    expectClose(`p after step ${t}`, got.p, wanted.p, 1e-6);
    expectClose(
      `absmax after step ${t}`,
      got.absmax.map((x, i) => x / (wanted.absmax[i]! || 1)),
      wanted.absmax.map((x) => (x === 0 ? 0 : 1)),
      1e-6,
    );
    // A number in the middle between two entries may go either way.
    for (const [name, map] of [
      ['m', signed],
      ['v', unsigned],
    ] as const) {
      const off = [...got[name].keys()].filter((e) => got[name][e] !== wanted[name][e]);
      expect(off.length, `${name}: codes that differ`).toBeLessThanOrEqual(count / 1000);
      for (const e of off) expect(Math.abs(got[name][e]! - wanted[name][e]!), `${name}[${e}], ${map.length}`).toBe(1);
    }
    state = got;
  }
  pool.close(device);
  memory.close(device);
  await device.collect();
}

const settings: Settings = {
  weightDecay: 0.1,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  rates: [0, 1e-3, 2e-2, 1e-2, 5e-3],
  clips: [1, 0.25, 1, 1e-3, 1],
  decay: true,
};

/** Gradients whose sizes lie over several magnitudes within a block. */
function uneven(count: number, seed: number): Float32Array<ArrayBuffer> {
  const next = random(seed);
  return Float32Array.from({ length: count }, () => next() * 10 ** (3 * next()));
}

describe('adamW8bit', () => {
  testFamilies('five steps over five blocks', (traits) =>
    check(
      gpu(),
      traits,
      [10, 11, 12, 13, 14].map((seed) => uneven(5 * MOMENT_BLOCK, seed)),
      settings,
    ),
  );

  testFamilies('without decay, with other betas', (traits) =>
    check(
      gpu(),
      traits,
      [20, 21, 22].map((seed) => uneven(MOMENT_BLOCK, seed)),
      {
        ...settings,
        decay: false,
        beta1: 0.5,
        beta2: 0.9,
        epsilon: 1e-3,
      },
    ),
  );

  testFamilies('blocks of zeros, tiny and huge gradients, infinity and no number', (traits) => {
    const gradient = new Float32Array(6 * MOMENT_BLOCK);
    gradient.set(uneven(MOMENT_BLOCK, 30), MOMENT_BLOCK);
    gradient.set(
      uneven(MOMENT_BLOCK, 31).map((x) => x * 1e-12),
      2 * MOMENT_BLOCK,
    );
    gradient.set(
      uneven(MOMENT_BLOCK, 32).map((x) => x * 1e9),
      3 * MOMENT_BLOCK,
    );
    gradient.set([Number.POSITIVE_INFINITY, 1, Number.NaN, -1, Number.NEGATIVE_INFINITY], 4 * MOMENT_BLOCK);
    gradient[5 * MOMENT_BLOCK + 7] = -3;
    return check(gpu(), traits, [gradient, gradient, gradient], {
      ...settings,
      clips: [1, 1, 1],
      rates: [1e-2, 1e-2, 1e-2],
    });
  });

  test('the maps ascend; only the signed one has negative numbers', () => {
    for (const map of [signed, unsigned]) expect([...map].sort((a, b) => a - b)).toEqual([...map]);
    expect([signed[0], signed[127], signed[255]]).toEqual([Math.fround(-0.99296875), 0, 1]);
    expect([unsigned[0], unsigned[255]]).toEqual([0, 1]);
    expect(unsigned[1]).toBeGreaterThan(0);
  });
});
