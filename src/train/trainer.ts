/**
 * The training loop: an async generator of events.
 *
 * Per optimizer step: forward and backward of each micro-batch, clip, AdamW, schedule. The loss is the sum over all trained
 * tokens of the step ÷ their number, whatever batch × accumulation is. Results come back while the next step runs.
 */
import { stringify } from 'yaml';
import { type BatchOptions, type Cursor, createCursor } from '../data/batches.ts';
import { countTrained, type LabelledTokens } from '../data/labels.ts';
import { packingReport, type Sequence } from '../data/packing.ts';
import { type Bytes, sumBytes } from '../gpu/ledger.ts';
import { readAdapterConfig } from '../model/adapterConfig.ts';
import { openAdapterFolder, optionsOf } from '../model/lora.ts';
import type { Model } from '../model/model.ts';
import type { Adapter } from '../model/peft.ts';
import { quantizationName } from '../model/quantization.ts';
import { SftError } from '../platform/errors.ts';
import { VERSION } from '../platform/version.ts';
import { bestAnswerMetric } from './answerScores.ts';
import { type Budget, findBudget, noRoom, overBudget } from './budget.ts';
import { cardOf } from './card.ts';
import {
  type Backend,
  checkBackend,
  listCheckpoints,
  type RunState,
  readProgress,
  restoreModel,
  rotateCheckpoints,
  type SaveOptions,
  saveModel,
} from './checkpoint.ts';
import type { Engine, OptimizerStep, StepResult } from './engine.ts';
import type { EvalRow, StartEvent, TrainEvent } from './events.ts';
import { startFrom } from './initFrom.ts';
import { type Choice, loraOptions, planOf, RunPlanner } from './planMemory.ts';
import { type BookedStep, Progress } from './progress.ts';
import { cheapestChange, describeChange } from './remedies.ts';
import { halve } from './resolveBatch.ts';
import { createSchedule } from './schedule.ts';
import { type TrainerState, trainerStateJson } from './state.ts';
import { dropoutSeed, inBatches, isDue } from './steps.ts';
import { tracked } from './trackers/tracked.ts';
import type { TrainerOptions } from './trainerOptions.ts';

interface Pending extends BookedStep {
  readonly result: Promise<StepResult>;
}

/** One run over rows in memory. `create` plans it, `train` runs it, once. */
export class Trainer {
  readonly model: Model;
  /** What batches of training are made of: packed rows, or a row each. */
  readonly sequences: readonly Sequence[];
  /** Replaced by one for smaller batches when memory runs out. */
  engine: Engine;
  private readonly options: TrainerOptions;
  private readonly planner: RunPlanner;
  private readonly initial: Adapter | null;
  /** Bytes that the run may take; null where nobody knows. */
  readonly budget: Budget | null;
  private choice: Choice;
  private readonly stepsPerEpoch: number;
  private readonly totalSteps: number;
  private readonly backend: Backend;
  private readonly progress: Progress;

  private constructor(
    options: TrainerOptions,
    planner: RunPlanner,
    choice: Choice,
    initial: Adapter | null,
    budget: Budget | null,
  ) {
    const { config, gpu } = options;
    const { train } = config;
    this.options = options;
    this.planner = planner;
    this.model = planner.model;
    this.sequences = planner.sequences?.train ?? [];
    this.engine = planner.engine(choice.batchSize, choice.checkpointing);
    this.choice = choice;
    this.initial = initial;
    this.budget = budget;
    this.stepsPerEpoch = Math.ceil(Math.ceil(this.sequences.length / choice.batchSize) / choice.accumulation);
    this.totalSteps = train.max_steps > 0 ? train.max_steps : Math.ceil(train.epochs * this.stepsPerEpoch);
    this.backend = {
      backend: gpu.backend,
      mode: config.tuning.mode,
      quantization: this.model.quantization && quantizationName(this.model.quantization),
      precision: planner.precision,
      adapter: gpu.name,
      driver: gpu.driver,
      kernels: gpu.family,
      versions: { 'webgpu-sft': VERSION },
    };
    this.progress = new Progress(config, this.totalSteps, this.stepsPerEpoch, choice.batchSize);
  }

