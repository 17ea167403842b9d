/**
 * The training loop: an async generator of events.
 *
 * Per optimizer step: forward and backward of each micro-batch, clip, AdamW, schedule. The loss is the sum over all trained
 * tokens of the step ÷ their number, whatever batch × accumulation is. Results come back while the next step runs.
 */
import { stringify } from 'yaml';
import { type Cursor, createCursor } from '../data/batches.ts';
import { countTrained, type LabelledTokens } from '../data/labels.ts';
import type { Gpu } from '../gpu/device.ts';
import { type Bytes, sumBytes } from '../gpu/ledger.ts';
import { readAdapterConfig } from '../model/adapterConfig.ts';
import { openAdapterFolder, optionsOf } from '../model/lora.ts';
import type { Model, ModelFiles } from '../model/model.ts';
import type { ModelCard } from '../model/modelCard.ts';
import type { Adapter } from '../model/peft.ts';
import { SftError } from '../platform/errors.ts';
import { randomStream } from '../platform/random.ts';
import type { ReadableFolder, WritableStore } from '../platform/types.ts';
import { VERSION } from '../platform/version.ts';
import {
  type Backend,
  checkBackend,
  type RunState,
  readProgress,
  restoreModel,
  rotateCheckpoints,
  type SaveOptions,
  saveModel,
} from './checkpoint.ts';
import type { Config } from './config.ts';
import { Engine, type OptimizerStep, type Shape, type StepResult, shapeFor } from './engine.ts';
import type { EvalRow, StartEvent, TrainEvent } from './events.ts';
import { startFrom } from './initFrom.ts';
import { declareModel, loraOptions } from './planMemory.ts';
import { type BookedStep, Progress } from './progress.ts';
import { resolveBatch } from './resolveBatch.ts';
import { createSchedule } from './schedule.ts';
import { type TrainerState, trainerStateJson } from './state.ts';

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
  readonly onLoadProgress?: (loadedBytes: number, totalBytes: number) => void;
  /** Warnings of earlier stages, to be told once the run has begun. */
  readonly warnings?: readonly string[];
}

/** Draws of the micro-step's dropout seed come from this stream of `train.seed`, one for each micro-batch. */
const DROPOUT_STREAM = 2 ** 40;

interface Pending extends BookedStep {
  readonly result: Promise<StepResult>;
}

export class Trainer {
  readonly model: Model;
  readonly engine: Engine;
  private readonly options: TrainerOptions;
  private readonly initial: Adapter | null;
  private readonly batch: { batchSize: number; accumulation: number };
  private readonly stepsPerEpoch: number;
  private readonly totalSteps: number;
  private readonly backend: Backend;
  private readonly progress: Progress;
  private planned: Bytes | null = null;

  private constructor(options: TrainerOptions, model: Model, engine: Engine, initial: Adapter | null) {
    const { config, gpu, rows } = options;
    const { train } = config;
    this.options = options;
    this.model = model;
    this.engine = engine;
    this.initial = initial;
    this.batch = resolveBatch(train);
    this.stepsPerEpoch = Math.ceil(Math.ceil(rows.length / this.batch.batchSize) / this.batch.accumulation);
    this.totalSteps = train.max_steps > 0 ? train.max_steps : Math.ceil(train.epochs * this.stepsPerEpoch);
    this.backend = {
      backend: gpu.backend,
      mode: config.tuning.mode,
      quantization: null,
      precision: 'float32',
      adapter: gpu.name,
      driver: gpu.driver,
      kernels: gpu.family,
      versions: { 'webgpu-sft': VERSION },
    };
    this.progress = new Progress(config, this.totalSteps, this.stepsPerEpoch, this.batch.batchSize);
  }

  /** Declares the model and plans the run; nothing is allocated yet. Throws `MODEL`, `CONFIG`, `ADAPTER`. */
  static async create(options: TrainerOptions): Promise<Trainer> {
    const { config, gpu, files, rows, evalRows = [], initFrom } = options;
    const { tuning, train } = config;
    const wanted = loraOptions(tuning);
    const lora = initFrom ? startFrom(optionsOf(await readAdapterConfig(initFrom)), wanted, options.given) : wanted;
    const model = declareModel(files, config, gpu, lora);
    const initial = initFrom ? await openAdapterFolder(initFrom, model.decoder) : null;
    const { batchSize } = resolveBatch(train);
    const engine = new Engine(model, gpu, {
      maxGradNorm: train.max_grad_norm,
      checkpointing: train.gradient_checkpointing === true,
      trainShape: largestBatch(rows, batchSize),
      evalShape: evalRows.length > 0 ? largestBatch(evalRows, batchSize) : null,
    });
    const trainer = new Trainer(options, model, engine, initial);
    trainer.checkBudget();
    return trainer;
  }

