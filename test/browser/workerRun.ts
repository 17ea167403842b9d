/** A page's engine in its worker, with the embedded model and rows, for the tests of it. */
import { openFolder } from '../../src/platform/browserFiles.ts';
import { readBytes } from '../../src/platform/sources.ts';
import type { ConfigInput } from '../../src/train/config.ts';
import type { TrainEvent } from '../../src/train/events.ts';
import type { StoredModel, WorkerTrainer } from '../../src/worker/api.ts';
import { createWorkerTrainer } from '../../src/worker/client.ts';

export const MODEL_URL = `${new URL('../../assets/tiny-llama', import.meta.url).href}/`;
const ROWS = new URL('../../assets/json-requests/train.jsonl', import.meta.url).href;

/** An engine, and its worker to be mistreated. */
export function startFragile(): { engine: WorkerTrainer; worker: Worker } {
  const worker = new Worker(new URL('./fragileWorker.ts', import.meta.url), { type: 'module' });
  return { engine: createWorkerTrainer({ worker }), worker };
}

/** The embedded model and some of the embedded rows in storage. */
export async function prepare(engine: WorkerTrainer): Promise<{ model: StoredModel; train_path: string }> {
  const model = await engine.fetchModel({ kind: 'url', url: MODEL_URL });
  const { paths } = await engine.addData([await rowsFile(12)], { split: [1, 0, 0] });
  return { model, train_path: paths.train_path };
}

/** The first rows of the embedded set, as a person would drop them. */
export async function rowsFile(count: number, name = 'requests.jsonl'): Promise<File> {
  const lines = (await (await fetch(ROWS)).text()).split('\n').slice(0, count);
  return new File([`${lines.join('\n')}\n`], name);
}

let runs = 0;

/** A short run with dropout and checkpoints, in a folder of its own. */
export function runConfig(
  { model, train_path }: { model: StoredModel; train_path: string },
  more: ConfigInput['train'] = {},
): ConfigInput & { output_dir: string } {
  runs += 1;
  return {
    output_dir: `runs/${Date.now()}-${runs}`,
    model: { name: model.path, max_seq_len: 64 },
    tuning: { mode: 'lora', lora: { r: 2, alpha: 4, dropout: 0.1 } },
    train: {
      max_steps: 6,
      batch_size: 1,
      gradient_accumulation_steps: 1,
      learning_rate: 0.01,
      precision: 'float32',
      eval_strategy: 'no',
      load_best_model_at_end: false,
      save_strategy: 'steps',
      save_steps: 2,
      ...more,
    },
    data: { train_path, val_path: null, test_path: null },
    logging: { log_interval: 1 },
  };
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Losses by step; those of a step that was done twice have to be the same. */
export function lossesOf(events: readonly TrainEvent[]): number[] {
  const losses = new Map<number, number>();
  for (const event of events) {
    if (event.type !== 'step') continue;
    if (losses.has(event.step) && losses.get(event.step) !== event.loss) throw new Error(`step ${event.step} differs`);
    losses.set(event.step, event.loss);
  }
  return [...losses.values()];
}

/** What a run is about: all files of its final model, but for what names its folder. */
export async function finalModel({ output_dir }: { output_dir: string }): Promise<Map<string, Uint8Array>> {
  const folder = await openFolder(`${output_dir}/final_model`);
  const files = new Map<string, Uint8Array>();
  for (const path of await folder.list()) files.set(path, await readBytes(folder, path));
  return files;
}
