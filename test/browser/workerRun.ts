/** A page's engine in its worker, with the embedded model and rows, for the tests of it. */
import { openFolder } from '../../src/platform/browserFiles.ts';
import { readBytes } from '../../src/platform/sources.ts';
import type { ConfigInput } from '../../src/train/config.ts';
import type { TrainEvent } from '../../src/train/events.ts';
import type { StoredModel, WorkerTrainer } from '../../src/worker/api.ts';
import { createWorkerTrainer } from '../../src/worker/client.ts';

const MODEL = new URL('../../assets/tiny-llama/', import.meta.url).href;
const ROWS = new URL('../../assets/json-requests/train.jsonl', import.meta.url).href;

export function startEngine(): WorkerTrainer {
  return createWorkerTrainer();
}

export function storeModel(engine: WorkerTrainer): Promise<StoredModel> {
  return engine.fetchModel({ kind: 'url', url: MODEL });
}

/** The first rows of the embedded set, as a person would drop them. */
export async function rowsFile(count: number): Promise<File> {
  const lines = (await (await fetch(ROWS)).text()).split('\n').slice(0, count);
  return new File([`${lines.join('\n')}\n`], 'requests.jsonl');
}

let runs = 0;

/** A short run with everything on that could differ the second time. */
export function runConfig(model: StoredModel, train_path: string, more: ConfigInput['train'] = {}): ConfigInput {
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
      save_strategy: 'steps',
      save_steps: 2,
      ...more,
    },
    data: { train_path, val_path: null, test_path: null },
    logging: { log_interval: 1 },
  };
}

export async function collect(events: AsyncIterable<TrainEvent>): Promise<TrainEvent[]> {
  const all: TrainEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

export function lossesOf(events: readonly TrainEvent[]): number[] {
  return events.flatMap((event) => (event.type === 'step' ? event.loss : []));
}

/** The bytes that a run is about. */
export async function adapterOf({ output_dir }: ConfigInput): Promise<Uint8Array> {
  return readBytes(await openFolder(`${output_dir}/final_model`), 'adapter_model.safetensors');
}
