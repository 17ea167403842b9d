/** WebGPU in a page or a worker. */
import { SftError } from './errors.ts';
import type { AdapterEntry, OpenAdapter } from './types.ts';

const PREFERENCES = ['high-performance', 'low-power'] as const;

function describe(adapter: GPUAdapter): string {
  const { vendor, architecture, device, description } = adapter.info;
  return description || device || `${vendor} ${architecture}`.trim() || 'unnamed adapter';
}

function browserGpu(): GPU {
  if (typeof navigator === 'undefined' || !navigator.gpu) {
    throw new SftError('NO_GPU', 'WebGPU: this browser does not have it', {
      hint: 'use a current Chrome, Edge, Safari or Firefox; on Linux, Chrome needs chrome://flags/#enable-unsafe-webgpu',
    });
  }
  return navigator.gpu;
}

/** What a page can reach: at most one adapter for each power preference; a browser decides which. */
export async function listAdapters(): Promise<readonly AdapterEntry[]> {
  const entries: AdapterEntry[] = [];
  for (const powerPreference of PREFERENCES) {
    const adapter = await browserGpu().requestAdapter({ powerPreference });
    const name = adapter && describe(adapter);
    if (name && !entries.some((entry) => entry.name === name)) entries.push({ name, backend: powerPreference });
  }
  return entries;
}

/** Opens an adapter: `wanted` is a power preference or empty. Throws `NO_GPU`. */
export async function openAdapter(wanted = ''): Promise<OpenAdapter> {
  const powerPreference = PREFERENCES.find((preference) => preference === wanted) ?? 'high-performance';
  const adapter = await browserGpu().requestAdapter({ powerPreference });
  if (!adapter) {
    throw new SftError('NO_GPU', 'WebGPU: the browser offers no adapter', {
      hint: 'see chrome://gpu for the reason; a blocked driver can be allowed with chrome://flags/#ignore-gpu-blocklist',
    });
  }
  const name = describe(adapter);
  const software =
    adapter.info.isFallbackAdapter || /swiftshader|llvmpipe/i.test(`${name} ${adapter.info.architecture}`);
  return { adapter, name, driver: adapter.info.description, software };
}

/** Browsers wait for the GPU without using the CPU. */
export function pollGently<T>(start: () => T): T {
  return start();
}
