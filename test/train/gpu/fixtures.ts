/** Random tiny models and rows: enough to train on, and made in milliseconds. */
import { basename, dirname } from 'node:path';
import type { LabelledTokens } from '../../../src/data/labels.ts';
import type { Gpu } from '../../../src/gpu/device.ts';
import { ARCHITECTURES } from '../../../src/model/architectures/registry.ts';
import { writeCheckpoint } from '../../../src/model/checkpoint.ts';
import { Decoder } from '../../../src/model/decoder.ts';
import { f32ToBytes } from '../../../src/model/dtype.ts';
import { type ModelFiles, openModel } from '../../../src/model/modelFiles.ts';
import { Parameters } from '../../../src/model/parameters.ts';
import { openFolder, openStore } from '../../../src/platform/nodeFiles.ts';
import { randomStream } from '../../../src/platform/random.ts';
import { saveFolder } from '../../../src/platform/stores.ts';
import type { ReadableFolder, WritableStore } from '../../../src/platform/types.ts';
import { Memory } from '../../../src/tensor/memory.ts';
import type { ConfigInput } from '../../../src/train/config.ts';
import { parseConfig } from '../../../src/train/configCheck.ts';
import type { TrainEvent } from '../../../src/train/events.ts';
import { IMAGINED_GPU } from '../../../src/train/planMemory.ts';
import { Trainer } from '../../../src/train/trainer.ts';

/** Two layers, 6 heads in 2 groups, an untied head: `config.json` of a Llama of 40 thousand parameters. */
export const TINY_LLAMA = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 101,
  hidden_size: 48,
  intermediate_size: 72,
  num_hidden_layers: 2,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  tie_word_embeddings: false,
  bos_token_id: null,
  eos_token_id: null,
};

export const TINY_QWEN2 = {
  ...TINY_LLAMA,
  architectures: ['Qwen2ForCausalLM'],
  model_type: 'qwen2',
  tie_word_embeddings: true,
};

/** Writes a model folder of float32 weights drawn from `seed`; biases and norm weights are random too. */
export async function writeRandomModel(path: string, config: typeof TINY_LLAMA, seed = 1): Promise<string> {
  const spec = ARCHITECTURES[config.model_type]!.parse(config, 'config.json');
  const parameters = new Parameters(new Memory(IMAGINED_GPU.limits), { trained: null, storage: () => 'f32' });
  new Decoder(parameters, spec);
  const tensors = [...parameters.all.values()].map(({ name, shape }, index) => ({
    name,
    dtype: 'F32' as const,
    shape,
    bytes: () => [f32ToBytes(randomValues(name, shape, randomStream(seed, index)), 'F32')],
  }));
  await saveFolder(await openStore(dirname(path)), basename(path), async (staged) => {
    await staged.write('config.json', JSON.stringify(config));
    await writeCheckpoint(staged, tensors);
  });
  return path;
}

function randomValues(name: string, shape: readonly number[], next: () => number): Float32Array<ArrayBuffer> {
  const [middle, width] = name.includes('norm') ? [1, 0.3] : name.includes('embed') ? [0, 0.5] : [0, 0.25];
  const length = shape.reduce((product, size) => product * size, 1);
  return Float32Array.from({ length }, () => middle + width * (next() / 2 ** 31 - 1));
}

/**
 * `count` rows of 8 to 40 tokens. The first third is a prompt, which is not trained; some tokens after it are not either.
 * The ids are drawn, but each depends on the one before, so that there is something to learn.
 */
export function makeRows(count: number, seed = 7, vocabulary = TINY_LLAMA.vocab_size): LabelledTokens[] {
  return Array.from({ length: count }, (_, row) => {
    const next = randomStream(seed, row);
    const length = 8 + (next() % 33);
    const inputIds = new Int32Array(length);
    for (let t = 0; t < length; t++) {
      const before = t === 0 ? next() : inputIds[t - 1]! * 7;
      inputIds[t] = (before + (next() % 3)) % vocabulary;
    }
    const labels = inputIds.map((id, t) => (t < length / 3 || next() % 8 === 0 ? -100 : id));
    return { inputIds, labels };
  });
}

