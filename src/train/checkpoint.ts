/**
 * Checkpoints: `checkpoint-<step>/` holds the weights as Hugging Face writes them (a PEFT adapter, or a whole model), the
 * tokenizer, `trainer_state.json`, the moments (`optimizer.safetensors`) and where the run stood (`state.json`). A folder
 * appears complete or not at all, and is all that a run needs to continue.
 */
import type { CursorState } from '../data/batches.ts';
import type { Gpu } from '../gpu/device.ts';
import { MOMENT_ZERO } from '../kernels/adamW8bit.ts';
import { bytesOf, type Tensor } from '../kernels/define.ts';
import { openCheckpoint, writeCheckpoint } from '../model/checkpoint.ts';
import { TOKENIZER_FILES } from '../model/companions.ts';
import { f32ToBytes } from '../model/dtype.ts';
import { openAdapterFolder } from '../model/lora.ts';
import type { Model } from '../model/model.ts';
import { type ModelCard, modelCard } from '../model/modelCard.ts';
import type { Trained } from '../model/parameters.ts';
import { writeAdapter } from '../model/peft.ts';
import { readSafetensors, readTensor, type TensorToWrite, writeSafetensors } from '../model/safetensors.ts';
import { invariant, SftError } from '../platform/errors.ts';
import { readBytes, readText } from '../platform/sources.ts';
import { saveFolder } from '../platform/stores.ts';
import type { ReadableFolder, StagedFolder, WritableStore } from '../platform/types.ts';
import { download, upload } from '../tensor/memory.ts';
import type { LossScaleState } from './lossScale.ts';
import { type TrainerState, trainerStateJson } from './state.ts';

