import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { Gpu } from '../../src/gpu/device.ts';
import { type Category, sumBytes } from '../../src/gpu/ledger.ts';
import { defineKernel, type Tensor } from '../../src/kernels/define.ts';
import { SftError } from '../../src/platform/errors.ts';
import { download, Memory, upload } from '../../src/tensor/memory.ts';
import { Pool, Program } from '../../src/tensor/program.ts';
import { Trace } from '../../src/tensor/trace.ts';

const double = (body = 'y[lane] = 2.0 * x[lane];') =>
  defineKernel({
    name: 'test.double',
    uniforms: { count: 'u32' },
    reads: () => ({ x: 'f32' }),
    writes: () => ({ y: 'f32' }),
    source: () =>
      `@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) { if (lane < u.count) { ${body} } }`,
  });

/** A program that doubles 16 numbers. */
async function doubling(gpu: Gpu, kernel = double()) {
  const memory = new Memory(gpu.limits);
  const pool = new Pool();
  const [x, y] = [memory.declare('x', [16]), memory.declare('y', [16])];
  await memory.allocate(gpu);
  const trace = new Trace(gpu);
  trace.run(kernel, {}, { x, y }, { count: 16 }, [1]);
  const program = await Program.build(gpu, trace, memory, pool);
  return { memory, pool, x, y, program };
}

const numbers = Float32Array.from({ length: 16 }, (_, i) => i);
const doubled = numbers.map((value) => 2 * value);

async function runOnce(
  gpu: Gpu,
  { memory, x, y, program }: { memory: Memory; x: Tensor; y: Tensor; program: Program },
) {
  upload(gpu, memory, x, numbers);
  await program.run();
  return new Float32Array(await download(gpu, memory, y));
}

