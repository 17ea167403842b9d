/** An adapter of random weights on disk, as if it had been trained. */
import { basename, dirname } from 'node:path';
import type { AdapterConfig } from '../../src/model/adapterConfig.ts';
import { Decoder } from '../../src/model/decoder.ts';
import { linearShapes } from '../../src/model/lora.ts';
import { selectTargets } from '../../src/model/loraTargets.ts';
import { readSpec } from '../../src/model/modelFiles.ts';
import { Parameters } from '../../src/model/parameters.ts';
import { writeAdapter } from '../../src/model/peft.ts';
import { UNBOUND_LIMITS } from '../../src/model/unbound.ts';
import { openFolder, openStore } from '../../src/platform/nodeFiles.ts';
import { randomStream } from '../../src/platform/random.ts';
import { saveFolder } from '../../src/platform/stores.ts';
import { Memory } from '../../src/tensor/memory.ts';

/** Writes a PEFT folder for a model and gives its path. */
export async function writeRandomAdapter(
  path: string,
  model: string,
  options: Pick<AdapterConfig, 'r' | 'lora_alpha' | 'target_modules' | 'use_rslora'>,
): Promise<string> {
  const { spec } = await readSpec(await openFolder(model));
  const decoder = new Decoder(
    new Parameters(new Memory(UNBOUND_LIMITS), { trained: null, storage: () => 'f32' }),
    spec,
  );
  const { linears } = linearShapes(decoder);
  const { paths } = selectTargets(options.target_modules, { linears: linears.keys(), outputLayer: 'lm_head' });
  const next = randomStream(5, 0);
  const random = (count: number) => Float32Array.from({ length: count }, () => (next() / 2 ** 31 - 1) * 0.2);
  const weights = new Map(
    paths.map((layer) => {
      const { inFeatures, outFeatures } = linears.get(layer)!;
      return [layer, { A: random(options.r * inFeatures), B: random(outFeatures * options.r) }] as const;
    }),
  );
  const config: AdapterConfig = {
    base_model_name_or_path: model,
    revision: null,
    lora_dropout: 0.05,
    task_type: 'CAUSAL_LM',
    ...options,
  };
  await saveFolder(await openStore(dirname(path)), basename(path), (staged) => writeAdapter(staged, config, weights));
  return path;
}