  /** Exact bytes of the run, by category. */
  plan(): Bytes {
    this.planned ??= this.engine.plan();
    return this.planned;
  }

  private checkBudget(): void {
    const { budget_gib } = this.options.config.memory;
    const needed = sumBytes(this.plan());
    if (budget_gib === null || needed <= budget_gib * 2 ** 30) return;
    const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(2);
    throw new SftError(
      'OUT_OF_MEMORY',
      `memory.budget_gib: the run needs ${gib(needed)} GiB, the budget is ${budget_gib} GiB`,
      {
        hint: 'use a smaller train.batch_size, model.max_seq_len or tuning.lora.r, or set train.gradient_checkpointing: true',
      },
    );
  }

  /**
   * Runs the training and saves checkpoints and the final model to the store. When `signal` is aborted, the run saves a
   * checkpoint at the last finished step and throws `INTERRUPTED`.
   */
  async *train(signal?: AbortSignal): AsyncGenerator<TrainEvent, void> {
    const { gpu, store, files } = this.options;
    try {
      const release = await store.lock();
      try {
        yield* this.run(signal);
      } finally {
        this.engine.close(gpu);
        this.model.close(gpu);
        await gpu.collect().catch(() => {});
        await release();
      }
    } catch (cause) {
      if (cause instanceof SftError || !signal?.aborted) throw cause;
      throw new SftError('INTERRUPTED', 'stopped before the first step; there is nothing to save', { cause });
    } finally {
      await files.checkpoint.close();
    }
  }

  private async *run(signal?: AbortSignal): AsyncGenerator<TrainEvent, void> {
    const { options, engine, totalSteps } = this;
    const { config, gpu, store, rows, evalRows = [] } = options;
    const { train, logging } = config;
    const begun = performance.now();
    const saved = options.resumeFrom ? await readProgress(options.resumeFrom) : null;
    if (saved && options.resumeFrom) checkBackend(options.resumeFrom.name, saved.run.backend, this.backend);
    await store.write('config.yaml', stringify(config));
    await store.write('backend.json', `${JSON.stringify(this.backend, null, 2)}\n`);
    await this.model.load(gpu, options.onLoadProgress, signal);
    await engine.prepare(gpu);
    const cursor = await this.begin(saved);
    yield await this.tell(this.startEvent(saved?.run.step ?? 0));
    for (const message of [...(options.warnings ?? []), ...this.model.spec.warnings, ...this.ownWarnings()]) {
      yield await this.tell({ type: 'warning', message });
    }

    const rate = createSchedule(train, totalSteps);
    const microBatchesPerEpoch = Math.ceil(rows.length / this.batch.batchSize);
    let pending: Pending | null = null;
    // A checkpoint may be the one with which the run had ended.
    let stopped = this.progress.isTimeToStop;
    this.progress.start();
    while (this.submitted < totalSteps && !stopped) {
      const group = cursor.next();
      const step = this.submitted + 1;
      const batches = group.microBatches.map((numbers) => numbers.map((number) => rows[number] as LabelledTokens));
      const all = batches.flat();
      const trainedTokens = all.reduce((sum, row) => sum + countTrained(row), 0);
      const inputTokens = all.reduce((sum, row) => sum + row.inputIds.length, 0);
      const learningRate = rate(step - 1);
      // ---------------------------------------------------------------- one optimizer step
      for (const [index, batch] of batches.entries()) {
        await engine.microStep(gpu, batch, 1 / trainedTokens, dropoutSeed(train.seed, step, index));
      }
      const { result } = await engine.optimizerStep(gpu, this.optimizer(step, learningRate));
      // ------------------------------------------------------------------------------------
      this.submitted = step;
      const microBatches = group.stepInEpoch * this.batch.accumulation + batches.length;
      const epoch = group.epoch + microBatches / microBatchesPerEpoch;
      if (pending) yield await this.finish(pending);
      pending = { step, epoch, learningRate, trainedTokens, inputTokens, result };

      const endOfEpoch = microBatches === microBatchesPerEpoch || step === totalSteps;
      const evaluates = evalRows.length > 0 && isDue(train.eval_strategy, train.eval_steps, step, endOfEpoch);
      const saves =
        isDue(train.save_strategy, train.save_steps, step, endOfEpoch) ||
        (step === totalSteps && train.save_strategy !== 'no');
      const interrupted = signal?.aborted ?? false;
      if (!evaluates && !saves && !interrupted && step % logging.log_interval !== 0 && step < totalSteps) continue;

      yield await this.finish(pending);
      pending = null;
      if (evaluates) {
        const row = await this.evaluate(evalRows);
        yield await this.tell({ type: 'eval', ...row });
        stopped = this.progress.isTimeToStop;
      }
      if (saves || interrupted || (stopped && train.save_strategy !== 'no')) {
        const folder = await this.saveCheckpoint(cursor);
        yield await this.tell({ type: 'checkpoint', step, folder });
        if (interrupted) throw new SftError('INTERRUPTED', `stopped after step ${step}; saved ${store.name}/${folder}`);
      }
      await this.writeState();
    }
    yield* this.end(begun);
  }

