/**
 * Writes a model as a bitsandbytes 4-bit folder that transformers loads: the weights of linear layers as NF4, everything
 * else in the type that it has. To the byte as bitsandbytes quantises on a GPU. Runs on the CPU, slice by slice: weights are
 * read twice, with double quantisation three times, instead of being kept.
 */
import { dynamicMap, NESTED_BLOCK, NF4 } from '../kernels/codebooks.ts';
import { SftError } from '../platform/errors.ts';
import { concatBytes } from '../platform/stores.ts';
import type { StagedFolder } from '../platform/types.ts';
import { VERSION } from '../platform/version.ts';
import { Memory } from '../tensor/memory.ts';
import { writeCheckpoint } from './checkpoint.ts';
import { copyCompanions } from './companions.ts';
import { Decoder } from './decoder.ts';
import { bytesToF32, type FloatDtype, isFloatDtype } from './dtype.ts';
import type { ModelFiles } from './modelFiles.ts';
import { Parameters } from './parameters.ts';
import { blockAbsmax, quantizeAbsmax, quantizeNf4 } from './quantization.ts';
import { EXPORT_FILE } from './recordFiles.ts';
import { readTensor, readWeights, type TensorInfo, type TensorToWrite } from './safetensors.ts';
import { UNBOUND_LIMITS } from './unbound.ts';

