/**
 * How an architecture file reads `config.json`: it names the fields that it uses, and everything else must be known to
 * change nothing. A field that nobody understood is refused by name: ignoring it would train a different model.
 */
import { z } from 'zod';
import type { Activation } from '../kernels/gatedActivation.ts';
import { SftError } from '../platform/errors.ts';
import type { DecoderSpec } from './decoder.ts';

export const size = z.int().positive();

/** Hugging Face's names of activations. */
export const hiddenAct = z
  .enum(['silu', 'swish', 'gelu', 'gelu_pytorch_tanh', 'gelu_new'])
  .transform(
    (name): Activation =>
      (({ silu: 'silu', swish: 'silu', gelu: 'gelu', gelu_pytorch_tanh: 'gelu_tanh', gelu_new: 'gelu_tanh' }) as const)[
        name
      ],
  );

/** Fields that all decoders have. */
export const sharedFields = {
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  attention_dropout: z.number().min(0).max(1).nullish(),
};

/** Fields of any config.json that change nothing in what is computed. */
const HARMLESS = new Set([
  'architectures',
  'auto_map',
  'bos_token_id',
  'eos_token_id',
  'pad_token_id',
  'sep_token_id',
  'unk_token_id',
  'dtype',
  'torch_dtype',
  'transformers_version',
  'initializer_range',
  'use_cache',
  'name_or_path',
  'model_name',
  'unsloth_fixed',
  'unsloth_version',
  'is_llama_config',
  'output_attentions',
  'output_hidden_states',
  'return_dict',
  'problem_type',
  'id2label',
  'label2id',
  'task_specific_params',
  'tokenizer_class',
  'prefix',
  'finetuning_task',
  'bad_words_ids',
  'max_length',
  'min_length',
  'temperature',
  'top_k',
  'top_p',
  'do_sample',
  'repetition_penalty',
  'num_beams',
  'chunk_size_feed_forward',
  'transformers.js_config',
  // Checked where the weights are opened.
  'quantization_config',
]);

/** How models of one `model_type` are read. */
export interface Architecture {
  readonly modelType: string;
  /** Reads a parsed config.json. Throws `MODEL` naming the field that does not fit. */
  parse(config: Readonly<Record<string, unknown>>, where: string): DecoderSpec;
}

export function defineArchitecture<S extends z.ZodObject<{ model_type: z.ZodLiteral<string> }>>(definition: {
  readonly schema: S;
  readonly harmless: readonly string[];
  readonly spec: (config: z.infer<S>) => Omit<DecoderSpec, 'warnings'>;
}): Architecture {
  const { schema, harmless } = definition;
  const modelType = [...schema.shape.model_type.values][0] ?? '';
  return {
    modelType,
    parse(config, where) {
      const parsed = schema.safeParse(config);
      if (!parsed.success) {
        const [issue] = parsed.error.issues;
        const field = issue?.path.join('.') ?? '';
        throw new SftError('MODEL', `${where}: ${field}: ${issue?.message ?? 'does not fit'}`, {
          hint: `this version supports the ${modelType} architecture as transformers writes it; other variants are not supported`,
        });
      }
      const unknown = Object.entries(config).filter(
        ([name, value]) =>
          !(name in schema.shape) &&
          !HARMLESS.has(name) &&
          !harmless.includes(name) &&
          !name.startsWith('_') &&
          value !== null &&
          value !== false,
      );
      if (unknown.length > 0) {
        throw new SftError(
          'MODEL',
          `${where}: fields that this version does not support: ${unknown.map(([name]) => name).join(', ')}`,
          { hint: 'the model may compute something else than its architecture says; use a model without them' },
        );
      }
      const spec = definition.spec(parsed.data);
      checkSizes(spec, where);
      const dropout = Number(config.attention_dropout ?? 0);
      const warnings = dropout > 0 ? [`attention_dropout ${dropout} of ${where} is not applied`] : [];
      return { ...spec, warnings };
    },
  };
}

function checkSizes({ attention: { heads, kvHeads, headSize } }: Omit<DecoderSpec, 'warnings'>, where: string): void {
  if (!Number.isInteger(headSize) || headSize % 4 !== 0 || headSize > 256) {
    throw new SftError('MODEL', `${where}: head_dim: expected a multiple of 4, at most 256, got ${headSize}`);
  }
  if (heads % kvHeads !== 0) {
    throw new SftError(
      'MODEL',
      `${where}: num_attention_heads: expected a multiple of num_key_value_heads ${kvHeads}, got ${heads}`,
    );
  }
}
