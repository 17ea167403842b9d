/**
 * Writes an adapter as mlx-lm's folder: `adapters.safetensors` with A and B transposed, `adapter_config.json` with the layers that get
 * them. Source: mlx-lm, tuner/utils.py (`load_adapters`) and tuner/lora.py.
 */
import type { ReadableFolder, StagedFolder } from '../platform/types.ts';
import { VERSION } from '../platform/version.ts';
import { loraScaling } from './adapterConfig.ts';
import type { DecoderSpec } from './decoder.ts';
import { f32ToBytes } from './dtype.ts';
import type { Adapter, LoraWeights } from './peft.ts';
import { EXPORT_FILE } from './recordFiles.ts';
import { writeSafetensors } from './safetensors.ts';

const WEIGHTS_FILE = 'adapters.safetensors';

/** Fills the folder. */
export async function exportMlx(
  adapter: Adapter,
  spec: DecoderSpec,
  folders: { readonly base: ReadableFolder; readonly adapter: ReadableFolder; readonly baseName: string },
  out: StagedFolder,
): Promise<void> {
  const { config, weights } = adapter;
  const { r } = config;
  const tensors = [...weights].flatMap(([path, pair]) => sides(path, pair, r));
  const file = await out.create(WEIGHTS_FILE);
  await writeSafetensors(file, tensors, { format: 'mlx' });
  await file.close();
  const places = [...weights.keys()].map(layerAndModule);
  const first = Math.min(...places.map(({ layer }) => layer));
  const json = {
    fine_tune_type: 'lora',
    model: folders.baseName,
    // Counted from the last one. Layers in between that the adapter does not have get a B of zeros there.
    num_layers: spec.layers - first,
    lora_parameters: {
      rank: r,
      scale: loraScaling(config),
      dropout: config.lora_dropout,
      keys: [...new Set(places.map(({ module }) => module))],
    },
  };
  await out.write('adapter_config.json', `${JSON.stringify(json, null, 2)}\n`);
  const made = { to: 'mlx', base: folders.base.name, adapter: folders.adapter.name, 'webgpu-sft': VERSION };
  await out.write(EXPORT_FILE, `${JSON.stringify(made, null, 2)}\n`);
}

/** A [r, in] → [in, r], B [out, r] → [r, out]. */
function sides(path: string, { A, B }: LoraWeights, r: number) {
  const inFeatures = A.length / r;
  const outFeatures = B.length / r;
  const tensor = (side: 'a' | 'b', shape: readonly number[], values: () => Float32Array<ArrayBuffer>) => ({
    name: `${path}.lora_${side}`,
    dtype: 'F32' as const,
    shape,
    bytes: () => [f32ToBytes(values(), 'F32')],
  });
  return [
    tensor('a', [inFeatures, r], () => transposed(A, r, inFeatures)),
    tensor('b', [r, outFeatures], () => transposed(B, outFeatures, r)),
  ];
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[column * rows + row] = values[row * columns + column] as number;
    }
  }
  return result;
}

/** `model.layers.3.self_attn.q_proj` → 3 and `self_attn.q_proj`, as mlx-lm names modules within a layer. */
function layerAndModule(path: string): { layer: number; module: string } {
  const [, layer = '0', module = path] = /^model\.layers\.(\d+)\.(.*)$/.exec(path) ?? [];
  return { layer: Number(layer), module };
}
