/**
 * What llama.cpp calls things: architectures, tensors, and the order of rows that its rotary embedding wants.
 * Source: llama.cpp, gguf-py/gguf/constants.py and conversion/.
 */
import { SftError } from '../../platform/errors.ts';
import type { DecoderSpec } from '../decoder.ts';

interface GgufArchitecture {
  readonly name: string;
  /** Whether queries and keys are rotated in pairs of neighbours there, not in halves as in transformers. */
  readonly interleaved: boolean;
}

/** By `model_type`. */
const ARCHITECTURES: Readonly<Record<string, GgufArchitecture>> = {
  llama: { name: 'llama', interleaved: true },
  qwen2: { name: 'qwen2', interleaved: false },
};

/** Throws `MODEL` for what llama.cpp's graph of that architecture does not compute. */
export function ggufArchitecture(spec: DecoderSpec, where: string): GgufArchitecture {
  const { modelType, windows, activation, rope } = spec;
  const known = Object.hasOwn(ARCHITECTURES, modelType) ? ARCHITECTURES[modelType] : undefined;
  if (!known) {
    throw new SftError('MODEL', `${where}: model_type "${modelType}" cannot be written as GGUF`, {
      hint: `these can: ${Object.keys(ARCHITECTURES).join(', ')}`,
    });
  }
  const wrong = [
    windows.some((window) => window > 0) && 'sliding windows',
    activation !== 'silu' && `activation ${activation}`,
    rope.type === 'dynamic' && 'dynamic rope scaling',
    rope.type === 'yarn' && hasOwnYarn(rope) && 'parameters of YaRN other than its defaults',
  ].filter((what) => what !== false);
  if (wrong.length === 0) return known;
  throw new SftError('MODEL', `${where}: llama.cpp has no ${wrong.join(' and no ')} for ${known.name}`, {
    hint: 'the file would be read there and compute something else',
  });
}

/** A file says the factor and the original length; the rest has the values of the paper there. */
function hasOwnYarn({ parameters }: DecoderSpec['rope']): boolean {
  const { attention_factor, mscale, mscale_all_dim, beta_fast, beta_slow, truncate } = parameters;
  if (attention_factor != null || mscale != null || mscale_all_dim != null) return true;
  return (beta_fast ?? 32) !== 32 || (beta_slow ?? 1) !== 1 || truncate === false;
}

const MODULES: Readonly<Record<string, string>> = {
  'model.embed_tokens': 'token_embd',
  'model.norm': 'output_norm',
  lm_head: 'output',
};

const LAYER_MODULES: Readonly<Record<string, string>> = {
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  post_attention_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
};

/** `model.layers.3.self_attn.q_proj.weight` → `blk.3.attn_q.weight`. */
export function ggufName(name: string): string {
  const [, module = '', kind = ''] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
  const [, layer, inner = ''] = /^model\.layers\.(\d+)\.(.*)$/.exec(module) ?? [];
  const found = layer === undefined ? MODULES[module] : LAYER_MODULES[inner];
  if (found === undefined) throw new SftError('INTERNAL', `${name} has no name in GGUF`);
  return layer === undefined ? `${found}.${kind}` : `blk.${layer}.${found}.${kind}`;
}

/**
 * The row of the model that comes at each place of a query or key matrix where pairs are neighbours: of each head, rows 0, D/2, 1,
 * D/2 + 1 … of D. Null for tensors that stay as they are.
 */
export function rowOrder(name: string, spec: DecoderSpec, { interleaved }: GgufArchitecture): Int32Array | null {
  if (!interleaved || !/\.self_attn\.[qk]_proj\./.test(name)) return null;
  const { heads, kvHeads, headSize } = spec.attention;
  const rows = (name.includes('.q_proj.') ? heads : kvHeads) * headSize;
  return Int32Array.from({ length: rows }, (_, place) => {
    const within = place % headSize;
    return place - within + (within % 2) * (headSize / 2) + Math.floor(within / 2);
  });
}

/** The rows of a matrix [rows, columns], or the elements of a vector, in another order. */
export function reorderRows(values: Float32Array<ArrayBuffer>, order: Int32Array): Float32Array<ArrayBuffer> {
  const columns = values.length / order.length;
  const reordered = new Float32Array(values.length);
  for (const [place, row] of order.entries()) {
    reordered.set(values.subarray(row * columns, (row + 1) * columns), place * columns);
  }
  return reordered;
}
