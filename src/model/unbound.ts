/** Limits of a device that is not there: for declaring a model only for its names and shapes. */
import type { GpuLimits } from '../gpu/device.ts';

export const UNBOUND_LIMITS: GpuLimits = {
  bufferBytes: Number.MAX_SAFE_INTEGER,
  bindingBytes: Number.MAX_SAFE_INTEGER,
  workgroupInvocations: 256,
  workgroupStorageBytes: 16384,
  storageBuffers: 8,
};
