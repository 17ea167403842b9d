/** Llama (1 to 3.x, SmolLM, and others that say `model_type: llama`). Source: transformers, models/llama. */
import { z } from 'zod';
import { defineArchitecture, hiddenAct, sharedFields, size } from '../architecture.ts';
import { ropeConfig, ropeFields } from '../rope.ts';

const schema = z.object({
  ...sharedFields,
  ...ropeFields,
  model_type: z.literal('llama'),
  hidden_act: hiddenAct.default('silu'),
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(false),
  rms_norm_eps: z.number().positive().default(1e-6),
});

export const llama = defineArchitecture({
  schema,
  harmless: ['pretraining_tp'],
  spec: (config) => ({
    modelType: 'llama',
    vocabSize: config.vocab_size,
    layers: config.num_hidden_layers,
    inner: config.intermediate_size,
    attention: {
      hidden: config.hidden_size,
      heads: config.num_attention_heads,
      kvHeads: config.num_key_value_heads ?? config.num_attention_heads,
      headSize: config.head_dim ?? config.hidden_size / config.num_attention_heads,
      qkvBias: config.attention_bias,
      outputBias: config.attention_bias,
    },
    windows: Array(config.num_hidden_layers).fill(0),
    mlpBias: config.mlp_bias,
    activation: config.hidden_act,
    normEps: config.rms_norm_eps,
    tied: config.tie_word_embeddings,
    rope: ropeConfig(config),
  }),
});
