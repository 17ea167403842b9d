/** Model folders in memory: random weights in any of the types that checkpoints have. */
import { ARCHITECTURES } from '../../src/model/architectures/registry.ts';
import { writeCheckpoint } from '../../src/model/checkpoint.ts';
import { Decoder } from '../../src/model/decoder.ts';
import { type FloatDtype, f32ToBytes } from '../../src/model/dtype.ts';
import { Parameters } from '../../src/model/parameters.ts';
import { randomStream } from '../../src/platform/random.ts';
import { memoryStore, saveFolder } from '../../src/platform/stores.ts';
import type { ReadableFolder } from '../../src/platform/types.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { IMAGINED_GPU } from '../../src/train/planMemory.ts';
import { TINY_LLAMA } from '../train/gpu/fixtures.ts';

/** Names and shapes of all weights that a config asks for, in the order of the model. */
export function shapesOf(config: object): ReadonlyMap<string, readonly number[]> {
  const { model_type } = config as typeof TINY_LLAMA;
  const parameters = new Parameters(new Memory(IMAGINED_GPU.limits), { trained: null, storage: () => 'bf16' });
  new Decoder(parameters, ARCHITECTURES[model_type]!.parse(config as Record<string, unknown>, 'config.json'));
  return new Map([...parameters.all.values()].map(({ name, shape }) => [name, shape]));
}

/** A folder whose weights are random, all of one type. */
export async function randomFolder(
  config: object = TINY_LLAMA,
  dtype: FloatDtype = 'BF16',
  seed = 1,
): Promise<ReadableFolder> {
  const tensors = [...shapesOf(config)].map(([name, shape], index) => {
    const next = randomStream(seed, index);
    const count = shape.reduce((product, size) => product * size, 1);
    const values = Float32Array.from({ length: count }, () => (next() / 2 ** 31 - 1) * 0.1);
    return { name, dtype, shape, bytes: () => [f32ToBytes(values, dtype)] };
  });
  const store = memoryStore();
  await saveFolder(store, 'model', async (staged) => {
    await staged.write('config.json', JSON.stringify(config));
    await writeCheckpoint(staged, tensors);
  });
  return store.folder('model');
}
