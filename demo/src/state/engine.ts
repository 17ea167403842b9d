/** The engine, started when it is first needed: until then not a byte of it is loaded. */
import { signal } from '@preact/signals';
import type { DeviceInfo, WorkerTrainer } from '../../../src/index.ts';
import { recipe } from './chosen.ts';
import { onWorkerLost } from './problems.ts';

let current: Promise<WorkerTrainer> | null = null;

export function engine(): Promise<WorkerTrainer> {
  current ??= import('../../../src/worker/client.ts').then(({ createWorkerTrainer }) => createWorkerTrainer());
  current.catch(forget);
  return current;
}

function forget(): void {
  current = null;
  device.value = null;
}

// The next call starts another worker; what the lost one has stored is there.
onWorkerLost(forget);

/** The adapter in use; null until the engine has opened it. */
export const device = signal<DeviceInfo | null>(null);
let opening: { readonly choice: string | null; readonly done: Promise<DeviceInfo> } | null = null;

/** Opens the adapter that the recipe asks for. Throws `NO_GPU`. */
export async function openDevice(): Promise<DeviceInfo> {
  const { adapter } = recipe.value;
  if (opening?.choice !== adapter || !device.value) {
    const done = engine().then((trainer) => trainer.device(adapter ?? undefined));
    opening = { choice: adapter, done };
  }
  const info = await opening.done;
  device.value = info;
  return info;
}

/** What the browser has: seen without the engine, soon after the page is there. */
export type Support =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'ready'; readonly name: string; readonly software: boolean }
  | { readonly kind: 'insecure' | 'missing' | 'no-adapter' };

export const support = signal<Support>({ kind: 'unknown' });

export async function lookForWebGpu(): Promise<void> {
  if (!isSecureContext) support.value = { kind: 'insecure' };
  else if (!navigator.gpu) support.value = { kind: 'missing' };
  else {
    const adapter = await navigator.gpu.requestAdapter().catch(() => null);
    if (!adapter) {
      support.value = { kind: 'no-adapter' };
      return;
    }
    const { vendor, architecture, device: model, description, isFallbackAdapter } = adapter.info;
    const name = description || model || `${vendor} ${architecture}`.trim();
    support.value = {
      kind: 'ready',
      name,
      software: isFallbackAdapter || /swiftshader|llvmpipe/i.test(`${name} ${architecture}`),
    };
  }
}
