/**
 * Checkpoints that bitsandbytes has quantised to 4 bits, as transformers saves them. A linear layer `m` is a few tensors:
 *
 *     m.weight                                 codes, two to a byte, in whatever dtype `quant_storage` was
 *     m.weight.absmax                          F32 [blocks], or with double quantisation U8 [blocks]
 *     m.weight.quant_map                       F32 [16], the numbers of NF4
 *     m.weight.nested_absmax, .nested_quant_map    F32 [⌈blocks / 256⌉] and [256], with double quantisation
 *     m.weight.quant_state.bitsandbytes__nf4   U8, JSON: block size, shape, dtype before, offset of the maxima
 *
 * Source: bitsandbytes, functional.py, `QuantState.as_dict` and `from_dict`.
 */
import { z } from 'zod';
import { NESTED_BLOCK, NF4 } from '../kernels/codebooks.ts';
import { SftError } from '../platform/errors.ts';
import type { Dtype } from './dtype.ts';
import { dequantizeAbsmax, dequantizeNf4, type NestedAbsmax } from './quantization.ts';
import type { TensorInfo } from './safetensors.ts';
import { parseStrictJson } from './strictJson.ts';

/** A linear layer in 4 bits: where its parts lie, and what its JSON says. */
export interface BnbWeight {
  /** [rows, columns] of the matrix. */
  readonly shape: readonly number[];
  readonly blockSize: number;
  readonly codes: TensorInfo;
  readonly quantMap: TensorInfo;
  readonly absmax: TensorInfo;
  readonly nested: { readonly absmax: TensorInfo; readonly map: TensorInfo; readonly offset: number } | null;
}

const PART = /^(.+)\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.bitsandbytes__(?:nf4|fp4))$/;

/** Block sizes that bitsandbytes has. */
export const BLOCK_SIZES: readonly number[] = [32, 64, 128, 256, 512, 1024, 2048, 4096];

const stateFields = {
  quant_type: z.literal('nf4'),
  blocksize: z.int().refine((size) => BLOCK_SIZES.includes(size), `expected one of ${BLOCK_SIZES.join(', ')}`),
  dtype: z.enum(['float32', 'float16', 'bfloat16']),
  shape: z.array(z.int().positive()),
};
const nestedFields = {
  nested_blocksize: z.literal(NESTED_BLOCK),
  nested_dtype: z.literal('float32'),
  nested_offset: z.number(),
};
const plainState = z.strictObject(stateFields);
const nestedState = z.strictObject({ ...stateFields, ...nestedFields });

const HINT = 'the checkpoint is damaged or of another kind; get another copy of it, or use the unquantised model';

function refuse({ source, name }: TensorInfo, problem: string, cause?: unknown): SftError {
  return new SftError('MODEL', `${source.name}: ${name}: ${problem}`, { hint: HINT, cause });
}

/** The weight that a tensor of this name describes, if it is one that describes a weight. */
export function describedWeight(name: string): string | undefined {
  return PART.exec(name)?.[1];
}

/** The quantised weights of a checkpoint, by name; headers and JSON are checked. Throws `MODEL`. */
export async function readBnbWeights(tensors: ReadonlyMap<string, TensorInfo>): Promise<Map<string, BnbWeight>> {
  const parts = new Map<string, Map<string, TensorInfo>>();
  for (const [name, info] of tensors) {
    const [, weight, part] = PART.exec(name) ?? [];
    if (weight === undefined || part === undefined) continue;
    const found = parts.get(weight) ?? new Map<string, TensorInfo>();
    parts.set(weight, found.set(part, info));
  }
  const read = async ([name, found]: [string, Map<string, TensorInfo>]) => {
    const codes = tensors.get(name);
    const [any] = found.values();
    if (!codes) throw refuse(any as TensorInfo, `describes ${name}, which is missing`);
    return [name, await readWeight(codes, found)] as const;
  };
  return new Map(await Promise.all([...parts].map(read)));
}

async function readWeight(codes: TensorInfo, parts: ReadonlyMap<string, TensorInfo>): Promise<BnbWeight> {
  const part = (name: string, dtype: Dtype, length?: number): TensorInfo => {
    const info = parts.get(name);
    if (!info) throw refuse(codes, `expected it with ${codes.name}.${name}, which is missing`);
    const fits = info.dtype === dtype && info.shape.length === 1 && (length ?? info.shape[0]) === info.shape[0];
    if (!fits) throw refuse(info, `expected ${dtype} [${length ?? 'n'}], got ${info.dtype} [${info.shape.join(', ')}]`);
    return info;
  };
  const fp4 = parts.get('quant_state.bitsandbytes__fp4');
  if (fp4) throw refuse(fp4, 'expected NF4 codes, got FP4, which this version does not support');
  const nested = parts.has('nested_absmax') || parts.has('nested_quant_map');
  const state = await readState(part('quant_state.bitsandbytes__nf4', 'U8'), nested);
  const { blocksize: blockSize, shape } = state;
  const count = shape.reduce((product, size) => product * size, 1);
  const [bytes, blocks] = [Math.ceil(count / 2), Math.ceil(count / blockSize)];
  if (codes.length !== bytes) {
    throw refuse(codes, `expected ${bytes} bytes for a matrix of [${shape.join(', ')}], got ${codes.length}`);
  }
  return {
    shape,
    blockSize,
    codes,
    quantMap: part('quant_map', 'F32', NF4.length),
    absmax: part('absmax', nested ? 'U8' : 'F32', blocks),
    nested: nested
      ? {
          absmax: part('nested_absmax', 'F32', Math.ceil(blocks / NESTED_BLOCK)),
          map: part('nested_quant_map', 'F32', 256),
          offset: state.nested_offset,
        }
      : null,
  };
}