  /**
   * Declares the model and plans the run; nothing is allocated yet. Throws `MODEL`, `CONFIG`, `ADAPTER`, `RESUME`, and
   * `OUT_OF_MEMORY` when the plan is larger than the budget.
   */
  static async create(options: TrainerOptions): Promise<Trainer> {
    const { config, gpu, files, rows, evalRows = [], initFrom, resumeFrom } = options;
    const wanted = loraOptions(config.tuning);
    const lora = initFrom ? startFrom(optionsOf(await readAdapterConfig(initFrom)), wanted, options.given) : wanted;
    const best = bestAnswerMetric(config);
    if (best !== null && evalRows.length > 0 && !options.scoreAnswers) {
      throw new SftError(
        'CONFIG',
        `train.metric_for_best_model: expected scores of answers for eval_${best}, got none`,
        {
          hint: 'give the trainer scoreAnswers, or open the run with openRun',
        },
      );
    }
    const planned = { files, config, traits: gpu, rows: { train: rows, eval: evalRows }, lora };
    const planner = new RunPlanner(files, config, gpu, planned.rows, lora);
    const initial = initFrom ? await openAdapterFolder(initFrom, planner.model.decoder) : null;
    const budget = options.budget === undefined ? await findBudget(config, gpu) : options.budget;
    const before = resumeFrom ? (await readProgress(resumeFrom)).trainer.train_batch_size : null;
    const choice = planner.choose(budget, before);
    const { peak_bytes } = planOf(planner, choice);
    if (budget && peak_bytes > budget.bytes) {
      const change = cheapestChange(planned, choice, budget);
      throw overBudget(peak_bytes, budget, change && `set ${describeChange(change)}`);
    }
    return new Trainer(options, planner, choice, initial, budget);
  }

  /** Exact bytes of the run, by category. */
  plan(): Bytes {
    return planOf(this.planner, this.choice).categories;
  }

