/** Qwen2 and Qwen2.5: Llama with biases on queries, keys and values. Source: transformers, models/qwen2. */
import { z } from 'zod';
import { defineArchitecture, hiddenAct, sharedFields, size } from '../architecture.ts';
import { ropeConfig, ropeFields } from '../rope.ts';

const schema = z.object({
  ...sharedFields,
  ...ropeFields,
  model_type: z.literal('qwen2'),
  hidden_act: hiddenAct.default('silu'),
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  tie_word_embeddings: z.boolean().default(false),
  rms_norm_eps: z.number().positive().default(1e-6),
  use_sliding_window: z.boolean().default(false),
  sliding_window: size.nullish(),
  max_window_layers: z.int().nonnegative().default(28),
  layer_types: z.array(z.enum(['full_attention', 'sliding_attention'])).nullish(),
});

type Config = z.infer<typeof schema>;

/** Layers from `max_window_layers` on look back `sliding_window` tokens, where that is switched on. */
function windows(config: Config): number[] {
  const window = config.use_sliding_window ? (config.sliding_window ?? 0) : 0;
  return Array.from({ length: config.num_hidden_layers }, (_, layer) => {
    const sliding = config.layer_types
      ? config.layer_types[layer] === 'sliding_attention'
      : layer >= config.max_window_layers;
    return sliding ? window : 0;
  });
}

export const qwen2 = defineArchitecture({
  schema,
  harmless: [],
  spec: (config) => ({
    modelType: 'qwen2',
    vocabSize: config.vocab_size,
    layers: config.num_hidden_layers,
    inner: config.intermediate_size,
    attention: {
      hidden: config.hidden_size,
      heads: config.num_attention_heads,
      kvHeads: config.num_key_value_heads ?? config.num_attention_heads,
      headSize: config.head_dim ?? config.hidden_size / config.num_attention_heads,
      qkvBias: true,
      outputBias: false,
    },
    windows: windows(config),
    mlpBias: false,
    activation: config.hidden_act,
    normEps: config.rms_norm_eps,
    tied: config.tie_word_embeddings,
    rope: ropeConfig(config),
  }),
});
