/**
 * The run that goes on, and the model that is talked to. Both want the GPU, so they take turns: a run takes one from event to
 * event, an answer takes one as a whole. Between two events no step is half done, and what an answer needs lies in memory of its
 * own, so that a run ends with the same bytes whether it was talked to or not.
 */
import type { Message } from '../data/rows.ts';
import { type AnswerOptions, LanguageModel } from '../eval/languageModel.ts';
import { SftError } from '../platform/errors.ts';
import type { Config, ConfigInput } from '../train/config.ts';
import { checkConfigObject, configOrThrow } from '../train/configCheck.ts';
import { spreadLosses, tokenLosses } from '../train/evaluate.ts';
import type { TrainEvent } from '../train/events.ts';
import type { Run } from '../train/run.ts';
import { trainThroughLosses } from '../train/survive.ts';
import type { TrainOptions } from './api.ts';
import { type Place, Resident } from './resident.ts';
import { type RowCache, rowNumber } from './rowCache.ts';
import { Gate, Turns } from './turns.ts';

/** A run from its opening to its end. */
interface Current {
  readonly config: Config;
  /** Null until it is opened; another one when the device was lost. */
  run: Run | null;
  /** To talk to; made when somebody wants to. */
  view: LanguageModel | null;
}

export class RunHost {
  /** Who may use the GPU. */
  readonly turns = new Turns();
  /** The adapter to use where no configuration names one. */
  adapterName: string | undefined;
  private readonly rows: RowCache;
  private readonly resident = new Resident();
  private readonly gate = new Gate();
  private current: Current | null = null;
  /** Resolves when the run has weights, or never will have. */
  private begun: Promise<void> = Promise.resolve();

  constructor(rows: RowCache) {
    this.rows = rows;
  }

  get isRunning(): boolean {
    return this.current !== null;
  }

  async *train(input: ConfigInput, options: TrainOptions = {}): AsyncGenerator<TrainEvent, void> {
    if (this.current) throw busy('this page trains already');
    const { signal, resumeFrom, onProgress } = options;
    const { given, warnings, ...checked } = checkConfigObject(input);
    const config = configOrThrow({ given, warnings, ...checked });
    const current: Current = { config, run: null, view: null };
    const onRun = (run: Run) => {
      current.run = run;
      current.view = null;
    };
    let begin = (): void => {};
    this.begun = new Promise((resolve) => {
      begin = resolve;
    });
    this.current = current;
    const events = trainThroughLosses({ config, given, warnings, resumeFrom, onProgress, signal, onRun });
    try {
      await this.freeResident();
      for (;;) {
        const waited = performance.now();
        await this.gate.pass(signal);
        const result = await this.turns.run(() => {
          current.run?.trainer.exclude(performance.now() - waited);
          return this.next(events);
        });
        begin();
        if (result.done) return;
        yield result.value;
      }
    } finally {
      begin();
      this.gate.open();
      await this.turns.run(async () => {
        await events.return();
        this.current = null;
      });
    }
  }

  /** The next event of the run. One that has ended is none any more before anybody else has a turn: its weights are gone. */
  private async next(events: AsyncGenerator<TrainEvent, void>): Promise<IteratorResult<TrainEvent, void>> {
    try {
      const result = await events.next();
      if (result.done) this.current = null;
      return result;
    } catch (error) {
      this.current = null;
      throw error;
    }
  }

  /** Resolves when the run stands still. */
  async pause(): Promise<void> {
    if (!this.current) return;
    this.gate.close();
    await this.turns.run(async () => {});
  }

  resume(): void {
    this.gate.open();
  }

  async *answer(
    place: Place,
    prompt: readonly Message[] | string,
    { signal, useAdapter = true, ...options }: AnswerOptions = {},
  ): AsyncGenerator<string, void> {
    await this.begun;
    const end = await this.turns.take(signal);
    if (!end) return;
    try {
      const model = await this.modelAt(place, useAdapter);
      const adapted = useAdapter && place.outputDir !== undefined;
      const given = typeof prompt === 'string' ? model.textIds(prompt) : prompt;
      this.limit();
      yield* model.answer(given, { ...options, signal, useAdapter: adapted });
    } finally {
      this.limit(false);
      end();
    }
  }

  async tokenLosses(input: ConfigInput, number: number): Promise<(number | null)[]> {
    const config = configOrThrow(checkConfigObject(input));
    await this.begun;
    return this.turns.run(async () => {
      const { output_dir: outputDir, model } = config;
      const run = this.current?.run;
      if (run && this.isOf({ model: model.name, outputDir })) {
        const row = rowNumber(run.train, number);
        try {
          this.limit();
          return spreadLosses(row, await run.trainer.tokenLosses(row));
        } finally {
          this.limit(false);
        }
      }
      const row = rowNumber(await this.rows.rows(config), number);
      const loaded = await this.modelAt({ model: model.name, outputDir }, true);
      return tokenLosses(loaded, row);
    });
  }

  /** What is done beside a run has to fit into its budget; the run itself was planned to. */
  private limit(on = true): void {
    const run = this.current?.run;
    if (run) run.gpu.limit = (on ? run.trainer.budget?.bytes : undefined) ?? Number.POSITIVE_INFINITY;
  }

  /** Frees what is kept for answers. */
  freeResident(): Promise<void> {
    return this.turns.run(() => this.resident.close());
  }

  private isOf({ model, outputDir }: Place): boolean {
    const config = this.current?.config;
    return config?.model.name === model && (outputDir ?? config.output_dir) === config.output_dir;
  }

  /** The model of the run that goes on, else the one that is kept. */
  private async modelAt(place: Place, useAdapter: boolean): Promise<LanguageModel> {
    const { current } = this;
    if (!current?.run) return this.resident.at(place, useAdapter, this.adapterName);
    if (!this.isOf(place)) throw busy('a run goes on with another model');
    const { gpu, trainer, text } = current.run;
    if (!trainer.model.lora && !(useAdapter && place.outputDir !== undefined)) {
      throw busy('the run that goes on changes the base itself, which cannot be asked meanwhile');
    }
    current.view ??= LanguageModel.over(gpu, trainer.model, text);
    return current.view;
  }
}

function busy(message: string): SftError {
  return new SftError('BUSY', message, { hint: 'wait until the run has ended, or stop it' });
}
