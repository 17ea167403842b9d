/** From a resolved configuration to a trainer: opens the folders and files that it names. */
import { openStore } from '#platform';
import type { Dataset } from '../data/dataset.ts';
import { endingWarning, endTokens } from '../eval/endTokens.ts';
import type { ModelText } from '../eval/modelText.ts';
import { Gpu } from '../gpu/device.ts';
import { openModel } from '../model/modelFiles.ts';
import { SftError } from '../platform/errors.ts';
import type { ReadableFolder } from '../platform/types.ts';
import { openAnswerScores, scoreAnswers } from './answerScores.ts';
import { listCheckpoints, readProgress } from './checkpoint.ts';
import type { Config } from './config.ts';
import { gpuOptions } from './gpuOptions.ts';
import { bringWeights, exists, openModelFolder, openNamedFolder } from './namedFiles.ts';
import { openRows, type RunStage, sourceOptions } from './openRows.ts';
import { openText } from './openText.ts';
import { sampleRows } from './samples.ts';
import { Trainer } from './trainer.ts';

/** A resolved configuration, and what stands in for the files that it names. */
export interface RunOptions {
  readonly config: Config;
  /** See `LoadedConfig`. */
  readonly given?: ReadonlyMap<string, string>;
  readonly warnings?: readonly string[];
  /** Warnings that were told before and are not told again. */
  readonly told?: ReadonlySet<string>;
  /** The model, where it is not the folder `model.name`: on a server, or files that a person chose. */
  readonly model?: ReadableFolder | undefined;
  /** Training rows of any shape that files may have, instead of files; then `data.train_path` and `data.val_path` are not read. */
  readonly rows?: readonly object[] | undefined;
  /** Validation rows beside `rows`. */
  readonly evalRows?: readonly object[] | undefined;
  /** A checkpoint folder, or `last` for the newest one in `output_dir`. */
  readonly resumeFrom?: string | undefined;
  /** Told what is going on before the first step. */
  readonly onProgress?: ((stage: RunStage) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A run that is opened and planned. The caller closes `gpu`. */
export interface Run {
  readonly trainer: Trainer;
  readonly gpu: Gpu;
  readonly train: Dataset;
  readonly text: ModelText;
  readonly warnings: readonly string[];
}

/** Opens device, model and data, and plans the run. */
export async function openRun(options: RunOptions): Promise<Run> {
  const { config, given = new Map<string, string>(), resumeFrom, onProgress, signal } = options;
  const warnings = [...(options.warnings ?? [])];
  const opening = { onProgress, signal, onWarning: (message: string) => warnings.push(message) };
  const model = options.model ?? (await openModelFolder(config.model, sourceOptions(opening)));
  const files = await openModel(model);
  const text = await openText(config, { model });
  const train = await openRows(config, 'train', text, { ...opening, rows: options.rows });
  if (!train) throw new SftError('CONFIG', 'data.train_path: expected a file of rows, got null');
  warnings.push(...reportOf('train', train));
  const ending = endingWarning(train.rows, text, endTokens(files, text.tokenizer));
  if (ending) warnings.push(`train: ${ending}`);
  const evaluates = options.rows
    ? options.evalRows !== undefined && config.train.eval_strategy !== 'no'
    : await hasEvaluation(config, given);
  const evaluation = evaluates ? await openRows(config, 'val', text, { ...opening, rows: options.evalRows }) : null;
  if (evaluation) warnings.push(...reportOf('val', evaluation));
  const scores = evaluation && (await openAnswerScores(config, text, { onProgress, signal, rows: options.evalRows }));
  const store = await openStore(config.output_dir);
  const resume = await findCheckpoint(config, resumeFrom, warnings);
  const { init_from: named } = config.tuning.lora;
  const hub = { ...sourceOptions(opening), hubUrl: config.model.hub_url };
  const initFrom = named === null ? null : await openNamedFolder('initFrom', named, hub);
  onProgress?.({ stage: 'device' });
  const gpu = await Gpu.open(gpuOptions(await withBackendOf(config, resume)));
  try {
    const trainer: Trainer = await Trainer.create({
      config,
      given,
      gpu,
      files,
      rows: train.rows,
      evalRows: evaluation?.rows ?? [],
      store,
      chatTemplate: text.template?.text ?? null,
      resumeFrom: resume,
      initFrom,
      onLoadProgress: (loaded, total) => onProgress?.({ stage: 'weights', loaded, total }),
      warnings,
      told: options.told ?? new Set(),
      scoreAnswers: scores ? () => scoreAnswers(gpu, trainer.model, text, scores, config) : undefined,
      sample:
        config.logging.dashboard === false
          ? undefined
          : (step) => sampleRows(gpu, trainer, text, evaluation?.rows ?? train.rows, step),
    });
    // Only when it is known that the run fits.
    await bringWeights(model, files.checkpoint);
    return { trainer, gpu, train, text, warnings };
  } catch (error) {
    await gpu.close();
    throw error;
  }
}

/** A run whose fast kernels did not compile goes on with those that did, where that is left to `auto`. */
async function withBackendOf(config: Config, resume: ReadableFolder | null): Promise<Config> {
  if (!resume || config.tuning.backend !== 'auto') return config;
  const { backend } = (await readProgress(resume)).run.backend;
  return { ...config, tuning: { ...config.tuning, backend: backend === 'portable' ? 'portable' : 'auto' } };
}

/** Whether a run evaluates: validation rows are optional where the configuration leaves their path at its default. */
export async function hasEvaluation(config: Config, given: ReadonlyMap<string, string>): Promise<boolean> {
  const path = config.data.val_path;
  if (config.train.eval_strategy === 'no' || path === null) return false;
  return given.has('data.val_path') || exists(path);
}

function* reportOf(split: string, { report }: Dataset): Generator<string> {
  const { dropped, truncated, mix } = report;
  const [first] = dropped;
  if (first) yield `${split}: ${dropped.length} rows are left out, the first is ${first.where}: ${first.why}`;
  if (truncated > 0) yield `${split}: ${truncated} rows are longer than model.max_seq_len and were truncated`;
  if (mix && mix.leftOut > 0) {
    const { documents, others, leftOut } = mix;
    yield `${split}: data.documents.mix_ratio leaves out ${leftOut} rows; ${documents} of documents and ${others} others stay`;
  }
}

async function findCheckpoint(
  config: Config,
  resumeFrom: string | undefined,
  warnings: string[],
): Promise<ReadableFolder | null> {
  if (resumeFrom === undefined) return null;
  if (resumeFrom !== 'last') return openNamedFolder('checkpoint', resumeFrom);
  const store = await openStore(config.output_dir);
  const newest = (await listCheckpoints(store)).at(-1);
  if (newest) return store.folder(newest.folder);
  warnings.push(`${config.output_dir}: there is no checkpoint to continue from; starting anew`);
  return null;
}
