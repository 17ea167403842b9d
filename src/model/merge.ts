/**
 * Folds an adapter into its base: W + scaling · B · A, tensor by tensor, on the CPU. The result is a model folder that
 * transformers loads. Only one tensor is in memory at a time.
 *
 * An adapter that was trained over a quantised base Q(W) learnt to correct that. It may be folded into W, which is the
 * better base, or into Q(W), which gives the model that was trained. Both choices are measured against that model.
 */
import { SftError } from '../platform/errors.ts';
import type { ReadableFolder, StagedFolder } from '../platform/types.ts';
import { VERSION } from '../platform/version.ts';
import { Memory } from '../tensor/memory.ts';
import { loraScaling } from './adapterConfig.ts';
import { writeCheckpoint } from './checkpoint.ts';
import { copyCompanions } from './companions.ts';
import { Decoder } from './decoder.ts';
import { bytesToF32, type FloatDtype, f32ToBytes } from './dtype.ts';
import { forRows, productRow, readWeight, refuseOverflow } from './fold.ts';
import { openAdapterFolder } from './lora.ts';
import type { ModelFiles } from './modelFiles.ts';
import { Parameters } from './parameters.ts';
import { type QuantizationOptions, quantizationName, quantizedValues } from './quantization.ts';
import { MERGE_FILE } from './recordFiles.ts';
import { UNBOUND_LIMITS } from './unbound.ts';

/** What merged weights are stored in, by its name in PyTorch. */
export type MergeDtype = 'float32' | 'float16' | 'bfloat16';

/** The weights that an adapter is folded into: those of the folder, or what quantisation left of them. */
export type MergeBase = 'original' | 'dequantized';

const FILE_DTYPE: Readonly<Record<MergeDtype, FloatDtype>> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };

export interface MergeOptions {
  readonly dtype: MergeDtype;
  /** `original` if left out, where the folder has those: one in 4 bits has only `dequantized`. */
  readonly base?: MergeBase | undefined;
  /** How the base was quantised while the adapter was trained; null where it was not, or is so in its folder. */
  readonly quantization?: QuantizationOptions | null | undefined;
  readonly onProgress?: (done: number, total: number) => void;
}

/** What was merged, as `merge.json` has it too. */
export interface MergeReport {
  readonly base: string;
  readonly adapter: string;
  readonly dtype: MergeDtype;
  readonly base_weights: MergeBase;
  /** Of the base that the adapter was trained over; null where that was not quantised. */
  readonly quantization: string | null;
  /**
   * ‖merged − trained‖ ÷ ‖trained‖ over all linear layers, for either choice of the base; null where nothing was quantised,
   * or where there are no original weights.
   */
  readonly weight_error: { readonly original: number | null; readonly dequantized: number } | null;
  readonly 'webgpu-sft': string;
}

/**
 * Writes the merged model. Throws `ADAPTER` when the adapter does not fit, `NUMERIC` when a sum does not fit the dtype, and
 * `MODEL` when there are no weights of the kind that `base` asks for.
 */