export interface TinyRun {
  readonly gpu: Gpu;
  /** Path of the model folder. */
  readonly model: string;
  readonly store: WritableStore;
  /** The opened model folder; `model` is opened without it. */
  readonly files?: ModelFiles;
  readonly rows: readonly LabelledTokens[];
  readonly evalRows?: readonly LabelledTokens[];
  readonly mode?: 'qlora' | 'lora' | 'full';
  readonly quantization?: NonNullable<ConfigInput['tuning']>['quantization'];
  readonly lora?: NonNullable<ConfigInput['tuning']>['lora'];
  readonly train?: ConfigInput['train'];
  readonly memory?: ConfigInput['memory'];
  readonly logInterval?: number;
  readonly tracker?: 'tensorboard';
  readonly maxLength?: number;
  readonly resumeFrom?: ReadableFolder;
  readonly initFrom?: ReadableFolder;
}

/** A trainer of a tiny run: rank 4 on all layers, no dropout, 2 × 2 rows a step, nothing saved but the final model. */
export async function tinyTrainer(run: TinyRun): Promise<Trainer> {
  const {
    gpu,
    model,
    store,
    rows,
    evalRows = [],
    mode = 'lora',
    lora,
    quantization,
    train,
    memory,
    logInterval = 1,
    tracker = 'none',
  } = run;
  const { maxLength = 64 } = run;
  const config = parseConfig({
    output_dir: store.name,
    model: { name: model, max_seq_len: maxLength, dtype: 'float32' },
    tuning: { mode, quantization, lora: { r: 4, alpha: 8, dropout: 0, target_modules: 'all-linear', ...lora } },
    train: {
      batch_size: 2,
      gradient_accumulation_steps: 2,
      learning_rate: 5e-3,
      eval_strategy: 'no',
      save_strategy: 'no',
      precision: 'float32',
      ...train,
    },
    logging: { log_interval: logInterval, backend: tracker },
    memory,
  });
  const { resumeFrom = null, initFrom = null } = run;
  const files = run.files ?? (await openModel(await openFolder(model)));
  return Trainer.create({ config, gpu, files, rows, evalRows, store, resumeFrom, initFrom });
}

/**
 * A run with everything on that could differ the second time: dropout, shuffling, evaluations between the checkpoints, a
 * log that does not fall together with them, a smaller last step in each epoch.
 */
export function reproducibleRun(gpu: Gpu, model: string, store: WritableStore): TinyRun {
  return {
    gpu,
    model,
    store,
    rows: makeRows(15),
    evalRows: makeRows(5, 9),
    lora: { dropout: 0.1 },
    train: {
      max_steps: 12,
      warmup_steps: 3,
      weight_decay: 0.1,
      learning_rate: 3e-2,
      eval_strategy: 'steps',
      eval_steps: 2,
      save_strategy: 'steps',
      save_steps: 4,
    },
    logInterval: 3,
  };
}

/** Trains to the end; all events. */
export async function train(run: TinyRun, signal?: AbortSignal): Promise<TrainEvent[]> {
  const trainer = await tinyTrainer(run);
  const events: TrainEvent[] = [];
  for await (const event of trainer.train(signal)) events.push(event);
  return events;
}

export function lossesOf(events: readonly TrainEvent[]): number[] {
  return events.flatMap((event) => (event.type === 'step' ? event.loss : []));
}

/** A JSON file of a store. */
export async function readJson<T>(store: WritableStore, path: string): Promise<T> {
  const bytes = await store.read(path);
  if (!bytes) throw new Error(`there is no ${path}`);
  return JSON.parse(new TextDecoder().decode(bytes)) as T;
}

/** All files of a folder, by their paths in it. */
export async function readFolder(folder: ReadableFolder): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const name of await folder.list()) {
    const source = await folder.open(name);
    files.set(name, await source.read(0, source.size));
    await source.close();
  }
  return files;
}
