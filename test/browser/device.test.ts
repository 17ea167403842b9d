import { expect, test } from 'vitest';
import { Gpu } from '../../src/gpu/device.ts';
import { SftError } from '../../src/platform/errors.ts';

test('a device that is lost in a page makes what waits for it throw DEVICE_LOST', async () => {
  const gpu = await Gpu.open();
  const [buffer] = await gpu.allocate([{ label: 'x', bytes: 64, category: 'weights' }]);
  expect(new Float32Array(await gpu.read(buffer!.buffer, 0, 64))).toEqual(new Float32Array(16));
  const waiting = [
    gpu.read(buffer!.buffer, 0, 64),
    gpu.done(),
    gpu.pipeline('late', '@compute @workgroup_size(1) fn main() {}'),
  ];
  gpu.device.destroy();
  for (const outcome of await Promise.allSettled([...waiting, gpu.done(), gpu.read(buffer!.buffer, 0, 64)])) {
    // Work that was done before the loss may still be reported as done.
    if (outcome.status === 'fulfilled') continue;
    expect(outcome.reason).toBeInstanceOf(SftError);
    expect((outcome.reason as SftError).code).toBe('DEVICE_LOST');
  }
  await expect(gpu.done()).rejects.toThrow('was lost');
  await expect(gpu.allocate([{ label: 'y', bytes: 64, category: 'weights' }])).rejects.toThrow('was lost');
});
