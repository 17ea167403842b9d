/** Where a run stands: counters, `log_history`, the best evaluation. Books results and restores itself from a checkpoint. */
import type { CursorState } from '../data/batches.ts';
import { invariant, SftError } from '../platform/errors.ts';
import type { Backend, RunState } from './checkpoint.ts';
import type { Config } from './config.ts';
import type { StepResult } from './engine.ts';
import type { EvalMetrics, EvalRow, LogRow } from './events.ts';
import type { LossScaleState } from './lossScale.ts';
import { newTrainerState, type TrainerState } from './state.ts';

/** An optimizer step that was submitted. */
export interface BookedStep {
  readonly step: number;
  readonly epoch: number;
  readonly learningRate: number;
  readonly trainedTokens: number;
  readonly inputTokens: number;
}

/** Sums since the last row of `log_history`. */
interface SinceLog {
  loss: number;
  trainedTokens: number;
  inputTokens: number;
  startedAt: number;
}

const LAST_SLASH = /.*\//;

export class Progress {
  /** `trainer_state.json`. */
  readonly state: TrainerState;
  private readonly config: Config;
  private since: SinceLog = { loss: 0, trainedTokens: 0, inputTokens: 0, startedAt: performance.now() };
  private evalsWithoutImprovement = 0;

  constructor(config: Config, totalSteps: number, stepsPerEpoch: number, batchSize: number) {
    const { train, logging } = config;
    this.config = config;
    this.state = newTrainerState({
      eval_steps: train.eval_steps,
      logging_steps: logging.log_interval,
      max_steps: totalSteps,
      num_train_epochs: Math.ceil(totalSteps / stepsPerEpoch),
      save_steps: train.save_steps,
      train_batch_size: batchSize,
    });
  }

  /** Goes on from a checkpoint. What was asked for now (more steps, another logging interval) wins over what was then. */
  restore({ since_log, evals_without_improvement }: RunState, trainer: TrainerState): void {
    const { max_steps, num_train_epochs, logging_steps, eval_steps, save_steps, train_batch_size } = this.state;
    const asked = { max_steps, num_train_epochs, logging_steps, eval_steps, save_steps, train_batch_size };
    Object.assign(this.state, trainer, asked);
    this.since.loss = since_log.loss;
    this.since.trainedTokens = since_log.trained_tokens;
    this.evalsWithoutImprovement = evals_without_improvement;
  }

  /** What a checkpoint keeps besides weights, moments and `state`. */
  runState(cursor: CursorState, backend: Backend, lossScale: LossScaleState | null): RunState {
    const { state, since } = this;
    return {
      version: 1,
      step: state.global_step,
      cursor,
      since_log: { loss: since.loss, trained_tokens: since.trainedTokens },
      num_tokens: state.num_input_tokens_seen,
      evals_without_improvement: this.evalsWithoutImprovement,
      loss_scale: lossScale,
      backend,
    };
  }

  /** Training time begins now. */
  start(): void {
    this.since.startedAt = performance.now();
  }

  /** Time that was spent on something else than training, in milliseconds. */
  pause(milliseconds: number): void {
    this.since.startedAt += milliseconds;
  }

  /** Books the result of a step. Throws `NUMERIC` when it is not finite, but for a step that was skipped for that. */
  book(
    { step, epoch, learningRate, trainedTokens, inputTokens }: BookedStep,
    { loss, gradNorm, lossScale }: StepResult,
  ): LogRow {
    const skipped = lossScale !== null && !Number.isFinite(gradNorm);
    if (!skipped && (!Number.isFinite(loss) || !Number.isFinite(gradNorm))) {
      const got = `${loss / trainedTokens} and ${gradNorm}`;
      throw new SftError('NUMERIC', `step ${step}: expected a finite loss and gradient norm, got ${got}`, {
        hint: 'use a lower train.learning_rate or a longer warm-up; the last checkpoint is from before',
      });
    }
    const { state, since } = this;
    // Infinite activations of a skipped step would hide the losses of all the others.
    if (Number.isFinite(loss)) {
      since.loss += loss;
      since.trainedTokens += trainedTokens;
    }
    since.inputTokens += inputTokens;
    state.global_step = step;
    state.epoch = epoch;
    state.num_input_tokens_seen += inputTokens;
    const seconds = Math.max(1e-9, (performance.now() - since.startedAt) / 1000);
    const row: LogRow = {
      step,
      epoch,
      loss: loss / trainedTokens,
      grad_norm: gradNorm,
      learning_rate: learningRate,
      num_tokens: state.num_input_tokens_seen,
      tokens_per_second: since.inputTokens / seconds,
    };
    if (step % this.config.logging.log_interval === 0) {
      state.log_history.push({ ...row, loss: since.loss / since.trainedTokens });
      this.since = { loss: 0, trainedTokens: 0, inputTokens: 0, startedAt: performance.now() };
    }
    return row;
  }

  /** Books an evaluation that took so many seconds, and whether it is the best so far. */
  bookEvaluation(loss: number, seconds: number, scores: EvalMetrics = {}): EvalRow {
    const { state } = this;
    const { metric_for_best_model: metric, greater_is_better } = this.config.train;
    const row: EvalRow = {
      step: state.global_step,
      epoch: state.epoch,
      eval_loss: loss,
      ...(metric === 'eval_perplexity' && { eval_perplexity: Math.exp(loss) }),
      ...scores,
      eval_runtime: seconds,
    };
    state.log_history.push(row);
    this.pause(seconds * 1000);
    const value = row[metric];
    invariant(value !== undefined, `an evaluation without ${metric}`);
    const greater = greater_is_better ?? (metric !== 'eval_loss' && metric !== 'eval_perplexity');
    const better = state.best_metric === null || (greater ? value > state.best_metric : value < state.best_metric);
    if (better) {
      state.best_metric = value;
      state.best_global_step = state.global_step;
      this.evalsWithoutImprovement = 0;
    } else this.evalsWithoutImprovement += 1;
    return row;
  }

  /** Whether `early_stopping_patience` evaluations in a row were no better. */
  get isTimeToStop(): boolean {
    const patience = this.config.train.early_stopping_patience;
    return patience !== null && this.evalsWithoutImprovement >= patience;
  }

  /** Books a checkpoint of this step in the store of that name. */
  bookCheckpoint(store: string, folder: string): void {
    if (this.state.best_global_step === this.state.global_step) this.state.best_model_checkpoint = `${store}/${folder}`;
  }

  /** The last checkpoint that was the best when it was saved: not every evaluation comes with a checkpoint. */
  get bestFolder(): string | null {
    return this.state.best_model_checkpoint?.replace(LAST_SLASH, '') ?? null;
  }

  /** Mean loss since the last row of `log_history`, or that of the last row. */
  get loss(): number {
    const last = this.state.log_history.findLast((row): row is LogRow => 'loss' in row);
    return this.since.trainedTokens > 0 ? this.since.loss / this.since.trainedTokens : (last?.loss ?? Number.NaN);
  }
}
