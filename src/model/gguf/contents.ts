/** What a GGUF file of a model or of an adapter holds. Weights are read when they are written, one tensor at a time. */
import { Memory } from '../../tensor/memory.ts';
import { loraScaling } from '../adapterConfig.ts';
import { Decoder, type DecoderSpec } from '../decoder.ts';
import { forRows, productRow, readSlices, readWeight, refuseOverflow, weightInfo } from '../fold.ts';
import type { ModelFiles } from '../modelFiles.ts';
import { Parameters } from '../parameters.ts';
import type { Adapter } from '../peft.ts';
import { ropeFactors } from '../rope.ts';
import { UNBOUND_LIMITS } from '../unbound.ts';
import { type GgufMetadata, type GgufTensor, type GgufType, type GgufValue, Q8_0_BLOCK } from './format.ts';
import { ggufArchitecture, ggufName, reorderRows, rowOrder } from './names.ts';

export interface GgufContents {
  readonly metadata: GgufMetadata;
  readonly tensors: readonly GgufTensor[];
}

/** `general.file_type`, of `llama_ftype`. */
const FILE_TYPES: Readonly<Record<GgufType, number>> = { f32: 0, f16: 1, q8_0: 7, bf16: 32 };
const QUANTIZATION_VERSION = 2;
const SMALLER = 'choose another --type: bf16 or f32 hold them';

export interface ModelContents {
  readonly type: GgufType;
  /** Shown by programs that list models. */
  readonly name: string;
  /** Folded into the weights. */
  readonly adapter: Adapter | null;
  /** `tokenizer.*`. */
  readonly vocabulary: GgufMetadata;
  readonly onTensor?: ((done: number, total: number) => void) | undefined;
}

/** A whole model. Throws `MODEL` when llama.cpp does not know its kind, and while it is written what reading weights does. */
export function modelContents(files: ModelFiles, options: ModelContents): GgufContents {
  const { type, name, adapter, vocabulary, onTensor = () => {} } = options;
  const { spec, folder } = files;
  const architecture = ggufArchitecture(spec, folder.name);
  const parameters = new Parameters(new Memory(UNBOUND_LIMITS), { trained: null, storage: () => 'f32' });
  new Decoder(parameters, spec);
  const pairs = adapter?.weights ?? new Map<string, never>();
  const all = [...parameters.all.values()];
  const tensors = all.map(({ name: tensor, shape }, index): GgufTensor => {
    const stored = typeOf(type, shape);
    const order = rowOrder(tensor, spec, architecture);
    const pair = pairs.get(tensor.replace(/\.weight$/, ''));
    const isSimple = order === null && !pair && !files.quantized.has(tensor);
    return {
      name: ggufName(tensor),
      type: stored,
      shape,
      async *values() {
        for await (const values of isSimple ? readSlices(weightInfo(files, tensor)) : whole()) {
          if (stored === 'f16') refuseOverflow(tensor, values, SMALLER);
          yield values;
        }
        onTensor(index + 1, all.length);
      },
    };

    async function* whole() {
      const values = await readWeight(files, tensor);
      if (adapter && pair) {
        const { config } = adapter;
        forRows(shape, (start, columns) => {
          const delta = productRow(pair, config.r, loraScaling(config), start / columns, columns);
          for (let column = 0; column < columns; column++) values[start + column]! += delta[column]!;
        });
      }
      yield order ? reorderRows(values, order) : values;
    }
  });
  const factors = ropeFactors(spec.rope, spec.attention.headSize);
  if (factors)
    tensors.push({ name: 'rope_freqs.weight', type: 'f32', shape: [factors.length], values: () => [factors] });
  const metadata = new Map<string, GgufValue>([
    ...general(architecture.name, 'model', name, type),
    ...sizes(spec, architecture.name),
    ...vocabulary,
  ]);
  return { metadata, tensors };
}

/** An adapter, as llama.cpp adds it to a model: its scale is alpha ÷ r there. Throws `MODEL`. */
export function adapterContents(
  spec: DecoderSpec,
  adapter: Adapter,
  { type, name, where }: { readonly type: GgufType; readonly name: string; readonly where: string },
): GgufContents {
  const architecture = ggufArchitecture(spec, where);
  const { r } = adapter.config;
  const tensors = [...adapter.weights].flatMap(([path, { A, B }]): GgufTensor[] => {
    const weight = `${path}.weight`;
    const order = rowOrder(weight, spec, architecture);
    const sides = [
      { side: 'a', shape: [r, A.length / r], values: A },
      { side: 'b', shape: [B.length / r, r], values: order ? reorderRows(B, order) : B },
    ];
    return sides.map(({ side, shape, values }) => {
      const stored = typeOf(type, shape);
      if (stored === 'f16') refuseOverflow(`${path}.lora_${side}`, values, SMALLER);
      return { name: `${ggufName(weight)}.lora_${side}`, type: stored, shape, values: () => [values] };
    });
  });
  const metadata = new Map<string, GgufValue>([
    ...general(architecture.name, 'adapter', name, type),
    ['adapter.type', { text: 'lora' }],
    ['adapter.lora.alpha', { f32: loraScaling(adapter.config) * r }],
  ]);
  return { metadata, tensors };
}

/** What every file begins with. */
function general(architecture: string, kind: 'model' | 'adapter', name: string, type: GgufType): [string, GgufValue][] {
  return [
    ['general.architecture', { text: architecture }],
    ['general.type', { text: kind }],
    ['general.name', { text: name }],
    ['general.file_type', { u32: FILE_TYPES[type] }],
    ['general.quantization_version', { u32: QUANTIZATION_VERSION }],
  ];
}

/** Vectors stay in 32 bits, and rows that are no whole blocks in 16. */
function typeOf(type: GgufType, shape: readonly number[]): GgufType {
  if (shape.length === 1) return 'f32';
  return type === 'q8_0' && (shape.at(-1) ?? 0) % Q8_0_BLOCK !== 0 ? 'f16' : type;
}

function sizes(spec: DecoderSpec, name: string): [string, GgufValue][] {
  const { attention, rope } = spec;
  const { type, theta, maxPositions, parameters } = rope;
  const entries: [string, GgufValue][] = [
    ['vocab_size', { u32: spec.vocabSize }],
    ['context_length', { u32: maxPositions }],
    ['embedding_length', { u32: attention.hidden }],
    ['block_count', { u32: spec.layers }],
    ['feed_forward_length', { u32: spec.inner }],
    ['attention.head_count', { u32: attention.heads }],
    ['attention.head_count_kv', { u32: attention.kvHeads }],
    ['attention.key_length', { u32: attention.headSize }],
    ['attention.value_length', { u32: attention.headSize }],
    ['attention.layer_norm_rms_epsilon', { f32: spec.normEps }],
    ['rope.dimension_count', { u32: attention.headSize }],
    ['rope.freq_base', { f32: theta }],
  ];
  if (type === 'linear' || type === 'yarn') {
    const original = parameters.original_max_position_embeddings ?? maxPositions;
    entries.push(
      ['rope.scaling.type', { text: type }],
      ['rope.scaling.factor', { f32: parameters.factor ?? maxPositions / original }],
    );
    if (type === 'yarn') entries.push(['rope.scaling.original_context_length', { u32: original }]);
  }
  return entries.map(([key, value]) => [`${name}.${key}`, value]);
}