  /** Optimizer steps that were submitted, those before a resume included. */
  private submitted = 0;

  /** Sets weights, moments and counters to where the run begins. */
  private async begin(saved: { run: RunState; trainer: TrainerState } | null): Promise<Cursor> {
    const { gpu, config, rows, resumeFrom } = this.options;
    const { train } = config;
    const order = {
      rows: rows.length,
      batchSize: this.batch.batchSize,
      gradientAccumulationSteps: this.batch.accumulation,
      shuffle: train.shuffle,
      seed: train.seed,
    };
    if (saved && resumeFrom) {
      await restoreModel(gpu, this.model, resumeFrom, true);
      this.submitted = saved.run.step;
      this.progress.restore(saved.run, saved.trainer);
      return createCursor(order, saved.run.cursor);
    }
    if (this.initial) this.model.lora?.load(gpu, this.model.memory, this.initial);
    else this.model.lora?.initialize(gpu, this.model.memory, train.seed);
    return createCursor(order);
  }

  private optimizer(step: number, learningRate: number): OptimizerStep {
    const { weight_decay, adam_beta1, adam_beta2, adam_epsilon } = this.options.config.train;
    return {
      step,
      learningRate,
      weightDecay: weight_decay,
      beta1: adam_beta1,
      beta2: adam_beta2,
      epsilon: adam_epsilon,
    };
  }

