/** LoRA adapters as PEFT stores them: `adapter_model.safetensors` and `adapter_config.json` in one folder. */
import { invariant, SftError } from '../platform/errors.ts';
import type { ReadableFolder, StagedFolder } from '../platform/types.ts';
import { ADAPTER_CONFIG_FILE, type AdapterConfig, adapterConfigJson, readAdapterConfig } from './adapterConfig.ts';
import { someOf } from './checkpoint.ts';
import { bytesToF32, f32ToBytes, isFloatDtype, refuseNonFinite } from './dtype.ts';
import { selectTargets } from './loraTargets.ts';
import { readSafetensors, type TensorInfo, writeSafetensors } from './safetensors.ts';

export const ADAPTER_WEIGHTS_FILE = 'adapter_model.safetensors';

/** The two matrices of one layer: y = base(x) + scaling · B · A · x. */
export interface LoraWeights {
  /** [r, in] */
  readonly A: Float32Array<ArrayBuffer>;
  /** [out, r] */
  readonly B: Float32Array<ArrayBuffer>;
}

export interface Adapter {
  readonly config: AdapterConfig;
  /** By the path of the layer. */
  readonly weights: ReadonlyMap<string, LoraWeights>;
}

/** The linear layers of a base model, by path. */
export interface LinearShapes {
  readonly linears: ReadonlyMap<string, { readonly inFeatures: number; readonly outFeatures: number }>;
  /** The linear layer that gives the logits. */
  readonly outputLayer: string;
  /** Paths of embeddings and norms. */
  readonly others?: Iterable<string>;
}

const key = (path: string, matrix: 'A' | 'B') => `base_model.model.${path}.lora_${matrix}.weight`;

/** Writes the two files of an adapter folder. Weights are float32. */
export async function writeAdapter(
  folder: StagedFolder,
  config: AdapterConfig,
  weights: ReadonlyMap<string, LoraWeights>,
): Promise<void> {
  const { r } = config;
  const tensors = [...weights].flatMap(([path, { A, B }]) => [
    { name: key(path, 'A'), values: A, shape: [r, A.length / r] },
    { name: key(path, 'B'), values: B, shape: [B.length / r, r] },
  ]);
  for (const { name, values, shape } of tensors) {
    invariant(shape.every(Number.isInteger), `${name}: ${values.length} numbers are no matrix of rank ${r}`);
  }
  const file = await folder.create(ADAPTER_WEIGHTS_FILE);
  await writeSafetensors(
    file,
    tensors.map(({ name, values, shape }) => ({ name, dtype: 'F32', shape, bytes: () => [f32ToBytes(values, 'F32')] })),
  );
  await file.close();
  await folder.write(ADAPTER_CONFIG_FILE, adapterConfigJson(config));
}

/**
 * Reads an adapter for a base model. Throws `ADAPTER`, naming all tensors that are missing, unexpected or of another
 * shape than the base needs, and any that holds NaN or infinity.
 */
export async function readAdapter(folder: ReadableFolder, base: LinearShapes): Promise<Adapter> {
  const config = await readAdapterConfig(folder);
  if (!(await folder.has(ADAPTER_WEIGHTS_FILE))) {
    const pickle = (await folder.has('adapter_model.bin'))
      ? ', only adapter_model.bin, a pickle file, which is never read'
      : '';
    throw new SftError('ADAPTER', `${folder.name}: there is no ${ADAPTER_WEIGHTS_FILE}${pickle}`, {
      hint: 'save the adapter again with a current PEFT, which writes safetensors',
    });
  }
  const { paths } = selectTargets(config.target_modules, { ...base, linears: base.linears.keys() }, 'ADAPTER');
  const source = await folder.open(ADAPTER_WEIGHTS_FILE);
  try {
    const { tensors } = await readSafetensors(source, 'ADAPTER');
    checkTensors(folder.name, config, tensors, expectedShapes(paths, base, config.r));
    const weights = new Map<string, LoraWeights>();
    for (const path of paths) {
      const A = await readFloats(tensors.get(key(path, 'A'))!);
      weights.set(path, { A, B: await readFloats(tensors.get(key(path, 'B'))!) });
    }
    return { config, weights };
  } finally {
    await source.close();
  }
}

function expectedShapes(
  paths: readonly string[],
  base: LinearShapes,
  r: number,
): Map<string, readonly [number, number]> {
  const shapes = new Map<string, readonly [number, number]>();
  for (const path of paths) {
    const { inFeatures, outFeatures } = base.linears.get(path)!;
    shapes.set(key(path, 'A'), [r, inFeatures]);
    shapes.set(key(path, 'B'), [outFeatures, r]);
  }
  return shapes;
}

function checkTensors(
  where: string,
  config: AdapterConfig,
  tensors: ReadonlyMap<string, TensorInfo>,
  expected: ReadonlyMap<string, readonly [number, number]>,
): void {
  const missing = [...expected.keys()].filter((name) => !tensors.has(name));
  const unexpected = [...tensors.keys()].filter((name) => !expected.has(name));
  const wrong: string[] = [];
  for (const [name, [rows, columns]] of expected) {
    const tensor = tensors.get(name);
    if (!tensor) continue;
    const fits = tensor.shape.length === 2 && tensor.shape[0] === rows && tensor.shape[1] === columns;
    if (!fits) wrong.push(`${name}: expected [${rows}, ${columns}], got [${tensor.shape.join(', ')}]`);
    else if (!isFloatDtype(tensor.dtype)) wrong.push(`${name}: expected F32, F16 or BF16, got ${tensor.dtype}`);
  }
  const problems = [
    missing.length > 0 && `missing: ${someOf(missing)}`,
    unexpected.length > 0 && `unexpected: ${someOf(unexpected)}`,
    wrong.length > 0 && `does not fit the base: ${someOf(wrong)}`,
  ].filter(Boolean);
  if (problems.length === 0) return;
  throw new SftError('ADAPTER', `${where}/${ADAPTER_WEIGHTS_FILE}: ${problems.join('; ')}`, {
    hint: `the adapter was made for ${config.base_model_name_or_path ?? 'another base'}; use it with that model`,
  });
}

async function readFloats(tensor: TensorInfo): Promise<Float32Array<ArrayBuffer>> {
  const { name, dtype, source, offset, length } = tensor;
  invariant(isFloatDtype(dtype), `${name}: ${dtype} was let through`);
  const bytes = await source.read(offset, length);
  refuseNonFinite(`${source.name}: ${name}`, dtype, bytes, { code: 'ADAPTER' });
  return bytesToF32(bytes, dtype);
}
