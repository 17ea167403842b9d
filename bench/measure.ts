/**
 * How everything here is measured: both sides in turn, several rounds, the median of the rounds' ratios.
 *
 * On a software adapter the kernels run on the CPU that everything else runs on, so speed is GFLOP per CPU second of the
 * whole process: it hardly moves with other load. On a GPU it is GFLOPS by the clock.
 */
import type { Gpu } from '../src/gpu/device.ts';

export interface Result {
  readonly name: string;
  /** In `unit`, of this project and of what it is compared with; null where that is not installed. */
  readonly ours: number;
  readonly reference: number | null;
  readonly ratio: number | null;
  readonly unit: string;
  readonly note: string;
}

export interface Side {
  /** Submits the work and resolves when the device has done it. */
  run(): Promise<void>;
  /** Arithmetic of one run. */
  readonly flops: number;
}

export const speedUnit = (gpu: Gpu) => (gpu.software ? 'GFLOP per CPU second' : 'GFLOPS');

/** Speed of one run in `speedUnit`. */
export async function speed(gpu: Gpu, side: Side): Promise<number> {
  await gpu.done();
  const cpu = process.cpuUsage();
  const start = performance.now();
  await side.run();
  const clock = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return side.flops / 1e9 / (gpu.software ? (user + system) / 1e6 : clock);
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** Runs both sides in turn and compares their speeds. */
export async function compare(
  gpu: Gpu,
  name: string,
  ours: Side,
  reference: Side,
  note: string,
  rounds = 5,
): Promise<Result> {
  for (const side of [ours, reference]) await side.run();
  const pairs: [number, number][] = [];
  for (let round = 0; round < rounds; round++) pairs.push([await speed(gpu, ours), await speed(gpu, reference)]);
  return {
    name,
    ours: median(pairs.map(([a]) => a)),
    reference: median(pairs.map(([, b]) => b)),
    ratio: median(pairs.map(([a, b]) => a / b)),
    unit: speedUnit(gpu),
    note,
  };
}
