/** Logits of a model folder, with an adapter where given, as they are when text is generated. */
import { Generator } from '../../src/eval/generator.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { readAdapterConfig } from '../../src/model/adapterConfig.ts';
import { openAdapterFolder, optionsOf } from '../../src/model/lora.ts';
import { Model } from '../../src/model/model.ts';
import { openModel } from '../../src/model/modelFiles.ts';
import { openFolder } from '../../src/platform/nodeFolder.ts';

/** Logits [T, V] of a row, token by token through the cache. */
export async function rowLogits(gpu: Gpu, path: string, ids: ArrayLike<number>, adapter?: string): Promise<number[]> {
  const files = await openModel(await openFolder(path));
  const folder = adapter === undefined ? null : await openFolder(adapter);
  const model = new Model(files, gpu.limits, {
    maxLength: ids.length,
    tuning: folder
      ? { mode: 'lora', lora: optionsOf(await readAdapterConfig(folder)), trained: false }
      : { mode: 'none' },
  });
  await model.load(gpu);
  await files.checkpoint.close();
  if (folder) model.lora?.load(gpu, model.memory, await openAdapterFolder(folder, model.decoder));
  const generator = await Generator.create(gpu, model, { capacity: ids.length, adapters: folder !== null });
  const logits: number[] = [];
  for (const [t, id] of Array.from(ids).entries()) {
    const [next] = t === 0 ? await generator.prompt([{ lane: 0, ids: [id] }]) : await generator.step([{ lane: 0, id }]);
    logits.push(...next!);
  }
  generator.close();
  model.close(gpu);
  await gpu.collect();
  return logits;
}