/** What a promise is rejected with; fails when it is not, or when it is no error of this project. */
async function errorOf(promise: Promise<unknown>): Promise<SftError> {
  const error = await promise.then(
    () => expect.fail('expected an error'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SftError);
  return error as SftError;
}

describe('allocation', () => {
  test('is all or nothing: the ledger is as before after a failure', async () => {
    let allowed = Number.POSITIVE_INFINITY;
    const seen: [number, Category][] = [];
    const gpu = await Gpu.open({
      beforeAllocation(bytes, category) {
        seen.push([bytes, category]);
        allowed -= 1;
        if (allowed < 0) throw new SftError('OUT_OF_MEMORY', `no ${bytes} bytes left`);
      },
    });
    const keep = await gpu.allocate([{ label: 'kept', bytes: 100, category: 'weights' }]);
    expect(seen).toEqual([[112, 'weights']]);
    const before = { live: { ...gpu.ledger.live }, count: gpu.ledger.count };
    expect(before.live.weights).toBe(112);

    allowed = 2;
    const requests = ['a', 'b', 'c', 'd'].map((label) => ({ label, bytes: 4096, category: 'activations' as const }));
    const error = await errorOf(gpu.allocate(requests));
    expect([error.code, error.message]).toEqual(['OUT_OF_MEMORY', 'no 4096 bytes left']);
    expect({ live: { ...gpu.ledger.live }, count: gpu.ledger.count }).toEqual(before);

    // The device is none the worse for it.
    allowed = Number.POSITIVE_INFINITY;
    const all = await gpu.allocate(requests);
    expect(gpu.ledger.live.activations).toBe(4 * 4096);
    gpu.release([...keep, ...all]);
    await gpu.collect();
    expect([gpu.ledger.count, sumBytes(gpu.ledger.live)]).toEqual([0, 0]);
    expect(gpu.ledger.peak.bytes).toBe(112 + 4 * 4096);
    await gpu.close();
  });

  test('a buffer larger than the adapter allows is refused before any is made', async () => {
    const gpu = await Gpu.open();
    const requests = [
      { label: 'small', bytes: 16, category: 'weights' as const },
      { label: 'monster', bytes: gpu.limits.bufferBytes + 16, category: 'weights' as const },
    ];
    const error = await errorOf(gpu.allocate(requests));
    expect(error.code).toBe('OUT_OF_MEMORY');
    expect(error.message).toContain(`monster: expected at most ${gpu.limits.bufferBytes} bytes`);
    expect(gpu.ledger.count).toBe(0);
    await gpu.close();
  });

  test('a memory whose allocation failed can be allocated again', async () => {
    let fail = true;
    const gpu = await Gpu.open({
      beforeAllocation(_, category) {
        if (fail && category === 'optimizer') throw new SftError('OUT_OF_MEMORY', 'full');
      },
    });
    const memory = new Memory(gpu.limits);
    const [w, m] = [
      memory.declare('w', [8], { category: 'weights' }),
      memory.declare('m', [8], { category: 'optimizer' }),
    ];
    expect((await errorOf(memory.allocate(gpu))).code).toBe('OUT_OF_MEMORY');
    expect(gpu.ledger.count).toBe(0);
    expect(() => memory.locate(w)).toThrow('w has no memory');
    fail = false;
    await memory.allocate(gpu);
    expect([memory.locate(w).size, memory.locate(m).size, gpu.ledger.count]).toEqual([32, 32, 2]);
    memory.close(gpu);
    await gpu.close();
    expect(gpu.ledger.count).toBe(0);
  });
});

describe('errors of a device', () => {
  test('a lost device makes whatever waits, and all that comes after, throw DEVICE_LOST', async () => {
    const gpu = await Gpu.open();
    const lab = await doubling(gpu);
    expect(await runOnce(gpu, lab)).toEqual(doubled);
    const reading = download(gpu, lab.memory, lab.y);
    gpu.device.destroy();
    const first = await errorOf(reading);
    expect(first.code).toBe('DEVICE_LOST');
    expect(first.message).toContain(`WebGPU device "${gpu.name}" was lost`);
    expect(first.hint).toContain('--resume-from last');
    for (const use of [() => gpu.done(), () => gpu.collect(), () => lab.program.run(), () => runOnce(gpu, lab)]) {
      expect((await errorOf(use())).code).toBe('DEVICE_LOST');
    }
    expect((await errorOf(gpu.allocate([{ label: 'x', bytes: 4, category: 'weights' }]))).code).toBe('DEVICE_LOST');
    expect((await errorOf(gpu.pipeline('late', '@compute @workgroup_size(1) fn main() {}'))).code).toBe('DEVICE_LOST');
    await gpu.close();
  });

  test('a device lost between two steps is noticed by the next wait', async () => {
    const gpu = await Gpu.open();
    const lab = await doubling(gpu);
    gpu.device.destroy();
    expect((await errorOf(gpu.done())).code).toBe('DEVICE_LOST');
    expect((await errorOf(lab.program.run())).code).toBe('DEVICE_LOST');
    await gpu.close();
  });

  test('a kernel that does not compile is shown with numbered lines', async () => {
    const gpu = await Gpu.open();
    const error = await errorOf(doubling(gpu, double('y[lane] = wrong;')));
    expect(error.code).toBe('KERNEL');
    expect(error.message).toContain('kernel test.double does not compile');
    expect(error.message).toContain("'wrong'");
    expect(error.message).toMatch(/^ {3}5 @compute .*y\[lane\] = wrong;/m);
    // The device goes on, and the same text fails the same way again.
    expect(await runOnce(gpu, await doubling(gpu))).toEqual(doubled);
    expect((await errorOf(doubling(gpu, double('y[lane] = wrong;')))).message).toBe(error.message);
    await gpu.close();
  });

  test('an error that nobody waited for fails the next check', async () => {
    const gpu = await Gpu.open();
    const lab = await doubling(gpu);
    const { buffer } = lab.memory.locate(lab.x);
    gpu.device.queue.writeBuffer(buffer.buffer, 4096, new Float32Array(4));
    const error = await errorOf(gpu.done());
    expect([error.code, error.message]).toEqual(['GPU', expect.stringContaining('WebGPU: ')]);
    expect(() => gpu.check()).toThrow(error);
    await gpu.close();
  });

  test('the scopes of two compilations at once do not mix', async () => {
    const gpu = await Gpu.open();
    const texts = [
      'fn broken(',
      '@compute @workgroup_size(1) fn main() {}',
      '@compute @workgroup_size(1) fn main() { x; }',
    ];
    const results = await Promise.allSettled(texts.map((code, index) => gpu.pipeline(`kernel ${index}`, code)));
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
    gpu.check();
    await gpu.close();
  });

  test('closing says so to whoever comes after', async () => {
    const gpu = await Gpu.open();
    await gpu.close();
    expect(() => gpu.check()).toThrow('is closed');
    expect((await errorOf(gpu.done())).message).toContain('is closed');
  });
});

describe('a device', () => {
  test('survives garbage collection', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const gpu = await Gpu.open();
    const lab = await doubling(gpu);
    for (let i = 0; i < 5; i++) {
      collectGarbage();
      expect(await runOnce(gpu, lab)).toEqual(doubled);
    }
    await gpu.close();
    collectGarbage();
    const next = await Gpu.open();
    expect(await runOnce(next, await doubling(next))).toEqual(doubled);
    await next.close();
  });

  test('two of one adapter work side by side', async () => {
    const [a, b] = [await Gpu.open(), await Gpu.open()];
    const labs = [await doubling(a), await doubling(b)] as const;
    expect(await Promise.all([runOnce(a, labs[0]), runOnce(b, labs[1])])).toEqual([doubled, doubled]);
    await a.close();
    expect(await runOnce(b, labs[1])).toEqual(doubled);
    await b.close();
  });
});