async function readState(info: TensorInfo, nested: boolean) {
  let state: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await info.source.read(info.offset, info.length));
    state = parseStrictJson(text);
  } catch (cause) {
    if (cause instanceof SftError) throw cause;
    throw refuse(info, `expected JSON: ${(cause as Error).message}`, cause);
  }
  const parsed = nested ? nestedState.safeParse(state) : plainState.safeParse(state);
  if (parsed.success) return { nested_offset: 0, ...parsed.data };
  const [issue] = parsed.error.issues;
  const field = issue?.path.join('.');
  const value = field ? `, got ${JSON.stringify((state as Record<string, unknown>)[field])}` : '';
  throw refuse(info, `${field ? `${field}: ` : ''}${issue?.message.replace(/^Invalid input: /, '')}${value}`);
}

/** Reads the block maxima of a weight and checks all that describes its codes. Throws `MODEL`. */
export async function readStatistics(weight: BnbWeight): Promise<Float32Array<ArrayBuffer> | NestedAbsmax> {
  const map = await readFloats(weight.quantMap);
  const wrong = map.findIndex((value, code) => value !== Math.fround(NF4[code] ?? Number.NaN));
  if (wrong >= 0) throw refuse(weight.quantMap, `expected ${NF4[wrong]} for code ${wrong} of NF4, got ${map[wrong]}`);
  const { absmax, nested } = weight;
  if (!nested) return readFloats(absmax, 0);
  const codes = await absmax.source.read(absmax.offset, absmax.length);
  return {
    codes,
    absmax: await readFloats(nested.absmax, 0),
    map: await readFloats(nested.map),
    offset: nested.offset,
  };
}

/** The numbers of a weight, row by row, in float32. Throws `MODEL`. */
export async function readDequantized(weight: BnbWeight): Promise<Float32Array<ArrayBuffer>> {
  const statistics = await readStatistics(weight);
  const absmax = statistics instanceof Float32Array ? statistics : dequantizeAbsmax(statistics);
  const { source, offset, length } = weight.codes;
  const count = weight.shape.reduce((product, size) => product * size, 1);
  return dequantizeNf4(await source.read(offset, length), absmax, weight.blockSize, count);
}

/** Finite numbers of at least `least`. */
async function readFloats(info: TensorInfo, least = Number.NEGATIVE_INFINITY): Promise<Float32Array<ArrayBuffer>> {
  const values = new Float32Array((await info.source.read(info.offset, info.length)).buffer);
  const wrong = values.findIndex((value) => !(value >= least && Math.abs(value) < Number.POSITIVE_INFINITY));
  if (wrong < 0) return values;
  const wanted = least === 0 ? 'finite numbers from 0 on' : 'finite numbers';
  throw refuse(info, `expected ${wanted}, got ${values[wrong]} at element ${wrong}`);
}

/** Checks that a `quantization_config` of a config.json, where there is one, is one that this version reads. Throws `MODEL`. */
export function checkQuantizationConfig(config: Readonly<Record<string, unknown>>, where: string): void {
  const { quantization_config: given } = config;
  if (given === undefined || given === null) return;
  const fields = (typeof given === 'object' ? given : {}) as Record<string, unknown>;
  const method = fields.quant_method ?? (fields.load_in_4bit || fields.load_in_8bit ? 'bitsandbytes' : undefined);
  const bnb = `${method}` === 'bitsandbytes';
  const type = fields.bnb_4bit_quant_type ?? 'nf4';
  const got = !bnb
    ? `quant_method ${JSON.stringify(method)}`
    : fields.load_in_4bit !== true
      ? 'bitsandbytes without load_in_4bit'
      : `bnb_4bit_quant_type ${JSON.stringify(type)}`;
  if (bnb && fields.load_in_4bit === true && type === 'nf4') return;
  throw new SftError('MODEL', `${where}: quantization_config: expected 4-bit NF4 of bitsandbytes, got ${got}`, {
    hint: 'use the unquantised model',
  });
}
