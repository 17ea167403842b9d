/** What a model folder says of itself: its config and the headers of its weights. It needs no device and nothing of the engine. */
import { SftError } from '../platform/errors.ts';
import { readText } from '../platform/sources.ts';
import type { ReadableFolder } from '../platform/types.ts';
import { ARCHITECTURES } from './architectures/registry.ts';
import { type BnbWeight, checkQuantizationConfig, describedWeight, readBnbWeights } from './bnb.ts';
import { type Checkpoint, openCheckpoint } from './checkpoint.ts';
import type { DecoderSpec } from './decoder.ts';

/** What a model folder says, without its weights. */
export interface ModelFiles {
  readonly folder: ReadableFolder;
  /** config.json as it is. */
  readonly config: Readonly<Record<string, unknown>>;
  /** generation_config.json as it is, or an empty object. */
  readonly generation: Readonly<Record<string, unknown>>;
  readonly spec: DecoderSpec;
  readonly checkpoint: Checkpoint;
  /** Weights that the checkpoint holds in 4 bits, by name. */
  readonly quantized: ReadonlyMap<string, BnbWeight>;
}

async function readJson(folder: ReadableFolder, path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    const value: unknown = JSON.parse(await readText(folder, path));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('no object');
    return value as Record<string, unknown>;
  } catch (cause) {
    if (cause instanceof SftError) throw cause;
    throw new SftError(
      'MODEL',
      `${folder.name}/${path}: expected JSON: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  }
}

/** Reads what kind of model a folder holds; it needs no more than config.json. Throws `MODEL`. */
export async function readSpec(folder: ReadableFolder): Promise<Pick<ModelFiles, 'config' | 'spec'>> {
  const where = `${folder.name}/config.json`;
  if (!(await folder.has('config.json'))) {
    throw new SftError('MODEL', `${where}: no such file`, {
      hint: 'give the folder of a Hugging Face model (config.json, *.safetensors, tokenizer.json)',
    });
  }
  const config = await readJson(folder, 'config.json');
  const type = String(config.model_type);
  const architecture = Object.hasOwn(ARCHITECTURES, type) ? ARCHITECTURES[type] : undefined;
  if (!architecture) {
    throw new SftError('MODEL', `${where}: model_type "${type}" is not supported`, {
      hint: `supported: ${Object.keys(ARCHITECTURES).join(', ')}`,
    });
  }
  checkQuantizationConfig(config, where);
  return { config, spec: architecture.parse(config, where) };
}

/** Opens a model folder and checks config and headers. Throws `MODEL`. */
export async function openModel(folder: ReadableFolder): Promise<ModelFiles> {
  const { config, spec } = await readSpec(folder);
  const generation = (await folder.has('generation_config.json'))
    ? await readJson(folder, 'generation_config.json')
    : {};
  const checkpoint = await openCheckpoint(folder);
  try {
    const quantized = await readBnbWeights(checkpoint.tensors);
    return { folder, config, generation, spec, checkpoint, quantized };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

/** Elements of all weights of a checkpoint; those of a 4-bit one as they were before. */
export function countParameters({ checkpoint, quantized }: ModelFiles): number {
  const weights = [...checkpoint.tensors.values()].filter(({ name }) => describedWeight(name) === undefined);
  const shapes = weights.map(({ name, shape }) => quantized.get(name)?.shape ?? shape);
  const sizes = shapes.map((shape) => shape.reduce((product, size) => product * size, 1));
  return sizes.reduce((sum, size) => sum + size, 0);
}
