/**
 * Trackers show the curves of a run elsewhere: TensorBoard, Weights & Biases, Trackio. They get the rows of `log_history`, with the
 * names of the Hugging Face Trainer. One that fails is given up with a warning and never stops a run.
 */
import type { WritableStore } from '../../platform/types.ts';
import type { Config } from '../config.ts';
import type { EvalRow, LogRow } from '../events.ts';

export interface TrackedRun {
  readonly config: Config;
  readonly store: WritableStore;
  /** What the run is called: `logging.run_name`, else the name of its folder. */
  readonly name: string;
}

export interface Tracker {
  /** For messages. */
  readonly name: string;
  /** Takes one row. What goes over a network is sent later. */
  log(row: LogRow | EvalRow): Promise<void> | void;
  /** Hands over what was not yet sent. */
  close(): Promise<void>;
}

export type OpenTracker = (run: TrackedRun) => Promise<Tracker>;

/** The values of a row that are curves, as the Trainer's callbacks name them: `train/loss`, `eval/loss`. */
export function curves({ step: _, ...row }: LogRow | EvalRow): [name: string, value: number][] {
  return Object.entries(row).map(([key, value]) => [
    key.startsWith('eval_') ? `eval/${key.slice('eval_'.length)}` : `train/${key}`,
    value,
  ]);
}
