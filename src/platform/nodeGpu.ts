/** WebGPU on Node: Dawn through the npm package `webgpu`. */
import { tmpdir } from 'node:os';
import type { create as Create } from 'webgpu';
import { SftError } from './errors.ts';
import type { AdapterEntry, OpenAdapter } from './types.ts';

const TOGGLES = [
  'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia',
  'disable-dawn-features=timestamp_quantization',
];

/** Drivers that run on the CPU. Lavapipe is the fastest of them. */
const SOFTWARE = [/llvmpipe/i, /swiftshader/i, /microsoft basic render/i];

/**
 * Dawn frees its instance with the object that `create` returns, even while a device of it lives; using that device
 * then crashes the process. So every instance is kept here for as long as the process runs, one per adapter.
 */
const instances = new Map<string, GPU>();

async function dawn(): Promise<typeof Create> {
  // Vulkan drivers complain on stderr without it.
  process.env.XDG_RUNTIME_DIR ||= tmpdir();
  try {
    // A bundler of server code (Next) that followed this would look for the native library where it cannot be.
    const { create, globals } = await import(/* webpackIgnore: true */ /* turbopackIgnore: true */ 'webgpu');
    Object.assign(globalThis, globals);
    return create;
  } catch (cause) {
    throw new SftError('NO_GPU', `WebGPU: expected Dawn for ${process.platform}-${process.arch}, could not load it`, {
      hint: 'run `npm install webgpu`; Dawn is carried for Linux, macOS and Windows on x64 and arm64',
      cause,
    });
  }
}

function instance(create: typeof Create, flags: readonly string[]): GPU {
  const key = flags.join(' ');
  let gpu = instances.get(key);
  if (!gpu) {
    gpu = create([...TOGGLES, ...flags]);
    instances.set(key, gpu);
  }
  return gpu;
}

/**
 * All adapters of this machine, the best first: real GPUs in Dawn's order, then software ones.
 *
 * Dawn lists its adapters only in the error text for a name that does not exist.
 */
export async function listAdapters(): Promise<readonly AdapterEntry[]> {
  const create = await dawn();
  let text = '';
  try {
    await pollGently(() => instance(create, ['adapter=\u0001list']).requestAdapter());
  } catch (error) {
    text = error instanceof Error ? error.message : String(error);
  }
  const entries = [...text.matchAll(/backend: '([^']*)', name: '([^']*)'/g)]
    .map(([, backend = '', name = '']) => ({ backend, name }))
    .filter(
      ({ backend, name }, index, all) => backend !== 'null' && all.findIndex((other) => other.name === name) === index,
    );
  const rank = (name: string) => SOFTWARE.findIndex((pattern) => pattern.test(name));
  return entries.sort((a, b) => rank(a.name) - rank(b.name));
}

/**
 * Opens the adapter whose name contains `wanted`, or else the one that `WEBGPU_SFT_ADAPTER` names, or else the best.
 * Throws `NO_GPU` with the names that exist.
 */
export async function openAdapter(wanted = process.env.WEBGPU_SFT_ADAPTER ?? ''): Promise<OpenAdapter> {
  const create = await dawn();
  const entries = await listAdapters();
  const entry = entries.find(({ name }) => name.toLowerCase().includes(wanted.toLowerCase()));
  if (!entry) {
    const names = entries.map(({ name }) => `"${name}"`).join(', ');
    throw entries.length === 0
      ? new SftError('NO_GPU', 'WebGPU: expected an adapter, found none', {
          hint: 'install a GPU driver with Vulkan (Linux), or run `npm start` in a checkout, which sets up a software adapter',
        })
      : new SftError('NO_GPU', `WebGPU: no adapter is named like "${wanted}"`, { hint: `there are: ${names}` });
  }
  const gpu = instance(create, [`backend=${entry.backend}`, `adapter=${entry.name}`]);
  const adapter = await pollGently(() => gpu.requestAdapter());
  if (!adapter) throw new SftError('NO_GPU', `WebGPU: the adapter "${entry.name}" did not open`);
  return {
    adapter,
    name: entry.name,
    driver: adapter.info.description,
    software: SOFTWARE.some((pattern) => pattern.test(entry.name)),
  };
}

/**
 * Calls `start`, which begins asynchronous GPU work, so that waiting for it leaves the CPU free.
 *
 * While a promise is pending, Dawn polls in a `setImmediate` loop that keeps one core busy; on a software adapter that
 * core is the "GPU". During the call (and in each poll) `setImmediate` is replaced by a timer of one millisecond.
 */
export function pollGently<T>(start: () => T): T {
  const immediate = globalThis.setImmediate;
  const gentle = (poll: () => void) => setTimeout(() => pollGently(poll), 1);
  globalThis.setImmediate = gentle as unknown as typeof setImmediate;
  try {
    return start();
  } finally {
    globalThis.setImmediate = immediate;
  }
}