export async function mergeAdapter(
  files: ModelFiles,
  adapterFolder: ReadableFolder,
  out: StagedFolder,
  options: MergeOptions,
): Promise<MergeReport> {
  const { dtype, quantization = null, onProgress = () => {} } = options;
  const base = chooseBase(files, options);
  const parameters = new Parameters(new Memory(UNBOUND_LIMITS), { trained: null, storage: () => 'f32' });
  const decoder = new Decoder(parameters, files.spec);
  const linears = new Set(decoder.linears.map(({ path }) => `${path}.weight`));
  const adapter = await openAdapterFolder(adapterFolder, decoder);
  const { r } = adapter.config;
  const scaling = loraScaling(adapter.config);
  const errors = { original: new RelativeError(), dequantized: new RelativeError() };
  const all = [...parameters.all.values()].filter(({ name }) => files.checkpoint.tensors.has(name));
  let done = 0;
  const tensors = all.map(({ name, shape }) => ({
    name,
    dtype: FILE_DTYPE[dtype],
    shape,
    async *bytes() {
      const { original, trained } = await readBase(files, name, shape, linears.has(name) ? quantization : null);
      const chosen = (base === 'original' ? original : trained) ?? original ?? trained;
      if (!chosen) throw new SftError('INTERNAL', `${name} has no values`);
      const pair = adapter.weights.get(name.replace(/\.weight$/, ''));
      const merged = new Float32Array(chosen.length);
      const round = (values: Float32Array<ArrayBuffer>) =>
        bytesToF32(f32ToBytes(values, FILE_DTYPE[dtype]), FILE_DTYPE[dtype]);
      forRows(shape, (start, columns) => {
        const delta = pair ? productRow(pair, r, scaling, start / columns, columns) : null;
        const plus = (values: Float32Array) =>
          values.slice(start, start + columns).map((value, column) => value + (delta?.[column] ?? 0));
        merged.set(plus(chosen), start);
        if (!trained) return;
        const wanted = plus(trained);
        if (original) errors.original.add(round(plus(original)), wanted);
        errors.dequantized.add(round(wanted), wanted);
      });
      if (dtype === 'float16') refuseOverflow(name, merged, 'merge with --dtype bfloat16 or float32');
      done += 1;
      onProgress(done, all.length);
      yield f32ToBytes(merged, FILE_DTYPE[dtype]);
    },
  }));
  await writeCheckpoint(out, tensors);
  const { torch_dtype: _, quantization_config: __, ...config } = files.config;
  await out.write('config.json', `${JSON.stringify({ ...config, dtype }, null, 2)}\n`);
  const inFile = files.quantized.size > 0;
  const report: MergeReport = {
    base: files.folder.name,
    adapter: adapterFolder.name,
    dtype,
    base_weights: base,
    quantization: inFile ? 'nf4' : quantization && quantizationName(quantization),
    weight_error:
      inFile || quantization
        ? { original: inFile ? null : errors.original.value, dequantized: errors.dequantized.value }
        : null,
    'webgpu-sft': VERSION,
  };
  await out.write(MERGE_FILE, mergeJson(report));
  await copyCompanions(out, adapterFolder, files.folder);
  return report;
}

/** The text of `merge.json`. */
export function mergeJson(report: object): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

function chooseBase({ folder, quantized }: ModelFiles, { base, quantization }: MergeOptions): MergeBase {
  const inFile = quantized.size > 0;
  const wanted = base ?? (inFile ? 'dequantized' : 'original');
  if (wanted === 'original' && inFile) {
    throw new SftError('MODEL', `${folder.name}: expected original weights to merge into, got weights in 4 bits`, {
      hint: 'name the model that they were made from with --model, or merge with --base dequantized',
    });
  }
  if (wanted === 'dequantized' && !inFile && !quantization) {
    throw new SftError('MODEL', `${folder.name}: expected a quantised base for --base dequantized, got none`, {
      hint: 'an adapter over an unquantised base is merged with --base original',
    });
  }
  return wanted;
}

/** A weight as it is in the folder, and as the adapter saw it where that is something else. */
async function readBase(
  files: ModelFiles,
  name: string,
  shape: readonly number[],
  quantization: QuantizationOptions | null,
): Promise<{ original: Float32Array<ArrayBuffer> | null; trained: Float32Array<ArrayBuffer> | null }> {
  const original = await readWeight(files, name);
  if (files.quantized.has(name)) return { original: null, trained: original };
  // Where the folder is in 4 bits, its other weights are as they are.
  const quantized = quantization !== null && files.quantized.size === 0;
  return { original, trained: quantized ? quantizedValues(original, shape[1] ?? 1, quantization) : null };
}

/** ‖got − wanted‖ ÷ ‖wanted‖, summed up. */
class RelativeError {
  private difference = 0;
  private norm = 0;

  add(got: Float32Array, wanted: Float32Array): void {
    for (let i = 0; i < wanted.length; i++) {
      const value = wanted[i] as number;
      this.difference += ((got[i] as number) - value) ** 2;
      this.norm += value ** 2;
    }
  }

  get value(): number {
    return this.norm === 0 ? 0 : Math.sqrt(this.difference / this.norm);
  }
}
