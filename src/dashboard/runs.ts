/** What the page knows of the runs: the events of the server, in columns that charts can draw. */
import { signal } from '@preact/signals';
import type { SampleEvent, StartEvent, TrainEvent } from '../index.ts';

/** Values over steps. */
export interface Curve {
  readonly steps: number[];
  readonly values: number[];
}

export interface Run {
  readonly title: string;
  /** An index into the colours of the page. */
  readonly color: number;
  readonly curves: Map<string, Curve>;
  readonly warnings: string[];
  start: StartEvent | null;
  step: number;
  done: boolean;
  /** Answers, of each step at which there were some. */
  readonly samples: SampleEvent[];
}

/** Names of curves that come from steps; all others are of evaluations. */
export const STEP_CURVES = ['loss', 'learning_rate', 'grad_norm', 'tokens_per_second'] as const;

export const runs = new Map<string, Run>();
/** Counts what has come, so that views know when to look again. */
export const version = signal(0);
export const connected = signal(false);
/** Runs that a person has switched off. */
export const hidden = signal<ReadonlySet<string>>(new Set());
export const smoothed = signal(true);

interface Message {
  readonly run: string;
  /** The file was begun anew. */
  readonly anew: boolean;
  readonly events: readonly TrainEvent[];
}

function runOf(title: string): Run {
  let run = runs.get(title);
  if (!run) {
    const curves = new Map<string, Curve>();
    run = { title, color: runs.size, curves, warnings: [], start: null, step: 0, done: false, samples: [] };
    runs.set(title, run);
  }
  return run;
}

/** Adds a point; a step that was done again after a resume replaces what came after it. */
function add(run: Run, name: string, step: number, value: number | null): void {
  let curve = run.curves.get(name);
  if (!curve) {
    curve = { steps: [], values: [] };
    run.curves.set(name, curve);
  }
  while (curve.steps.length > 0 && (curve.steps.at(-1) ?? 0) >= step) {
    curve.steps.pop();
    curve.values.pop();
  }
  curve.steps.push(step);
  curve.values.push(value ?? Number.NaN);
}

export function take({ run: title, anew, events }: Message): void {
  if (anew) runs.delete(title);
  const run = runOf(title);
  for (const event of events) {
    switch (event.type) {
      case 'start':
        run.start = event;
        run.step = event.resumed_step;
        run.done = false;
        break;
      case 'step':
        run.step = event.step;
        for (const name of STEP_CURVES) add(run, name, event.step, event[name]);
        break;
      case 'eval': {
        const { type: _, step, epoch: __, eval_runtime: ___, ...metrics } = event;
        for (const [name, value] of Object.entries(metrics)) add(run, name, step, value as number);
        break;
      }
      case 'sample':
        while ((run.samples.at(-1)?.step ?? -1) >= event.step) run.samples.pop();
        run.samples.push(event);
        break;
      case 'warning':
        run.warnings.push(event.message);
        break;
      case 'done':
        run.done = true;
        break;
      case 'checkpoint':
        break;
    }
  }
  version.value += 1;
}

/** Listens to the server for as long as the page is open; the browser connects again by itself and misses nothing. */
export function listen(): void {
  const source = new EventSource('./events');
  source.addEventListener('open', () => {
    connected.value = true;
  });
  source.addEventListener('error', () => {
    connected.value = false;
  });
  source.addEventListener('message', ({ data }: MessageEvent<string>) => take(JSON.parse(data) as Message));
}