/** How the weights of linear layers become NF4. */
export interface ExportBnbOptions {
  /** Weights that share an absmax: a power of two from 32 to 4096. */
  readonly blockSize: number;
  /** Whether absmax is quantised in turn, to 8 bits (QLoRA, arXiv:2305.14314). */
  readonly doubleQuant: boolean;
  /** Bytes of the checkpoint that were read and will be, all passes together. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

const TORCH_DTYPE: Readonly<Record<FloatDtype, string>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };

/** Writes the folder. Throws `MODEL` when the weights are in 4 bits already, or are no finite numbers. */
export async function exportBnb(files: ModelFiles, out: StagedFolder, options: ExportBnbOptions): Promise<void> {
  const { blockSize, doubleQuant, onProgress = () => {}, signal } = options;
  const { folder, checkpoint, config } = files;
  if (files.quantized.size > 0) {
    throw new SftError('MODEL', `${folder.name}: expected unquantised weights, got weights in 4 bits already`, {
      hint: 'export the model that they were made from',
    });
  }
  const parameters = new Parameters(new Memory(UNBOUND_LIMITS), { trained: null, storage: () => 'f32' });
  const linears = new Set(new Decoder(parameters, files.spec).linears.map(({ path }) => `${path}.weight`));
  const infos = [...parameters.all.keys()].map((name) => {
    const info = checkpoint.tensors.get(name);
    if (info && isFloatDtype(info.dtype)) return info as TensorInfo & { readonly dtype: FloatDtype };
    const got = info ? info.dtype : 'none';
    throw new SftError('MODEL', `${folder.name}: ${name}: expected F32, F16 or BF16, got ${got}`);
  });
  const quantized = infos.filter(({ name }) => linears.has(name));
  const passes = ({ name }: TensorInfo) => (linears.has(name) ? (doubleQuant ? 3 : 2) : 1);
  const total = infos.reduce((sum, info) => sum + info.length * passes(info), 0);
  let done = 0;
  const values = async function* (info: TensorInfo & { readonly dtype: FloatDtype }) {
    for await (const slice of readWeights(info)) {
      signal?.throwIfAborted();
      yield bytesToF32(slice, info.dtype);
      done += slice.length;
      onProgress(done, total);
    }
  };
  const absmaxOf = async (info: TensorInfo & { readonly dtype: FloatDtype }): Promise<Float32Array<ArrayBuffer>> => {
    const parts: Uint8Array[] = [];
    for await (const slice of values(info)) parts.push(bytesOf(blockAbsmax(slice, blockSize)));
    return new Float32Array(concatBytes(parts).buffer);
  };

  const tensors: TensorToWrite[] = [];
  const add = (name: string, dtype: TensorToWrite['dtype'], shape: readonly number[], bytes: TensorToWrite['bytes']) =>
    tensors.push({ name, dtype, shape, bytes });
  for (const info of infos) {
    const { name, dtype, shape } = info;
    if (!linears.has(name)) {
      add(name, dtype, shape, async function* () {
        for await (const slice of readTensor(info)) {
          yield slice;
          done += slice.length;
          onProgress(done, total);
        }
      });
      continue;
    }
    const count = shape.reduce((product, size) => product * size, 1);
    const blocks = Math.ceil(count / blockSize);
    const state: Record<string, unknown> = {
      quant_type: 'nf4',
      blocksize: blockSize,
      dtype: TORCH_DTYPE[dtype],
      shape,
    };
    add(name, 'U8', [Math.ceil(count / 2), 1], async function* () {
      for await (const slice of values(info)) yield quantizeNf4(slice, blockSize).codes;
    });
    add(`${name}.quant_map`, 'F32', [NF4.length], () => [bytesOf(Float32Array.from(NF4))]);
    if (doubleQuant) {
      // The offset is part of the JSON, whose length the header of the file must know.
      const nested = quantizeAbsmax(await absmaxOf(info));
      const scales = nested.absmax;
      Object.assign(state, { nested_blocksize: NESTED_BLOCK, nested_dtype: 'float32', nested_offset: nested.offset });
      add(`${name}.nested_absmax`, 'F32', [scales.length], () => [bytesOf(scales)]);
      add(`${name}.nested_quant_map`, 'F32', [256], () => [bytesOf(dynamicMap())]);
      add(`${name}.absmax`, 'U8', [blocks], async function* () {
        yield quantizeAbsmax(await absmaxOf(info)).codes;
      });
    } else {
      add(`${name}.absmax`, 'F32', [blocks], async function* () {
        yield bytesOf(await absmaxOf(info));
      });
    }
    const json = new TextEncoder().encode(pythonJson(state));
    add(`${name}.quant_state.bitsandbytes__nf4`, 'U8', [json.length], () => [json]);
  }
  await writeCheckpoint(out, tensors);
  const dtype = TORCH_DTYPE[quantized[0]?.dtype ?? 'F32'];
  const quantization_config = quantizationConfig(dtype, doubleQuant);
  await out.write('config.json', `${JSON.stringify({ ...config, quantization_config }, null, 2)}\n`);
  const made = {
    base: folder.name,
    to: 'bnb',
    block_size: blockSize,
    double_quant: doubleQuant,
    'webgpu-sft': VERSION,
  };
  await out.write(EXPORT_FILE, `${JSON.stringify(made, null, 2)}\n`);
  await copyCompanions(out, folder);
}

/** What transformers writes for a `BitsAndBytesConfig`, but for a threshold of int8 that must not become a whole number. */
function quantizationConfig(computeDtype: string, doubleQuant: boolean): Record<string, unknown> {
  return {
    _load_in_4bit: true,
    _load_in_8bit: false,
    bnb_4bit_compute_dtype: computeDtype,
    bnb_4bit_quant_storage: 'uint8',
    bnb_4bit_quant_type: 'nf4',
    bnb_4bit_use_double_quant: doubleQuant,
    llm_int8_enable_fp32_cpu_offload: false,
    llm_int8_has_fp16_weight: false,
    llm_int8_skip_modules: null,
    load_in_4bit: true,
    load_in_8bit: false,
    quant_method: 'bitsandbytes',
  };
}

const bytesOf = (values: Float32Array<ArrayBuffer>) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** A flat object as Python's json.dumps writes it. */
function pythonJson(fields: Readonly<Record<string, unknown>>): string {
  const text = (name: string, value: unknown) => {
    if (name === 'nested_offset') return pythonFloat(value as number);
    return Array.isArray(value) ? `[${value.join(', ')}]` : JSON.stringify(value);
  };
  return `{${Object.entries(fields)
    .map(([name, value]) => `"${name}": ${text(name, value)}`)
    .join(', ')}}`;
}

/** A float as Python's repr writes it: with a point, and an exponent of two digits below 1e-4 and from 1e16 on. */
export function pythonFloat(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    return value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2');
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
