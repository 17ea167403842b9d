import { describe, expect, test } from 'vitest';
import type { Gpu, GpuTraits } from '../../src/gpu/device.ts';
import { adamW, adamWHyper } from '../../src/kernels/adamW.ts';
import { download, Memory, upload } from '../../src/tensor/memory.ts';
import { Pool, Program } from '../../src/tensor/program.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { execute, expectClose, randomArray, testFamilies, useGpu } from './harness.ts';

const gpu = useGpu();

interface Settings {
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Learning rate of each step. */
  readonly rates: readonly number[];
  /** Clip factor of each step. */
  readonly clips: readonly number[];
  readonly decay: boolean;
}

/** torch.optim.AdamW, in float64. */
function reference(
  p: Float64Array,
  gradients: readonly ArrayLike<number>[],
  settings: Settings,
): Record<'p' | 'm' | 'v', Float64Array>[] {
  const { weightDecay, beta1, beta2, epsilon, rates, clips, decay } = settings;
  const m = new Float64Array(p.length);
  const v = new Float64Array(p.length);
  return gradients.map((gradient, index) => {
    const t = index + 1;
    const lr = rates[index]!;
    for (let i = 0; i < p.length; i++) {
      const g = gradient[i]! * clips[index]!;
      p[i]! *= 1 - lr * (decay ? weightDecay : 0);
      m[i] = beta1 * m[i]! + (1 - beta1) * g;
      v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
      p[i]! -= (lr * (m[i]! / (1 - beta1 ** t))) / (Math.sqrt(v[i]! / (1 - beta2 ** t)) + epsilon);
    }
    return { p: p.slice(), m: m.slice(), v: v.slice() };
  });
}

/** Five replays of one program; only what lies in buffers changes between them. */
async function check(device: Gpu, traits: GpuTraits, count: number, settings: Settings): Promise<void> {
  const memory = new Memory(traits.limits);
  const pool = new Pool();
  const [p, g, m, v] = ['p', 'g', 'm', 'v'].map((name) => memory.declare(name, [count])) as [
    never,
    never,
    never,
    never,
  ];
  const clip = memory.declare('clip', [2]);
  const hyper = memory.declare('hyper', [8]);
  const trace = new Trace(traits);
  adamW(trace, { p, g, m, v, clip, hyper }, settings.decay);
  await memory.allocate(device);
  const start = randomArray(count, 1);
  const gradients = settings.rates.map((_, step) => randomArray(count, 10 + step, 10 ** (step - 3)));
  upload(device, memory, p, start);
  const program = await Program.build(device, trace, memory, pool);
  const expected = reference(Float64Array.from(start), gradients, settings);
  for (const [step, gradient] of gradients.entries()) {
    upload(device, memory, g, gradient);
    upload(device, memory, clip, Float32Array.of(123, settings.clips[step]!));
    upload(device, memory, hyper, adamWHyper({ ...settings, t: step + 1, learningRate: settings.rates[step]! }));
    await program.run();
    for (const [name, tensor] of Object.entries({ p, m, v })) {
      const got = new Float32Array(await download(device, memory, tensor));
      const want = expected[step]![name as 'p'];
      // Moments are far smaller than 1: compare them by the size of the largest.
      const unit = want.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
      expectClose(
        `${name} after step ${step + 1}`,
        Float64Array.from(got, (x) => x / unit),
        want.map((x) => x / unit),
        1e-6,
      );
    }
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
  // Warm-up begins at 0.
  rates: [0, 1e-3, 2e-2, 1e-2, 5e-3],
  clips: [1, 0.25, 1, 1e-3, 1],
  decay: true,
};

describe('adamW', () => {
  testFamilies('five steps with decay', (traits) => check(gpu(), traits, 131, settings));
  testFamilies('five steps without decay', (traits) => check(gpu(), traits, 64, { ...settings, decay: false }));
  testFamilies('other betas and a large epsilon', (traits) =>
    check(gpu(), traits, 1, { ...settings, beta1: 0, beta2: 0.5, epsilon: 1e-2 }),
  );

  testFamilies('a gradient of zeros moves nothing but by decay', async (traits) => {
    const device = gpu();
    const memory = new Memory(traits.limits);
    const [p, g, m, v] = ['p', 'g', 'm', 'v'].map((name) => memory.declare(name, [3])) as [never, never, never, never];
    const clip = memory.declare('clip', [2]);
    const hyper = memory.declare('hyper', [8]);
    const trace = new Trace(traits);
    adamW(trace, { p, g, m, v, clip, hyper }, true);
    await memory.allocate(device);
    upload(device, memory, p, Float32Array.of(1, -2, 0));
    upload(device, memory, clip, Float32Array.of(0, 1));
    upload(device, memory, hyper, adamWHyper({ ...settings, t: 1, learningRate: 0.5 }));
    const pool = new Pool();
    const program = await Program.build(device, trace, memory, pool);
    await program.run();
    expectClose('p', new Float32Array(await download(device, memory, p)), [0.95, -1.9, 0], 1e-6);
    pool.close(device);
    memory.close(device);
    await device.collect();
  });

  testFamilies('a factor of 0 changes nothing, whatever the gradient is', async (traits) => {
    const memory = new Memory(traits.limits);
    const [p, g, m, v] = ['p', 'g', 'm', 'v'].map((name) => memory.declare(name, [3])) as [never, never, never, never];
    const [clip, hyper] = [memory.declare('clip', [2]), memory.declare('hyper', [8])];
    const trace = new Trace(traits);
    adamW(trace, { p, g, m, v, clip, hyper }, true);
    const values = Float32Array.of(1, -2, 3);
    const uploads = [
      [p, values],
      [m, values],
      [v, values],
      [g, Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, 1)],
      [clip, Float32Array.of(Number.NaN, 0)],
      [hyper, adamWHyper({ ...settings, t: 1, learningRate: 0.5 })],
    ] as const;
    for (const bytes of await execute(trace, memory, uploads, [p, m, v]))
      expect(new Float32Array(bytes)).toEqual(values);
  });

  test('hyper holds the bias corrections', () => {
    const hyper = adamWHyper({ t: 2, learningRate: 0.5, weightDecay: 0.25, beta1: 0.5, beta2: 0.75, epsilon: 1 });
    expect([...hyper]).toEqual([
      0.125,
      0.5,
      0.5,
      0.75,
      0.25,
      1,
      Math.fround(0.5 / 0.75),
      Math.fround(Math.sqrt(0.4375)),
    ]);
  });
});
