/** Short forms of the public API for the usual case: folders and files of the platform, one device. */
import { openStore } from '#platform';
import type { Message } from '../data/rows.ts';
import { loadChatTemplate } from '../data/template.ts';
import { loadTokenizer } from '../data/tokenizer.ts';
import { compareLogits, type LogitDifference, sampleLogits } from '../eval/compareLogits.ts';
import { type AnswerOptions, LanguageModel, type LoadOptions } from '../eval/languageModel.ts';
import { Gpu, type OpenOptions } from '../gpu/device.ts';
import { type ExportBnbOptions, exportBnb } from '../model/exportBnb.ts';
import { type MergeOptions, type MergeReport, mergeAdapter as merge } from '../model/merge.ts';
import { openModel } from '../model/modelFiles.ts';
import { writeAdapter } from '../model/peft.ts';
import type { QuantizationOptions } from '../model/quantization.ts';
import { SftError } from '../platform/errors.ts';
import { saveFolder } from '../platform/stores.ts';
import type { ReadableFolder, WritableStore } from '../platform/types.ts';
import type { Config } from './config.ts';
import type { TrainEvent } from './events.ts';
import { openModelFolder, openNamedFolder } from './namedFiles.ts';
import type { RunOptions } from './run.ts';
import { trainThroughLosses } from './survive.ts';

/**
 * A folder, or its path: on disk in Node, in the origin private file system in a page. A model may also be named by its id on the public
 * hub; `openModelFolder` opens one of another hub or revision.
 */
export type FolderOrPath = ReadableFolder | string;

async function toFolder(folder: FolderOrPath, what: 'model' | 'text' | 'adapter'): Promise<ReadableFolder> {
  if (typeof folder !== 'string') return folder;
  if (what === 'adapter') return openNamedFolder(what, folder);
  return openModelFolder({ name: folder }, { need: what === 'model' ? 'weights' : 'text' });
}

/** Opens a WebGPU device with all useful limits and features. Throws `NO_GPU`. Close it with `close()`. */
export function requestDevice(options: OpenOptions = {}): Promise<Gpu> {
  return Gpu.open(options);
}

/**
 * Trains as a configuration says: opens model, tokenizer, rows and device, and yields what happens. The adapter, or the model,
 * is in `<output_dir>/final_model` when it ends. Aborting `signal` saves a checkpoint and throws `INTERRUPTED`. A lost device is
 * replaced: see `trainThroughLosses`.
 */
export async function* train(
  config: Config,
  options: Omit<RunOptions, 'config'> = {},
): AsyncGenerator<TrainEvent, void> {
  yield* trainThroughLosses({ ...options, config });
}

/** Loads a Hugging Face model folder, with an adapter where given. Throws `MODEL`, `ADAPTER`, `OUT_OF_MEMORY`. */
export async function loadModel(
  folder: FolderOrPath,
  gpu: Gpu,
  options: Omit<LoadOptions, 'adapter'> & { readonly adapter?: FolderOrPath } = {},
): Promise<LanguageModel> {
  const { adapter, ...rest } = options;
  const base = await toFolder(folder, 'model');
  const applied = adapter === undefined ? undefined : await toFolder(adapter, 'adapter');
  return LanguageModel.load(base, gpu, { ...rest, adapter: applied });
}

/** Yields the answer to a conversation, or to one user message, piece by piece. Greedy unless told otherwise. */
export function generate(
  model: LanguageModel,
  prompt: string | readonly Message[],
  options: AnswerOptions = {},
): AsyncIterable<string> {
  return model.answer(typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt, options);
}

/** Replaces the adapter of a model by another of the same shape. Throws `ADAPTER`. */
export async function loadAdapter(model: LanguageModel, folder: FolderOrPath): Promise<void> {
  await model.loadAdapter(await toFolder(folder, 'adapter'));
}

/** Writes the adapter of a model as a PEFT folder. Throws `ADAPTER` when the model has none. */
export async function saveAdapter(model: LanguageModel, store: WritableStore | string, folder: string): Promise<void> {
  const { lora, memory } = model.model;
  if (!lora) throw new SftError('ADAPTER', 'saveAdapter: expected a model with an adapter, it has none');
  const target = typeof store === 'string' ? await openStore(store) : store;
  await saveFolder(target, folder, async (staged) =>
    writeAdapter(staged, lora.config, await lora.weights(model.gpu, memory)),
  );
}

/** Folds an adapter into its base and writes a model folder that transformers loads. Needs no GPU. */
export async function mergeAdapter(
  base: FolderOrPath,
  adapter: FolderOrPath,
  store: WritableStore | string,
  folder: string,
  options: MergeOptions,
): Promise<MergeReport> {
  const files = await openModel(await toFolder(base, 'model'));
  try {
    const target = typeof store === 'string' ? await openStore(store) : store;
    const source = await toFolder(adapter, 'adapter');
    const reports: MergeReport[] = [];
    await saveFolder(target, folder, async (staged) => {
      reports.push(await merge(files, source, staged, options));
    });
    const [report] = reports;
    if (!report) throw new SftError('INTERNAL', 'nothing was merged');
    return report;
  } finally {
    await files.checkpoint.close();
  }
}

/** A model on disk, as `loadModel` takes it. */
export interface ModelChoice {
  readonly model: FolderOrPath;
  readonly adapter?: FolderOrPath;
  readonly quantization?: QuantizationOptions | null;
}

/** Loads two models, one after the other, and compares their predictions on a sample text. */
export async function compareModels(gpu: Gpu, got: ModelChoice, wanted: ModelChoice): Promise<LogitDifference> {
  const logitsOf = async ({ model, ...options }: ModelChoice) => {
    const loaded = await loadModel(model, gpu, options);
    try {
      return await sampleLogits(loaded);
    } finally {
      await loaded.close();
    }
  };
  const reference = await logitsOf(wanted);
  return compareLogits(await logitsOf(got), reference);
}

/** Writes a model as a bitsandbytes 4-bit folder that transformers loads. Needs no GPU. */
export async function exportToBnb(
  model: FolderOrPath,
  store: WritableStore | string,
  folder: string,
  options: ExportBnbOptions,
): Promise<void> {
  const files = await openModel(await toFolder(model, 'model'));
  try {
    const target = typeof store === 'string' ? await openStore(store) : store;
    await saveFolder(target, folder, (staged) => exportBnb(files, staged, options));
  } finally {
    await files.checkpoint.close();
  }
}

/** The text of a conversation in the chat template of a model folder. Throws `TEMPLATE`. */
export async function renderChat(
  folder: FolderOrPath,
  messages: readonly Message[],
  options: { readonly addGenerationPrompt?: boolean; readonly tools?: readonly unknown[] } = {},
): Promise<string> {
  const source = await toFolder(folder, 'text');
  const { namedTokens } = await loadTokenizer(source);
  const template = await loadChatTemplate(source, namedTokens);
  if (!template) throw new SftError('TEMPLATE', `${source.name}: expected a chat template, the model has none`);
  return template.render({ messages, ...options }).text;
}
