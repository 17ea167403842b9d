/**
 * How much memory a page may use. A browser does not say, so memory is taken in growing steps, touched, and given back: a
 * buffer that was only made may lie nowhere.
 */
import { openAdapter } from './browserGpu.ts';
import type { MemoryFinding } from './types.ts';

const GIB = 2 ** 30;
/** Bytes of the first step; each is as large as all before it together, up to `LARGEST_STEP`. */
const FIRST_STEP = 64 * 2 ** 20;
const LARGEST_STEP = 512 * 2 ** 20;
/** Integrated GPUs take main memory without end, at the cost of everything else that runs. */
const MOST = 4 * GIB;
/** Filling a step at less than this is no longer memory of the GPU: bytes per second. */
const SLOWEST = 0.5 * GIB;
/** Of what could be touched, what a run may take. */
const SHARE = 0.8;

/** Main memory as the browser tells it, rounded and capped; 4 GiB where it does not. */
function mainMemory(): number {
  const { deviceMemory = 4 } = navigator as { deviceMemory?: number };
  return deviceMemory * GIB;
}

/** Bytes that a run may take, and how that is known. */
export async function findMemory({ software }: { readonly software: boolean }): Promise<MemoryFinding> {
  const quarter = Math.floor(mainMemory() / 4);
  if (software) return { bytes: quarter, source: 'a quarter of the main memory, where the adapter runs', guess: true };
  const touched = await probe(Math.min(MOST, mainMemory() / 2)).catch(() => 0);
  if (touched > 0) return { bytes: Math.floor(touched * SHARE), source: '80 % of what could be taken in a trial' };
  return { bytes: Math.min(GIB, quarter), source: 'a guess: the trial of the memory failed', guess: true };
}

/** Takes and touches memory, at most `most` bytes, until some is refused or slow; gives all back. */
export async function probe(most: number): Promise<number> {
  const { adapter } = await openAdapter();
  const limit = adapter.limits.maxBufferSize;
  const device = await adapter.requestDevice({ requiredLimits: { maxBufferSize: limit } });
  let lost = false;
  void device.lost.then(() => {
    lost = true;
  });
  device.addEventListener('uncapturederror', (event) => event.preventDefault());
  const taken: GPUBuffer[] = [];
  let total = 0;
  try {
    while (total < most) {
      const size = Math.min(Math.max(FIRST_STEP, total), LARGEST_STEP, limit, most - total) & ~3;
      if (size <= 0) break;
      for (const filter of ['internal', 'validation', 'out-of-memory'] as const) device.pushErrorScope(filter);
      const started = performance.now();
      const buffer = device.createBuffer({ size, usage: 0x08 }); // GPUBufferUsage.COPY_DST
      taken.push(buffer);
      const encoder = device.createCommandEncoder();
      encoder.clearBuffer(buffer);
      device.queue.submit([encoder.finish()]);
      const errors = await Promise.all([0, 1, 2].map(() => device.popErrorScope()));
      await device.queue.onSubmittedWorkDone();
      if (lost || errors.some((error) => error !== null)) break;
      total += size;
      if ((size / (performance.now() - started)) * 1000 < SLOWEST) break;
    }
    return total;
  } finally {
    for (const buffer of taken) buffer.destroy();
    // Memory is freed at a later submit.
    if (!lost) device.queue.submit([]);
    await device.queue.onSubmittedWorkDone().catch(() => {});
    device.destroy();
  }
}