/** What makes two runs different in what they compute. Kept in `backend.json` and in every checkpoint. */
export interface Backend {
  readonly backend: 'portable' | 'fast';
  readonly mode: string;
  readonly quantization: string | null;
  readonly precision: string;
  readonly adapter: string;
  readonly driver: string;
  readonly kernels: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** `state.json`. */
export interface RunState {
  readonly version: 1;
  readonly step: number;
  readonly cursor: CursorState;
  /** Sums since the last row of `log_history`. */
  readonly since_log: { readonly loss: number; readonly trained_tokens: number };
  readonly num_tokens: number;
  /** Evaluations in a row without a better metric. */
  readonly evals_without_improvement: number;
  /** Null where the loss is not scaled. */
  readonly loss_scale: LossScaleState | null;
  /** What the learning-rate schedule was made for. */
  readonly backend: Backend;
}

export interface SaveOptions {
  readonly gpu: Gpu;
  readonly model: Model;
  readonly store: WritableStore;
  readonly folder: string;
  /** Text of the chat template in use, or null. */
  readonly chatTemplate: string | null;
  readonly card: ModelCard;
  /** Left out in `final_model`. */
  readonly progress?: { readonly run: RunState; readonly trainer: TrainerState };
}

/** Saves a checkpoint or the final model. */
export async function saveModel({
  gpu,
  model,
  store,
  folder,
  chatTemplate,
  card,
  progress,
}: SaveOptions): Promise<void> {
  await saveFolder(store, folder, async (staged) => {
    if (model.lora) await writeAdapter(staged, model.lora.config, await model.lora.weights(gpu, model.memory));
    else await writeFullModel(staged, gpu, model);
    await copyTokenizer(staged, model.files.folder);
    if (chatTemplate !== null) await staged.write('chat_template.jinja', chatTemplate);
    await staged.write('README.md', modelCard(card));
    if (!progress) return;
    await staged.write('trainer_state.json', trainerStateJson(progress.trainer));
    await staged.write('state.json', `${JSON.stringify(progress.run, null, 2)}\n`);
    const file = await staged.create('optimizer.safetensors');
    await writeSafetensors(file, momentTensors(gpu, model));
    await file.close();
  });
}

/** A tensor whose values are read back from the GPU when its turn has come. */
function fromGpu(gpu: Gpu, model: Model, name: string, tensor: Tensor): TensorToWrite {
  return {
    name,
    dtype: 'F32',
    shape: tensor.shape,
    async *bytes() {
      yield f32ToBytes(new Float32Array(await download(gpu, model.memory, tensor)), 'F32');
    },
  };
}

async function writeFullModel(staged: StagedFolder, gpu: Gpu, model: Model): Promise<void> {
  const { trained, files } = model;
  invariant(trained, 'nothing was trained');
  await writeCheckpoint(
    staged,
    trained.entries.map(({ name, p }) => fromGpu(gpu, model, name, p)),
  );
  const { torch_dtype: _, ...config } = files.config;
  await staged.write('config.json', `${JSON.stringify({ ...config, dtype: 'float32' }, null, 2)}\n`);
  if (Object.keys(files.generation).length > 0) {
    await staged.write('generation_config.json', `${JSON.stringify(files.generation, null, 2)}\n`);
  }
}

async function copyTokenizer(staged: StagedFolder, folder: ReadableFolder): Promise<void> {
  for (const path of TOKENIZER_FILES)
    if (await folder.has(path)) await staged.write(path, await readBytes(folder, path));
}

/** A tensor of a checkpoint file and where its bytes lie: the first so many of each part. */
interface Stored {
  readonly name: string;
  readonly dtype: 'F32' | 'U8';
  readonly shape: readonly number[];
  readonly parts: readonly { readonly tensor: Tensor; readonly bytes: number }[];
  /** What the rest of a part is filled with: the code of zero. */
  readonly padding?: number;
}

const storedWhole = (name: string, tensor: Tensor): Stored => ({
  name,
  dtype: 'F32',
  shape: tensor.shape,
  parts: (tensor.shards ?? [tensor]).map((part) => ({ tensor: part, bytes: bytesOf(part) })),
});

/** Moments as they are stored: f32, or a byte for each element and [blocks, 2] largest magnitudes of both. */
function storedMoments({ name, p, moments }: Trained): Stored[] {
  const [first, second] = [`${name}.exp_avg`, `${name}.exp_avg_sq`];
  if (moments.bits === 32) return [storedWhole(first, moments.m), storedWhole(second, moments.v)];
  const sizes = (p.shards ?? [p]).map((part) => bytesOf(part) / 4);
  const codes = (as: string, tensors: readonly Tensor[], padding: number): Stored => ({
    name: as,
    padding,
    dtype: 'U8',
    shape: p.shape,
    parts: tensors.map((tensor, index) => ({ tensor, bytes: sizes[index] ?? 0 })),
  });
  const { m, v, absmax } = moments;
  const blocks = absmax.reduce((sum, { shape: [count = 0] }) => sum + count, 0);
  const parts = absmax.map((tensor) => ({ tensor, bytes: bytesOf(tensor) }));
  return [
    codes(first, m, MOMENT_ZERO.m),
    codes(second, v, MOMENT_ZERO.v),
    { name: `${name}.absmax`, dtype: 'F32', shape: [blocks, 2], parts },
  ];
}

function momentTensors(gpu: Gpu, model: Model): TensorToWrite[] {
  return (model.trained?.entries ?? []).flatMap(storedMoments).map(({ parts, ...rest }) => ({
    ...rest,
    async *bytes() {
      for (const { tensor, bytes } of parts) {
        yield new Uint8Array(await download(gpu, model.memory, tensor), 0, bytes);
      }
    },
  }));
}

/** Reads where a checkpoint stood. Throws `RESUME` when the folder is no checkpoint of this project. */
export async function readProgress(folder: ReadableFolder): Promise<{ run: RunState; trainer: TrainerState }> {
  for (const file of ['state.json', 'trainer_state.json', 'optimizer.safetensors']) {
    if (await folder.has(file)) continue;
    throw new SftError('RESUME', `${folder.name}: expected a checkpoint, there is no ${file}`, {
      hint: 'give a checkpoint-<step> folder, or --resume-from last',
    });
  }
  const parse = async (file: string): Promise<unknown> => {
    try {
      return JSON.parse(await readText(folder, file));
    } catch (cause) {
      throw new SftError('RESUME', `${folder.name}/${file}: expected JSON`, {
        cause,
        hint: 'continue from an older checkpoint',
      });
    }
  };
  const run = (await parse('state.json')) as RunState;
  if (run?.version !== 1)
    throw new SftError('RESUME', `${folder.name}/state.json: expected version 1, got ${run?.version}`);
  return { run, trainer: (await parse('trainer_state.json')) as TrainerState };
}

/** Refuses to go on with something else than what the checkpoint was trained with, naming both values. */
export function checkBackend(folder: string, then: Backend, now: Backend): void {
  for (const [key, name] of Object.entries(COMPARED) as [keyof typeof COMPARED, string][]) {
    if (then[key] === now[key]) continue;
    const [before, after] = [then[key] ?? 'none', now[key] ?? 'none'];
    throw new SftError(
      'RESUME',
      `${folder}: ${key}: the checkpoint was trained with ${before}, this run has ${after}`,
      { hint: `set ${name} as before, or start anew with another --output-dir and without --resume-from` },
    );
  }
}

/** What must be as it was, by the key that sets it. */
const COMPARED = {
  mode: 'tuning.mode',
  quantization: 'tuning.quantization',
  precision: 'train.precision',
  backend: 'tuning.backend',
} as const;

/** Puts weights and, with `moments`, the optimizer's moments of a checkpoint back on the GPU. */
export async function restoreModel(gpu: Gpu, model: Model, folder: ReadableFolder, moments: boolean): Promise<void> {
  const { trained, lora, memory } = model;
  invariant(trained, 'nothing is trained');
  if (lora) {
    const adapter = await openAdapterFolder(folder, model.decoder);
    lora.load(gpu, memory, adapter);
  } else {
    const checkpoint = await openCheckpoint(folder);
    try {
      await restoreTensors(
        gpu,
        model,
        folder.name,
        checkpoint.tensors,
        trained.entries.map(({ name, p }) => storedWhole(name, p)),
      );
    } finally {
      await checkpoint.close();
    }
  }
  if (!moments) return;
  const source = await folder.open('optimizer.safetensors');
  try {
    const { tensors } = await readSafetensors(source, 'RESUME');
    await restoreTensors(gpu, model, source.name, tensors, trained.entries.flatMap(storedMoments));
  } finally {
    await source.close();
  }
}

async function restoreTensors(
  gpu: Gpu,
  { memory }: Model,
  where: string,
  tensors: Awaited<ReturnType<typeof readSafetensors>>['tensors'],
  wanted: readonly Stored[],
): Promise<void> {
  for (const { name, dtype, shape, parts, padding = 0 } of wanted) {
    const info = tensors.get(name);
    if (info?.dtype !== dtype || info.shape.join() !== shape.join()) {
      throw new SftError(
        'RESUME',
        `${where}: ${name}: expected ${dtype} [${shape.join(', ')}], got ${info ? `${info.dtype} [${info.shape.join(', ')}]` : 'none'}`,
        {
          hint: 'the checkpoint belongs to another model, other tuning.lora settings or another train.optimizer',
        },
      );
    }
    const bytes = new Uint8Array(info.length);
    let at = 0;
    for await (const slice of readTensor(info)) {
      bytes.set(slice, at);
      at += slice.length;
    }
    at = 0;
    for (const part of parts) {
      const words = new Uint8Array(bytesOf(part.tensor)).fill(padding);
      words.set(bytes.subarray(at, at + part.bytes));
      upload(gpu, memory, part.tensor, words);
      at += part.bytes;
    }
    await gpu.done();
  }
}

const CHECKPOINT = /^checkpoint-(\d+)$/;

/** Checkpoint folders of a store, the oldest first. */
export async function listCheckpoints(store: WritableStore): Promise<{ folder: string; step: number }[]> {
  const found = (await store.folders()).flatMap((folder) => {
    const step = CHECKPOINT.exec(folder)?.[1];
    return step ? [{ folder, step: Number(step) }] : [];
  });
  return found.sort((a, b) => a.step - b.step);
}

/**
 * Removes the oldest checkpoints beyond `limit`; the best and the current one, which was saved last, always stay. Those of
 * later steps are of another run in the same folder: they go, so that the newest checkpoint is the one to continue from.
 */
export async function rotateCheckpoints(
  store: WritableStore,
  limit: number | null,
  current: number,
  best: string | null,
): Promise<void> {
  const all = await listCheckpoints(store);
  const later = all.filter(({ step }) => step > current);
  const older = all.filter(({ folder, step }) => step < current && folder !== best);
  const kept = all.length - later.length - older.length;
  const tooMany = limit === null ? 0 : Math.max(0, older.length - Math.max(0, limit - kept));
  for (const { folder } of [...later, ...older.slice(0, tooMany)]) await store.remove(folder);
}
