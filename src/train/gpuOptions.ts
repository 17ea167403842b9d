/** From a configuration to a device. */
import type { Gpu } from '../gpu/device.ts';
import type { Config } from './config.ts';

/** How `Gpu.open` is called for a configuration: which adapter, and which family of kernels. */
export function gpuOptions(config: Config): Parameters<typeof Gpu.open>[0] {
  const { devices, tuning } = config;
  return {
    adapter: devices === 'auto' ? undefined : devices[0],
    family: tuning.backend === 'portable' ? 'portable' : undefined,
  };
}