  /** What the run is going to do, as it is told when it begins. */
  startEvent(resumedStep = 0): StartEvent {
    const { config, gpu, rows, evalRows = [] } = this.options;
    const plan = this.plan();
    const count = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);
    const parameters = [...this.model.parameters.all.values()].reduce((sum, { shape }) => sum + count(shape), 0);
    const trainable = this.model.trained?.entries.reduce((sum, { p }) => sum + count(p.shape), 0) ?? 0;
    return {
      type: 'start',
      config,
      adapter: { name: gpu.name, driver: gpu.driver, software: gpu.software, kernels: gpu.family },
      plan: { peak_bytes: sumBytes(plan), categories: plan },
      model: { name: config.model.name, type: this.model.spec.modelType, parameters, trainable_parameters: trainable },
      rows: { train: rows.length, eval: evalRows.length },
      batch_size: this.batch.batchSize,
      gradient_accumulation_steps: this.batch.accumulation,
      total_steps: this.totalSteps,
      resumed_step: resumedStep,
    };
  }

  private *ownWarnings(): Generator<string> {
    const { config, evalRows = [] } = this.options;
    if (evalRows.length === 0 && config.train.eval_strategy !== 'no') {
      yield 'there are no validation rows: evaluation and the choice of a best model are off';
    }
    if (this.submitted >= this.totalSteps)
      yield `the checkpoint is at step ${this.submitted} of ${this.totalSteps}: nothing is left to train`;
  }

  /** Waits for the result of a step and books it. */
  private async finish({ result, ...step }: Pending): Promise<TrainEvent> {
    return this.tell({ type: 'step', ...this.progress.book(step, await result) });
  }

  private async evaluate(rows: readonly LabelledTokens[]): Promise<EvalRow> {
    const started = performance.now();
    const { loss, tokens } = await this.engine.evaluate(this.options.gpu, inBatches(rows, this.batch.batchSize));
    return this.progress.bookEvaluation(loss / tokens, (performance.now() - started) / 1000);
  }

  private async saveCheckpoint(cursor: Cursor): Promise<string> {
    const { progress } = this;
    const { store } = this.options;
    const started = performance.now();
    const folder = `checkpoint-${progress.state.global_step}`;
    progress.bookCheckpoint(store.name, folder);
    await this.save(folder, { run: progress.runState(cursor.state(), this.backend), trainer: progress.state });
    await this.rotate();
    progress.pause(performance.now() - started);
    return folder;
  }

  /** Saves a checkpoint or, without `progress`, the final model. */
  private save(folder: string, progress?: SaveOptions['progress']): Promise<void> {
    const { gpu, store, chatTemplate = null } = this.options;
    const options = { gpu, model: this.model, store, folder, chatTemplate, card: this.card() };
    return saveModel(progress ? { ...options, progress } : options);
  }

  private rotate(): Promise<void> {
    const { store, config } = this.options;
    const { state, bestFolder } = this.progress;
    return rotateCheckpoints(store, config.train.save_total_limit, state.global_step, bestFolder);
  }

  private async *end(begun: number): AsyncGenerator<TrainEvent, void> {
    const { gpu, store, config } = this.options;
    const { state, bestFolder, loss } = this.progress;
    // Once more: a run that was killed between its last checkpoint and this moment has one too many.
    if (config.train.save_strategy !== 'no') await this.rotate();
    const best = config.train.load_best_model_at_end ? bestFolder : null;
    if (best && best !== `checkpoint-${state.global_step}`) {
      if ((await store.folders()).includes(best)) await restoreModel(gpu, this.model, store.folder(best), false);
      // The run was continued in another folder than the one that it began in.
      else
        yield await this.tell({ type: 'warning', message: bestIsElsewhere(state.best_model_checkpoint, store.name) });
    }
    await this.save('final_model');
    await this.writeState();
    yield await this.tell({
      type: 'done',
      step: state.global_step,
      epoch: state.epoch,
      loss,
      best_model_checkpoint: state.best_model_checkpoint,
      final_model: `${store.name}/final_model`,
      runtime: (performance.now() - begun) / 1000,
    });
  }

  /** Writes the files that show where the run stands. */
  private async writeState(): Promise<void> {
    const { gpu, store } = this.options;
    const plan = this.plan();
    const { peak } = gpu.ledger;
    await store.write('trainer_state.json', trainerStateJson(this.progress.state));
    const memory = {
      planned: { peak_bytes: sumBytes(plan), categories: plan },
      measured: { peak_bytes: peak.bytes, categories: peak.categories },
    };
    await store.write('memory.json', `${JSON.stringify(memory, null, 2)}\n`);
  }

  private card(): ModelCard {
    const { config, rows } = this.options;
    const { train, tuning } = config;
    const { batchSize, accumulation } = this.batch;
    return {
      kind: this.model.lora ? 'adapter' : 'model',
      baseModel: config.model.name,
      task: 'text-generation',
      settings: {
        mode: tuning.mode,
        ...(this.model.lora && { r: this.model.lora.config.r, lora_alpha: this.model.lora.config.lora_alpha }),
        rows: rows.length,
        steps: this.progress.state.global_step,
        batch_size: batchSize,
        gradient_accumulation_steps: accumulation,
        learning_rate: train.learning_rate,
        lr_scheduler: train.lr_scheduler,
        max_seq_len: config.model.max_seq_len,
        seed: train.seed,
      },
    };
  }

  /** Appends an event to `events.jsonl` and hands it on. */
  private async tell(event: TrainEvent): Promise<TrainEvent> {
    await this.options.store.append('events.jsonl', `${JSON.stringify(event)}\n`);
    return event;
  }
}

function bestIsElsewhere(best: string | null, store: string): string {
  return `the best checkpoint ${best} is not in ${store}: the final model is the last step`;
}

function dropoutSeed(seed: number, step: number, microBatch: number): number {
  return randomStream(seed, DROPOUT_STREAM + step * 2 ** 12 + microBatch)();
}

function isDue(strategy: 'no' | 'steps' | 'epoch', every: number, step: number, endOfEpoch: boolean): boolean {
  if (strategy === 'no') return false;
  return strategy === 'steps' ? step % every === 0 : endOfEpoch;
}

function* inBatches<T>(rows: readonly T[], size: number): Generator<readonly T[]> {
  for (let start = 0; start < rows.length; start += size) yield rows.slice(start, start + size);
}

/** The largest shape that any `batchSize` rows can have together. */
function largestBatch(rows: readonly LabelledTokens[], batchSize: number): Shape {
  const most = (measure: (row: LabelledTokens) => number) =>
    rows
      .map(measure)
      .sort((a, b) => b - a)
      .slice(0, batchSize)
      .reduce((sum, count) => sum + count, 0);
  return shapeFor(
    most(({ inputIds }) => inputIds.length),
    most(countTrained),
  );
}
