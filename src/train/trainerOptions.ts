/** What a trainer is made of. */
import type { LabelledTokens } from '../data/labels.ts';
import type { Gpu } from '../gpu/device.ts';
import type { ModelFiles } from '../model/modelFiles.ts';
import type { ReadableFolder, WritableStore } from '../platform/types.ts';
import type { Budget } from './budget.ts';
import type { Config } from './config.ts';
import type { EvalMetrics, SampleEvent } from './events.ts';

/** A run with everything that its configuration names already open. */
export interface TrainerOptions {
  readonly config: Config;
  /** Keys that were set by hand, and where; an `init_from` adapter may not contradict them. */
  readonly given?: ReadonlyMap<string, string>;
  readonly gpu: Gpu;
  /** Its weights are closed when `train` ends. */
  readonly files: ModelFiles;
  readonly rows: readonly LabelledTokens[];
  /** None: no evaluation and no choice of a best model. */
  readonly evalRows?: readonly LabelledTokens[];
  readonly store: WritableStore;
  /** Text of the chat template in use, saved with the model. */
  readonly chatTemplate?: string | null;
  /** The checkpoint to continue from. */
  readonly resumeFrom?: ReadableFolder | null;
  /** The PEFT adapter to start from (`tuning.lora.init_from`). */
  readonly initFrom?: ReadableFolder | null;
  /** Told of the bytes of weights that are loaded, and of all. */
  readonly onLoadProgress?: (loadedBytes: number, totalBytes: number) => void;
  /** Bytes that the run may take; found out when left out, none when null. */
  readonly budget?: Budget | null;
  /** Warnings of earlier stages, to be told once the run has begun. */
  readonly warnings?: readonly string[];
  /** What the run says of a few rows, told at its beginning and after each evaluation. */
  readonly sample?: ((step: number) => Promise<SampleEvent>) | undefined;
  /** Metrics of answers, asked for at each evaluation; needed where `train.metric_for_best_model` is one of them. */
  readonly scoreAnswers?: (() => Promise<EvalMetrics>) | undefined;
  /** Warnings that were told before and are not told again. */
  readonly told?: ReadonlySet<string>;
}
