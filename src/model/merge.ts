/**
 * Folds an adapter into its base: W + scaling · B · A, tensor by tensor, on the CPU. The result is a model folder that
 * transformers loads. Only one tensor is in memory at a time.
 */
import { SftError } from '../platform/errors.ts';
import { readBytes } from '../platform/sources.ts';
import type { ReadableFolder, StagedFolder } from '../platform/types.ts';
import { VERSION } from '../platform/version.ts';
import { Memory } from '../tensor/memory.ts';
import { loraScaling } from './adapterConfig.ts';
import { writeCheckpoint } from './checkpoint.ts';
import { Decoder } from './decoder.ts';
import { bytesToF32, type FloatDtype, f32ToBytes, isFloatDtype } from './dtype.ts';
import { openAdapterFolder } from './lora.ts';
import type { ModelFiles } from './model.ts';
import { Parameters } from './parameters.ts';
import type { LoraWeights } from './peft.ts';
import { readWeights, type TensorInfo } from './safetensors.ts';

export type MergeDtype = 'float32' | 'float16' | 'bfloat16';

const FILE_DTYPE: Readonly<Record<MergeDtype, FloatDtype>> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };

/** Says what a folder was merged from; a folder that has it may be replaced by another merge. */
export const MERGE_FILE = 'merge.json';

/** Files of a model folder that a merged model needs besides its weights and config. */
const COMPANIONS = [
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  'chat_template.jinja',
];

export interface MergeOptions {
  readonly dtype: MergeDtype;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Writes the merged model. Throws `ADAPTER` when the adapter does not fit, `NUMERIC` when a sum does not fit the dtype. */
export async function mergeAdapter(
  files: ModelFiles,
  adapterFolder: ReadableFolder,
  out: StagedFolder,
  options: MergeOptions,
): Promise<void> {
  const { dtype, onProgress = () => {} } = options;
  const parameters = new Parameters(new Memory(NO_LIMITS), { trained: null, storage: () => 'f32' });
  const decoder = new Decoder(parameters, files.spec);
  const adapter = await openAdapterFolder(adapterFolder, decoder);
  const scaling = loraScaling(adapter.config);
  const infos = [...parameters.all.keys()].flatMap((name) => files.checkpoint.tensors.get(name) ?? []);
  let done = 0;
  const tensors = infos.map((info) => ({
    name: info.name,
    dtype: FILE_DTYPE[dtype],
    shape: info.shape,
    async *bytes() {
      const values = await readFloats(info);
      const pair = adapter.weights.get(info.name.replace(/\.weight$/, ''));
      if (pair) addProduct(values, info.shape, pair, adapter.config.r, scaling);
      if (dtype === 'float16') refuseOverflow(info.name, values);
      done += 1;
      onProgress(done, infos.length);
      yield f32ToBytes(values, FILE_DTYPE[dtype]);
    },
  }));
  await writeCheckpoint(out, tensors);
  const { torch_dtype: _, ...config } = files.config;
  await out.write('config.json', `${JSON.stringify({ ...config, dtype }, null, 2)}\n`);
  const made = { base: files.folder.name, adapter: adapterFolder.name, dtype, 'webgpu-sft': VERSION };
  await out.write(MERGE_FILE, `${JSON.stringify(made, null, 2)}\n`);
  for (const path of COMPANIONS) {
    const source = (await adapterFolder.has(path)) ? adapterFolder : files.folder;
    if (await source.has(path)) await out.write(path, await readBytes(source, path));
  }
}

/** The decoder is declared only for its names and shapes. */
const NO_LIMITS = {
  bufferBytes: Number.MAX_SAFE_INTEGER,
  bindingBytes: Number.MAX_SAFE_INTEGER,
  workgroupInvocations: 256,
  workgroupStorageBytes: 16384,
  storageBuffers: 8,
};

async function readFloats(info: TensorInfo): Promise<Float32Array<ArrayBuffer>> {
  if (!isFloatDtype(info.dtype))
    throw new SftError('MODEL', `${info.name}: expected F32, F16 or BF16, got ${info.dtype}`);
  const values = new Float32Array(info.shape.reduce((product, size) => product * size, 1));
  let at = 0;
  for await (const slice of readWeights(info)) {
    const part = bytesToF32(slice, info.dtype);
    values.set(part, at);
    at += part.length;
  }
  return values;
}

/** values [out, in] += scaling · B [out, r] · A [r, in]. */
function addProduct(
  values: Float32Array,
  shape: readonly number[],
  { A, B }: LoraWeights,
  r: number,
  scaling: number,
): void {
  const [rows = 0, columns = 0] = shape;
  const delta = new Float32Array(columns);
  for (let row = 0; row < rows; row++) {
    delta.fill(0);
    for (let k = 0; k < r; k++) {
      const factor = B[row * r + k] as number;
      const start = k * columns;
      for (let column = 0; column < columns; column++)
        delta[column] = (delta[column] as number) + factor * (A[start + column] as number);
    }
    const start = row * columns;
    for (let column = 0; column < columns; column++)
      values[start + column] = (values[start + column] as number) + scaling * (delta[column] as number);
  }
}

/** float16 ends at 65504; more becomes infinity. */
function refuseOverflow(name: string, values: Float32Array): void {
  const at = values.findIndex((value) => Math.abs(value) >= 65520);
  if (at < 0) return;
  throw new SftError(
    'NUMERIC',
    `${name}: expected numbers that fit float16 (up to 65504), got ${values[at]} at element ${at}`,
    {
      hint: 'merge with --dtype bfloat16 or float32',
    },
  );
}
