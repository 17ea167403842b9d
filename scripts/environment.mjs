/**
 * The surroundings that WebGPU needs on this machine, as set-up found them: `.cache/webgpu-env.json`.
 *
 *     variables  environment variables, for the Vulkan loader
 *     library    a Vulkan loader to load before Dawn asks for one, or null
 *     adapters   the adapters that opened, best first: { name, backend, software }
 *     chromium   { path, libraries, source } of a browser whose pages get an adapter, or null
 */
import { readFileSync } from 'node:fs';

export const environmentFile = new URL('../.cache/webgpu-env.json', import.meta.url);

/** What set-up found, or null before the first set-up. */
export function readEnvironment() {
  try {
    return JSON.parse(readFileSync(environmentFile, 'utf8'));
  } catch {
    return null;
  }
}

/**
 * Puts this process in the surroundings that set-up found. To be called before `webgpu` is imported; variables that are
 * set already win.
 *
 * Dawn opens "libvulkan.so.1" by its bare name. The dynamic linker reads its search path only when a process starts, but
 * it takes a library that is loaded under that name from wherever it came. So a carried loader is loaded here, with a
 * flag that keeps it; Node then complains that it is no add-on, which is true and no matter.
 */
export function useAdapterEnvironment(environment = readEnvironment()) {
  if (!environment) return;
  for (const [name, value] of Object.entries(environment.variables)) process.env[name] ||= value;
  if (!environment.library) return;
  const RTLD_LAZY = 0x1;
  const RTLD_NODELETE = 0x1000;
  try {
    process.dlopen({ exports: {} }, environment.library, RTLD_LAZY | RTLD_NODELETE);
  } catch (error) {
    if (!String(error).includes('self-register')) throw error;
  }
}
