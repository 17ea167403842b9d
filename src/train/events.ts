/** What a run tells while it goes on. The command line, pages, logs and trackers listen; the trainer knows none of them. */
import type { PackingReport } from '../data/packing.ts';
import type { AnswerMetric } from '../eval/metrics/metrics.ts';
import type { Bytes } from '../gpu/ledger.ts';
import type { Budget } from './budget.ts';
import type { Config } from './config.ts';

/** One row of `log_history`, and of each `step` event. Names as in the Hugging Face Trainer. */
export interface LogRow {
  readonly step: number;
  /** Fraction of epochs done. */
  readonly epoch: number;
  /** Mean over trained tokens: of this step in events, since the last row in `log_history`. */
  readonly loss: number;
  /** Global norm before clipping; not finite (null in JSON) where float16 overflowed and the step was skipped. */
  readonly grad_norm: number;
  /** The rate that this step used. */
  readonly learning_rate: number;
  /** Input tokens so far, padding not counted. */
  readonly num_tokens: number;
  readonly tokens_per_second: number;
}

/** What an evaluation gives besides its loss, where the choice of the best model needs it. */
export type EvalMetrics = Readonly<Partial<Record<`eval_${AnswerMetric | 'perplexity'}`, number>>>;

/** One evaluation. `eval_loss` is the mean over all trained tokens. */
export interface EvalRow extends EvalMetrics {
  readonly step: number;
  readonly epoch: number;
  readonly eval_loss: number;
  /** Seconds. */
  readonly eval_runtime: number;
}

/** What is about to run: told before the first step, and again after a lost device. */
export interface StartEvent {
  readonly type: 'start';
  /** Resolved, all keys. */
  readonly config: Config;
  readonly adapter: {
    readonly name: string;
    readonly driver: string;
    readonly software: boolean;
    readonly kernels: string;
  };
  readonly plan: { readonly peak_bytes: number; readonly categories: Bytes };
  readonly model: {
    readonly name: string;
    readonly type: string;
    readonly parameters: number;
    readonly trainable_parameters: number;
  };
  readonly rows: { readonly train: number; readonly eval: number };
  /** Null where rows are not packed; where they are, batches are counted in sequences. */
  readonly packing: PackingReport | null;
  readonly batch_size: number;
  readonly gradient_accumulation_steps: number;
  readonly gradient_checkpointing: boolean;
  /** Bytes that the run may take and how they are known; null where nothing is. */
  readonly budget: Budget | null;
  /** Why the batch is as large as it is, and checkpointing on or off. */
  readonly reason: string;
  readonly total_steps: number;
  /** The step that the run continues from; 0 for a new one. */
  readonly resumed_step: number;
}

/** How a run ended: told last, when the final model is saved. Folders are named with `output_dir`. */
export interface DoneEvent {
  readonly type: 'done';
  readonly step: number;
  readonly epoch: number;
  /** Mean over the trained tokens since the last row of `log_history`, or the last row's loss. */
  readonly loss: number;
  readonly best_model_checkpoint: string | null;
  readonly final_model: string;
  /** Seconds. */
  readonly runtime: number;
}

/** One optimizer step. With float16, the loss scale after it, and how many steps of the run were skipped so far. */
export interface StepEvent extends LogRow {
  readonly type: 'step';
  readonly loss_scale?: number;
  readonly skipped_steps?: number;
}

/** What the run answers to fixed prompts, and the loss of each token of fixed rows, with the weights of this moment. */
export interface SampleEvent {
  readonly type: 'sample';
  readonly step: number;
  readonly answers: readonly { readonly prompt: string; readonly answer: string; readonly reference: string }[];
  /** `losses` are null where a token is not trained. */
  readonly rows: readonly {
    readonly row: number;
    readonly tokens: readonly string[];
    readonly losses: readonly (number | null)[];
  }[];
}

/** What a run tells, in order; `type` tells events apart. */
export type TrainEvent =
  | StartEvent
  | SampleEvent
  | StepEvent
  | ({ readonly type: 'eval' } & EvalRow)
  | { readonly type: 'checkpoint'; readonly step: number; readonly folder: string }
  | { readonly type: 'warning'; readonly message: string }
  | DoneEvent;
