/** A GPU that is not there, for tests of what needs none. */
import type { GpuLimits, GpuTraits } from '../../src/gpu/device.ts';

export const limits: GpuLimits = {
  bufferBytes: 2 ** 28,
  bindingBytes: 2 ** 27,
  workgroupInvocations: 256,
  workgroupStorageBytes: 16384,
  storageBuffers: 8,
};

export const traits: GpuTraits = { family: 'tiled', subgroupSize: 0, nativeF16: false, limits };
