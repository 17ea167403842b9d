/** What one visit leaves for the next: the run that was last seen here. Its weights and rows lie in the storage of the browser. */
import { signal } from '@preact/signals';
import { engine } from './engine.ts';
import type { Point, Run } from './run.ts';

export interface KeptRun extends Run {
  readonly done: boolean;
  readonly step: number;
  readonly totalSteps: number;
  readonly losses: readonly Point[];
  readonly evaluations: readonly Point[];
}

const KEY = 'webgpu-sft: run';
/** Points that are kept of a long run. */
const MOST_POINTS = 2000;

/** The run of an earlier visit, while it is offered. */
export const offered = signal<KeptRun | null>(null);

export function keepRun(kept: KeptRun): void {
  const every = Math.ceil(kept.losses.length / MOST_POINTS);
  const losses = kept.losses.filter((_, index) => index % every === 0);
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...kept, losses }));
  } catch {
    // Storage may be full or forbidden. The run is in its checkpoints; only the offer to go on is lost.
  }
}

export function forgetRun(): void {
  offered.value = null;
  try {
    localStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}

function readRun(): KeptRun | null {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? 'null') as KeptRun | null;
  } catch {
    return null;
  }
}

/** Looks for a run of an earlier visit. Starts the engine only if there was one. */
export async function lookForRun(): Promise<void> {
  const kept = readRun();
  if (!kept) return;
  if (kept.done) {
    offered.value = kept;
    return;
  }
  // A run that goes on in another tab is not one of them.
  const unfinished = await (await engine()).unfinishedRuns();
  const found = unfinished.find(({ config }) => config.output_dir === kept.outputDir);
  // Before its first checkpoint there is nothing to go on from, but what was chosen is worth something.
  offered.value = found
    ? { ...kept, step: found.step, totalSteps: found.totalSteps }
    : { ...kept, step: 0, losses: [], evaluations: [] };
}