  /**
   * Runs the training and saves checkpoints and the final model to the store. When `signal` is aborted, the run saves a
   * checkpoint at the last finished step and throws `INTERRUPTED`.
   */
  async *train(signal?: AbortSignal): AsyncGenerator<TrainEvent, void> {
    const { config, gpu, store, files } = this.options;
    try {
      const release = await store.lock();
      try {
        yield* tracked(this.run(signal), { config, store }, () => this.progress.state.log_history);
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
    const { options, totalSteps, sequences } = this;
    const { config, gpu, store, evalRows = [] } = options;
    const { train, logging } = config;
    const begun = performance.now();
    const saved = options.resumeFrom ? await readProgress(options.resumeFrom) : null;
    if (saved && options.resumeFrom) checkBackend(options.resumeFrom.name, saved.run.backend, this.backend);
    const earlier = saved || train.save_strategy === 'no' ? [] : await listCheckpoints(store);
    await store.write('config.yaml', stringify(config));
    await store.write('backend.json', `${JSON.stringify(this.backend, null, 2)}\n`);
    if (saved?.run.loss_scale && this.engine.lossScale) this.engine.lossScale.state = saved.run.loss_scale;
    const shrunk: string[] = [];
    const begin = async () => {
      await this.model.load(gpu, options.onLoadProgress, signal);
      await this.engine.prepare(gpu);
      return this.begin(saved);
    };
    let cursor = await this.withRoom(begin, (message) => shrunk.push(message));
    yield await this.tell(this.startEvent(saved?.run.step ?? 0));
    const warnings = [...(options.warnings ?? []), ...this.model.spec.warnings, ...this.ownWarnings(), ...shrunk];
    if (earlier.length > 0) warnings.push(willBeReplaced(store.name, earlier));
    for (const message of warnings) {
      if (!options.told?.has(message)) yield await this.tell({ type: 'warning', message });
    }
    yield* this.sample(this.submitted);

    const rate = createSchedule(train, totalSteps);
    let pending: Pending | null = null;
    // A checkpoint may be the one with which the run had ended.
    let stopped = this.progress.isTimeToStop;
    this.progress.start();
    while (this.submitted < totalSteps && !stopped) {
      const group = cursor.next();
      const step = this.submitted + 1;
      const all = group.microBatches.flat().map((number) => sequences[number] as Sequence);
      const trainedTokens = all.flat().reduce((sum, row) => sum + countTrained(row), 0);
      const inputTokens = all.flat().reduce((sum, row) => sum + row.inputIds.length, 0);
      const outOfMemory: string[] = [];
      const finished: TrainEvent[] = [];
      // ---------------------------------------------------------------- one optimizer step
      const microSteps = async () => {
        if (!this.engine.isPrepared) {
          await this.engine.prepare(gpu);
          this.engine.clearGradients(gpu);
        }
        for (const [index, batch] of [...inBatches(all, this.choice.batchSize)].entries()) {
          await this.engine.microStep(gpu, batch.flat(), 1 / trainedTokens, dropoutSeed(train.seed, step, index));
        }
      };
      await this.withRoom(
        microSteps,
        (message) => outOfMemory.push(message),
        async () => {
          // The results of the step before lie in buffers that are about to go.
          if (pending) finished.push(await this.finish(pending));
          pending = null;
        },
      );
      // A skipped step counts neither for the schedule nor for AdamW.
      const good = step - (await this.engine.skippedSteps());
      const learningRate = rate(good - 1);
      const { result } = await this.engine.optimizerStep(gpu, this.optimizer(good, learningRate));
      // ------------------------------------------------------------------------------------
      this.submitted = step;
      for (const event of finished) yield event;
      for (const message of outOfMemory) yield await this.tell({ type: 'warning', message });
      if (outOfMemory.length > 0) cursor = createCursor(this.order(), cursor.state());
      const { batchSize, accumulation } = this.choice;
      const microBatchesPerEpoch = Math.ceil(sequences.length / batchSize);
      const microBatches = group.stepInEpoch * accumulation + Math.ceil(all.length / batchSize);
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
        const row = await this.evaluate();
        yield await this.tell({ type: 'eval', ...row });
        yield* this.sample(step);
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

  private async *sample(step: number): AsyncGenerator<TrainEvent, void> {
    const { sample } = this.options;
    if (!sample) return;
    const begun = performance.now();
    yield await this.tell(await sample(step));
    this.exclude(performance.now() - begun);
  }

  /** The loss of each trained token of a row, with the weights of this moment. May be asked for between two events. */
  tokenLosses(row: LabelledTokens): Promise<Float32Array> {
    return this.engine.tokenLosses(this.options.gpu, [row]);
  }

  /** Counts time between two events as spent on something else than training: milliseconds. */
  exclude(milliseconds: number): void {
    this.progress.pause(milliseconds);
  }

  /**
   * Does `work`; where memory runs out, frees what the run took for its batches, halves them and does `work` again. `tell` is
   * told once what became of them, `before` is done before anything is freed. Throws `OUT_OF_MEMORY` when single rows do not
   * fit either.
   */
  private async withRoom<T>(
    work: () => Promise<T>,
    tell: (message: string) => void,
    before: () => Promise<void> = async () => {},
  ): Promise<T> {
    const { gpu } = this.options;
    const { batchSize, accumulation } = this.choice;
    let reason = '';
    for (;;) {
      try {
        const result = await work();
        const now = this.choice;
        if (reason !== '') {
          const split = `${batchSize} x ${accumulation} became ${now.batchSize} x ${now.accumulation}`;
          tell(
            `memory ran out (${reason}): batch_size x accumulation ${split}; set memory.budget_gib to plan for less`,
          );
        }
        return result;
      } catch (error) {
        if (!(error instanceof SftError) || error.code !== 'OUT_OF_MEMORY') throw error;
        const smaller = halve(this.choice);
        if (!smaller) throw noRoom(this.plan(), this.choice, error);
        reason ||= error.message;
        await before();
        this.engine.close(gpu);
        await gpu.collect();
        const { checkpointing } = this.choice;
        const bytes = this.planner.bytes(smaller.batchSize, checkpointing);
        this.choice = { ...smaller, checkpointing, bytes, reason: `memory ran out: ${reason}` };
        const { lossScale } = this.engine;
        this.engine = this.planner.engine(smaller.batchSize, checkpointing);
        if (lossScale && this.engine.lossScale) this.engine.lossScale.state = lossScale.state;
        this.progress.state.train_batch_size = smaller.batchSize;
        // What is measured from here on is the run as it is planned now.
        gpu.ledger.resetPeak();
      }
    }
  }

  /** Optimizer steps that were submitted, those before a resume included. */
  private submitted = 0;

  /** Sets weights, moments and counters to where the run begins. */
  private async begin(saved: { run: RunState; trainer: TrainerState } | null): Promise<Cursor> {
    const { gpu, config, resumeFrom } = this.options;
    if (saved && resumeFrom) {
      await restoreModel(gpu, this.model, resumeFrom, true);
      this.submitted = saved.run.step;
      this.progress.restore(saved.run, saved.trainer);
      return createCursor(this.order(), saved.run.cursor);
    }
    if (this.initial) this.model.lora?.load(gpu, this.model.memory, this.initial);
    else this.model.lora?.initialize(gpu, this.model.memory, config.train.seed);
    return createCursor(this.order());
  }

  private order(): BatchOptions {
    const { train, model } = this.options.config;
    const { batchSize, accumulation: gradientAccumulationSteps } = this.choice;
    const { shuffle, seed } = train;
    const packedTo = train.packing ? model.max_seq_len : null;
    return { rows: this.sequences.length, batchSize, gradientAccumulationSteps, shuffle, seed, packedTo };
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
      packing: config.train.packing ? packingReport(this.sequences, config.model.max_seq_len) : null,
      batch_size: this.choice.batchSize,
      gradient_accumulation_steps: this.choice.accumulation,
      gradient_checkpointing: this.choice.checkpointing,
      budget: this.budget,
      reason: this.choice.reason,
      total_steps: this.totalSteps,
      resumed_step: resumedStep,
    };
  }

  private *ownWarnings(): Generator<string> {
    const { config, evalRows = [] } = this.options;
    if (this.planner.warning) yield this.planner.warning;
    if (evalRows.length === 0 && config.train.eval_strategy !== 'no') {
      yield 'there are no validation rows: evaluation and the choice of a best model are off';
    }
    if (this.submitted >= this.totalSteps)
      yield `the checkpoint is at step ${this.submitted} of ${this.totalSteps}: nothing is left to train`;
  }

  /** Waits for the result of a step and books it. */
  private async finish({ result, ...step }: Pending): Promise<TrainEvent> {
    const done = await result;
    const { lossScale } = done;
    const scaling = lossScale && { loss_scale: lossScale.scale, skipped_steps: lossScale.skipped_steps };
    return this.tell({ type: 'step', ...this.progress.book(step, done), ...scaling });
  }

  private async evaluate(): Promise<EvalRow> {
    const started = performance.now();
    const batches = [...inBatches(this.planner.sequences?.eval ?? [], this.choice.batchSize)];
    const rows = batches.map((batch) => batch.flat());
    const { loss, tokens } = await this.engine.evaluate(this.options.gpu, rows);
    const scores = await this.options.scoreAnswers?.();
    return this.progress.bookEvaluation(loss / tokens, (performance.now() - started) / 1000, scores);
  }

  private async saveCheckpoint(cursor: Cursor): Promise<string> {
    const { progress } = this;
    const { store } = this.options;
    const started = performance.now();
    const folder = `checkpoint-${progress.state.global_step}`;
    progress.bookCheckpoint(store.name, folder);
    await this.save(folder, {
      run: progress.runState(cursor.state(), this.backend, this.engine.lossScale?.state ?? null),
      trainer: progress.state,
    });
    await this.rotate();
    progress.pause(performance.now() - started);
    return folder;
  }

  /** Saves a checkpoint or, without `progress`, the final model. */
  private save(folder: string, progress?: SaveOptions['progress']): Promise<void> {
    const { gpu, store, chatTemplate = null } = this.options;
    const {
      choice,
      model,
      progress: { state },
    } = this;
    const card = cardOf(this.options.config, model, choice, this.options.rows.length, state.global_step);
    const options = { gpu, model, store, folder, chatTemplate, card };
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

  /** Appends an event to `events.jsonl` and hands it on. */
  private async tell(event: TrainEvent): Promise<TrainEvent> {
    await this.options.store.append('events.jsonl', `${JSON.stringify(event)}\n`);
    return event;
  }
}

function bestIsElsewhere(best: string | null, store: string): string {
  return `the best checkpoint ${best} is not in ${store}: the final model is the last step`;
}

function willBeReplaced(store: string, earlier: readonly { folder: string }[]): string {
  const names = earlier.map(({ folder }) => folder).join(', ');
  return `${store} holds ${names} of an earlier run, which the checkpoints of this one replace: to keep them, stop and name another output_dir`;
}
