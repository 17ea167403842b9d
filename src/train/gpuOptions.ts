/** The device that a configuration asks for. */
import type { Gpu } from '../gpu/device.ts';
import type { Config } from './config.ts';

/** What the configuration says about the device. */
export function gpuOptions(config: Config): Parameters<typeof Gpu.open>[0] {
  const { devices, tuning } = config;
  return {
    adapter: devices === 'auto' ? undefined : devices[0],
    family: tuning.backend === 'portable' ? 'portable' : undefined,
  };
}
