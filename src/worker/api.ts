/**
 * What a page may ask of the engine, which runs in a dedicated worker. `createWorkerTrainer` gives a page an object with these
 * methods, and `host.ts` implements them in the worker; only plain data crosses between the two.
 *
 * Everything that outlives a tab lies in the origin private file system: models, the person's rows, runs. A `Config` names it
 * there by path, so that a run in a page is the run that `webgpu-sft train` makes of the same files.
 */
import type { DatasetReport } from '../data/dataset.ts';
import type { InspectedRow } from '../data/inspect.ts';
import type { Message, Row } from '../data/rows.ts';
import type { AnswerOptions } from '../eval/languageModel.ts';
import type { Budget } from '../train/budget.ts';
import type { RunCheck } from '../train/checkRun.ts';
import type { Config, ConfigInput } from '../train/config.ts';
import type { TrainEvent } from '../train/events.ts';
import type { RunStage } from '../train/openRows.ts';
import type { ProcessReport } from '../train/process.ts';

/** Where a model comes from. */
export type ModelSource =
  | {
      readonly kind: 'hub';
      readonly id: string;
      readonly revision?: string;
      readonly hubUrl?: string;
      readonly token?: string;
    }
  /** A folder on a web server that answers HTTP Range. */
  | { readonly kind: 'url'; readonly url: string }
  /** A folder that the person chose. */
  | { readonly kind: 'files'; readonly name: string; readonly files: readonly File[] };

/** Bytes that are done, and all bytes where they are known; `what` is a file name. */
export interface Transfer {
  readonly what: string;
  readonly done: number;
  readonly total: number | null;
}

/** What ends a long call, and who is told how far it is. */
export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Told of each file while it is brought or kept. */
  readonly onProgress?: (progress: Transfer) => void;
}

/** The adapter that runs use, its family of kernels, and the memory that they may take. */
export interface DeviceInfo {
  readonly name: string;
  readonly driver: string;
  /** The "GPU" is the CPU: everything works, slowly. */
  readonly software: boolean;
  readonly kernels: string;
  readonly budget: Budget;
}

/** A model in the storage of the browser. */
export interface StoredModel {
  /** What `model.name` of a config has to be. */
  readonly path: string;
  /** What a person knows it by: the hub id, the address, the name of the folder. */
  readonly title: string;
  readonly type: string;
  readonly parameters: number;
  /** Tokens that it was made for. */
  readonly contextLength: number;
  readonly hasTemplate: boolean;
  /** Bytes in storage. */
  readonly bytes: number;
}

/** The person's rows in the storage of the browser, split; paths as `data.*_path` of a config has them. */
export interface StoredData {
  readonly report: ProcessReport;
  readonly paths: { readonly train_path: string; readonly val_path: string | null; readonly test_path: string | null };
}

/** How raw files are read: keys of `data` and `train` in a config. */
export interface DataOptions {
  readonly format?: Config['data']['format'];
  readonly columns?: Readonly<Record<string, string>>;
  readonly split?: readonly [number, number, number];
  readonly seed?: number;
}

/** A run that was begun here and has not ended. */
export interface UnfinishedRun {
  readonly config: Config;
  readonly step: number;
  readonly totalSteps: number;
}

/** The storage of the page's origin. */
export interface StorageInfo {
  /** Bytes used by this page, and bytes that it may use. */
  readonly usage: number;
  readonly quota: number;
  /** Whether the browser promised not to clear it by itself. */
  readonly persisted: boolean;
}

/** How a run begins, and what ends it. */
export interface TrainOptions {
  readonly signal?: AbortSignal;
  /** Goes on from the newest checkpoint in `output_dir`. */
  readonly resumeFrom?: 'last';
  /** What is going on before the first event. */
  readonly onProgress?: (stage: RunStage) => void;
}

/**
 * The engine of a page. Methods throw `SftError`s as the library does. While a run goes on, `answer` and `tokenLosses` are served
 * between two of its steps, with the weights of that moment.
 */
export interface WorkerTrainer {
  /** Opens the adapter and finds out what memory a run may take. Throws `NO_GPU`. */
  device(choice?: 'high-performance' | 'low-power'): Promise<DeviceInfo>;

  /** Brings a model into storage, or finds it there; a transfer that was cut goes on where it stopped. */
  fetchModel(source: ModelSource, options?: CallOptions): Promise<StoredModel>;
  /** All models in storage whose transfer is complete. */
  models(): Promise<readonly StoredModel[]>;
  /**
   * Removes a model from storage, after a transfer of it that goes on. Throws `ARGUMENT` for a path that is none of a
   * stored model.
   */
  removeModel(path: string): Promise<void>;

  /** Keeps files in storage, recognises their rows and splits them. Throws `DATA` with file and line; nothing is kept then. */
  addData(files: readonly File[], options?: DataOptions & CallOptions): Promise<StoredData>;

  /** Rows of a split in storage, as they were recognised, from row `first`: to be shown, or asked. */
  rows(path: string, first: number, count: number): Promise<readonly Row[]>;

  /** All problems of a run, its rows and its memory plan, before anything starts. */
  check(config: ConfigInput): Promise<RunCheck>;
  /** Rows of the training split, token by token, from row `first`. */
  inspect(
    config: ConfigInput,
    first: number,
    count: number,
  ): Promise<{ rows: readonly InspectedRow[]; report: DatasetReport }>;

  /**
   * Trains. The run waits while nobody asks for the next event, and while it is paused. Aborting saves a checkpoint and throws
   * `INTERRUPTED`. A lost device is replaced and the run goes on from its last checkpoint, with one `warning`.
   */
  train(config: ConfigInput, options?: TrainOptions): AsyncGenerator<TrainEvent, void>;
  /** Between two steps. Resolves when the run stands still, or goes on. */
  pause(): Promise<void>;
  /** Ends a pause. */
  resume(): Promise<void>;
  /** Runs with a checkpoint and without a final model that no tab is busy with: `train` continues them with `resumeFrom`. */
  unfinishedRuns(): Promise<readonly UnfinishedRun[]>;

  /**
   * The answer to a conversation, or how raw text goes on, piece by piece; `useAdapter: false` is the base's. Of the run that goes
   * on, else of the model at `model` with the adapter of the run in `outputDir`. Aborting ends it within one token.
   */
  answer(
    where: { readonly model: string; readonly outputDir?: string },
    prompt: readonly Message[] | string,
    options?: AnswerOptions,
  ): AsyncGenerator<string, void>;
  /** The loss of each token of a row as `inspect` counts them, with the weights of this moment; null where it is not trained. */
  tokenLosses(config: ConfigInput, row: number): Promise<readonly (number | null)[]>;

  /** The PEFT folder (or the model) of a finished run as a zip. */
  download(outputDir: string): Promise<Blob>;

  /** How full the storage is. */
  storage(): Promise<StorageInfo>;
  /** Asks the browser not to clear the storage by itself. */
  persist(): Promise<boolean>;
  /** Removes everything that this page has stored. Throws `BUSY` while a run goes on here or in another tab. */
  clear(): Promise<void>;

  /** Ends the worker; a run that goes on is stopped as by a closed tab. */
  close(): void;
}
