/** The same engine in a page: a few steps of LoRA, a checkpoint in memory, resume to the same bytes, and generation. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Gpu } from '../../src/gpu/device.ts';
import { ARCHITECTURES } from '../../src/model/architectures/registry.ts';
import { writeCheckpoint } from '../../src/model/checkpoint.ts';
import { Decoder } from '../../src/model/decoder.ts';
import { f32ToBytes } from '../../src/model/dtype.ts';
import { openModel } from '../../src/model/modelFiles.ts';
import { Parameters } from '../../src/model/parameters.ts';
import { randomStream } from '../../src/platform/random.ts';
import { readBytes } from '../../src/platform/sources.ts';
import { memoryStore, saveFolder } from '../../src/platform/stores.ts';
import type { ReadableFolder, WritableStore } from '../../src/platform/types.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { parseConfig } from '../../src/train/configCheck.ts';
import { IMAGINED_GPU } from '../../src/train/planMemory.ts';
import { Trainer } from '../../src/train/trainer.ts';

const CONFIG = {
  model_type: 'llama',
  vocab_size: 53,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 64,
};

async function randomFolder(): Promise<ReadableFolder> {
  const parameters = new Parameters(new Memory(IMAGINED_GPU.limits), { trained: null, storage: () => 'f32' });
  new Decoder(parameters, ARCHITECTURES.llama!.parse(CONFIG, 'config.json'));
  const tensors = [...parameters.all.values()].map(({ name, shape }, index) => {
    const next = randomStream(1, index);
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => next() / 2 ** 32 - 0.5);
    return { name, dtype: 'F32' as const, shape, bytes: () => [f32ToBytes(values, 'F32')] };
  });
  const store = memoryStore();
  await saveFolder(store, 'model', async (staged) => {
    await staged.write('config.json', JSON.stringify(CONFIG));
    await writeCheckpoint(staged, tensors);
  });
  return store.folder('model');
}

const rows = Array.from({ length: 5 }, (_, row) => {
  const inputIds = Int32Array.from({ length: 9 + row }, (_, t) => (t * 7 + row * 5) % 53);
  return { inputIds, labels: inputIds.map((id, t) => (t < 3 ? -100 : id)) };
});

describe('training in a page', () => {
  let gpu: Gpu;
  let folder: ReadableFolder;
  beforeAll(async () => {
    gpu = await Gpu.open();
    folder = await randomFolder();
  });
  afterAll(() => gpu.close());

  const config = (steps: number) =>
    parseConfig({
      model: { name: 'random', max_seq_len: 32 },
      tuning: { mode: 'lora', lora: { r: 2, alpha: 4, dropout: 0.1 } },
      train: {
        max_steps: steps,
        batch_size: 2,
        gradient_accumulation_steps: 1,
        learning_rate: 0.05,
        save_strategy: 'steps',
        save_steps: 3,
      },
      logging: { log_interval: 1 },
    });

  async function run(steps: number, store: WritableStore, resumeFrom: ReadableFolder | null = null): Promise<number[]> {
    const trainer = await Trainer.create({
      config: config(steps),
      gpu,
      files: await openModel(folder),
      rows,
      store,
      resumeFrom,
    });
    const losses: number[] = [];
    for await (const event of trainer.train()) if (event.type === 'step') losses.push(event.loss);
    return losses;
  }

  test('the loss falls, and a resumed run ends with the same bytes', async () => {
    const whole = memoryStore();
    const losses = await run(6, whole);
    expect(losses).toHaveLength(6);
    expect(losses.at(-1)!).toBeLessThan(losses[0]!);

    const resumed = memoryStore();
    const rest = await run(6, resumed, whole.folder('checkpoint-3'));
    expect(rest).toEqual(losses.slice(3));
    const adapter = (store: WritableStore) => readBytes(store.folder('final_model'), 'adapter_model.safetensors');
    expect(await adapter(resumed)).toEqual(await adapter(whole));
  });

  test('nothing stays on the GPU', async () => {
    await gpu.collect();
    expect(gpu.ledger.count).toBe(0);
  });
});
