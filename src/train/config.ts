/**
 * Every key of a configuration: its type, its default, its range and the sentence that explains it. The TypeScript
 * type, `docs/config.md`, `configs/schema.json`, the command line's flags and the texts of errors are made from this.
 *
 * The schema says what may be written. What this version does not do yet, and what must fit together across keys, is in
 * `configRules.ts`; files, layers and positions are in `configFile.ts`.
 */
import { z } from 'zod';

/** Layers with a name: `preset: NAME` in a file (between base and run) or `--preset NAME` (above the run file). */
export const PRESETS = {
  default: { model: { max_seq_len: 1024 }, train: { epochs: 3, batch_size: 4 } },
  fast_test: { model: { max_seq_len: 512 }, train: { epochs: 1, batch_size: 2 } },
  full_training: { model: { max_seq_len: 2048 }, train: { epochs: 5, batch_size: 8 } },
  low_memory: { model: { max_seq_len: 512 }, train: { epochs: 3, batch_size: 1, gradient_checkpointing: true } },
} as const;

type PresetName = keyof typeof PRESETS;

/** Names that SFT-Play gave to the two kinds of kernels. */
export const BACKEND_ALIASES = { bnb: 'portable', unsloth: 'fast' } as const;

const METRICS = ['rouge_l', 'rouge_lsum', 'sari', 'exact_match', 'token_f1', 'schema', 'loss'] as const;
const EVAL_RESULTS = [
  'eval_loss',
  'eval_perplexity',
  'eval_rouge_l',
  'eval_rouge_lsum',
  'eval_sari',
  'eval_exact_match',
  'eval_token_f1',
  'eval_schema_regex',
  'eval_schema_json',
] as const;
const TRACKERS = ['none', 'tensorboard', 'wandb', 'trackio'] as const;

const auto = z.literal('auto');
const text = z.string().min(1);
const count = z.int().min(1);

const model = z.strictObject({
  name: text
    .nullable()
    .default(null)
    .transform((name, context) => {
      if (name !== null) return name;
      context.addIssue('expected a model folder or a hub id');
      return z.NEVER;
    })
    .describe('Model to fine-tune: a folder in Hugging Face layout or a hub id. Required.'),
  revision: text.default('main').describe('Branch, tag or commit of a model of the hub.'),
  type: z
    .enum(['causal', 'seq2seq'])
    .default('causal')
    .describe('Kind of model: decoder only, or encoder and decoder.'),
  max_seq_len: count.default(1024).describe('Longest row that is trained on, in tokens; longer rows are truncated.'),
  dtype: z
    .enum(['auto', 'float32', 'float16', 'bfloat16'])
    .default('auto')
    .describe('How frozen weights are stored; auto is as in the checkpoint. Trained base weights are always float32.'),
  chat_template: text
    .nullable()
    .default(null)
    .describe("Path of a .jinja chat template; null is the model's own, else chat_templates/default.jinja."),
  hub_url: text
    .nullable()
    .default(null)
    .describe('Address of the hub of models and data sets; null is HF_ENDPOINT, else the public hub.'),
});

const quantization = z.strictObject({
  type: z
    .enum(['nf4', 'int8'])
    .default('nf4')
    .describe(
      'Format of quantised base weights; int8 has one scale per row, no outlier split, and goes with mode lora too.',
    ),
  block_size: z
    .literal([32, 64, 128, 256, 512, 1024, 2048, 4096])
    .default(64)
    .describe('Weights that share one scale, in values; nf4 only.'),
  double_quant: z.boolean().default(true).describe('Whether the scales are quantised too, to 8 bits; nf4 only.'),
});

const lora = z.strictObject({
  r: count.default(16).describe('Rank of the adapters, in columns.'),
  alpha: z.number().positive().default(32).describe('Scale of the adapters: the update is multiplied by alpha / r.'),
  dropout: z.number().min(0).lt(1).default(0.05).describe("Share of the adapter's inputs dropped while training."),
  target_modules: z
    .union([text, z.array(text).min(1)])
    .default('auto')
    .describe(
      "Layers that get an adapter: auto (PEFT's choice for the model type, else q and v projections), all-linear, " +
        'a list of module names, or a regular expression that matches whole names.',
    ),
  bias: z
    .enum(['none', 'all', 'lora_only'])
    .default('none')
    .describe('Bias vectors that are trained with the adapters.'),
  use_rslora: z
    .boolean()
    .default(false)
    .describe('Whether the update is multiplied by alpha / √r instead of alpha / r.'),
  use_dora: z.boolean().default(false).describe('Whether a magnitude per output is trained too (DoRA).'),
  modules_to_save: z.array(text).default([]).describe('Modules trained whole and saved with the adapter, by name.'),
  init_from: text
    .nullable()
    .default(null)
    .describe(
      'PEFT adapter to start from, a folder or a hub id; its r, alpha and target_modules win, keys that contradict it are errors.',
    ),
});

const tuning = z.strictObject({
  mode: z
    .enum(['qlora', 'lora', 'full'])
    .default('qlora')
    .describe('What is trained: adapters over a 4-bit base, adapters over a 16- or 32-bit base, or all weights.'),
  backend: z
    .enum(['auto', 'fast', 'portable', 'bnb', 'unsloth'])
    .default('auto')
    .transform((name) => (name === 'bnb' || name === 'unsloth' ? BACKEND_ALIASES[name] : name))
    .describe(
      'Kernels: the fastest that the adapter offers, or those that run anywhere (bnb = portable, unsloth = fast).',
    ),
  quantization: quantization.prefault({}),
  lora: lora.prefault({}),
});

const train = z.strictObject({
  epochs: z.number().positive().default(3).describe('Passes over the training rows; a fraction stops within a pass.'),
  max_steps: z
    .union([z.literal(-1), count])
    .default(-1)
    .describe('Optimizer steps to train for; above 0 it overrides epochs.'),
  batch_size: z
    .union([auto, count])
    .default('auto')
    .describe('Rows (packed sequences with packing) that go through the model at once.'),
  gradient_accumulation_steps: z
    .union([auto, count])
    .default('auto')
    .describe('Batches whose gradients are summed for one optimizer step.'),
  effective_batch_size: count
    .default(16)
    .describe('Rows per optimizer step that auto keeps fixed: batch_size × gradient_accumulation_steps.'),
  learning_rate: z.number().min(0).default(2e-4).describe('Highest learning rate, reached when the warm-up ends.'),
  lr_scheduler: z
    .enum([
      'linear',
      'cosine',
      'cosine_with_restarts',
      'polynomial',
      'constant',
      'constant_with_warmup',
      'inverse_sqrt',
      'cosine_with_min_lr',
      'warmup_stable_decay',
    ])
    .default('linear')
    .describe(
      'Course of the learning rate over the steps, as transformers defines it; cosine_with_min_lr ends at a tenth, ' +
        'warmup_stable_decay falls to 0 in the last tenth of the steps.',
    ),
  warmup_ratio: z.number().min(0).max(1).default(0.03).describe('Share of all steps over which the rate rises from 0.'),
  warmup_steps: z.int().min(0).default(0).describe('Optimizer steps of warm-up; above 0 it overrides warmup_ratio.'),
  optimizer: z
    .enum(['adamw', 'adamw_8bit'])
    .default('adamw')
    .describe('AdamW with its two moments kept in 32 bits or in 8 bits a value.'),
  weight_decay: z
    .number()
    .min(0)
    .default(0)
    .describe('Decoupled decay per step, multiplied by the learning rate; never on bias and norm weights.'),
  adam_beta1: z.number().min(0).lt(1).default(0.9).describe("Decay per step of AdamW's mean of gradients."),
  adam_beta2: z.number().min(0).lt(1).default(0.999).describe("Decay per step of AdamW's mean of squared gradients."),
  adam_epsilon: z.number().positive().default(1e-8).describe("Added to AdamW's denominator."),
  max_grad_norm: z
    .number()
    .min(0)
    .default(1)
    .describe('Global gradient norm above which gradients are scaled down; 0 is off.'),
  precision: z
    .enum(['auto', 'float32', 'float16'])
    .default('auto')
    .describe('How activations are stored; auto is float16 on a GPU with shader-f16, else float32. Sums are float32.'),
  gradient_checkpointing: z
    .union([auto, z.boolean()])
    .default('auto')
    .describe(
      "Whether a layer's activations are computed again in the backward pass instead of kept: less memory, slower.",
    ),
  packing: z
    .boolean()
    .default(false)
    .describe(
      'Whether rows share sequences of up to model.max_seq_len tokens (best-fit decreasing), each seeing only itself.',
    ),
  shuffle: z.boolean().default(true).describe('Whether each epoch draws its rows in a new order; false is file order.'),
  seed: z
    .int()
    .min(0)
    .max(0xffffffff)
    .default(42)
    .describe('Start of all random numbers: splits, order, adapters, dropout.'),
  eval_strategy: z.enum(['no', 'steps', 'epoch']).default('epoch').describe('When the validation rows are evaluated.'),
  eval_steps: count.default(100).describe('Optimizer steps between evaluations when eval_strategy is steps.'),
  save_strategy: z.enum(['no', 'steps', 'epoch']).default('epoch').describe('When a checkpoint is written.'),
  save_steps: count.default(100).describe('Optimizer steps between checkpoints when save_strategy is steps.'),
  save_total_limit: count
    .nullable()
    .default(2)
    .describe('Checkpoints kept: the newest, and the best besides; null is all.'),
  load_best_model_at_end: z
    .boolean()
    .default(true)
    .describe('Whether the final model is the best checkpoint rather than the last step.'),
  metric_for_best_model: z
    .enum(EVAL_RESULTS)
    .default('eval_loss')
    .describe('Result by which checkpoints are compared.'),
  greater_is_better: z
    .boolean()
    .nullable()
    .default(null)
    .describe("Whether a larger result is better; null is decided by the metric's name."),
  early_stopping_patience: count
    .nullable()
    .default(null)
    .describe('Evaluations without a better result after which training ends; null is never.'),
});

const data = z.strictObject({
  raw_path: text
    .default('data/raw')
    .describe('File, folder or hub data set (owner/name) that the process command reads.'),
  train_path: text.default('data/processed/train.jsonl').describe('File, folder or hub data set of training rows.'),
  val_path: text
    .nullable()
    .default('data/processed/val.jsonl')
    .describe('File, folder or hub data set of validation rows; null is none.'),
  test_path: text
    .nullable()
    .default('data/processed/test.jsonl')
    .describe('File, folder or hub data set of test rows; null is none.'),
  format: z
    .enum(['auto', 'chat', 'messages', 'sharegpt', 'alpaca', 'qa', 'prompt_completion', 'text', 'documents'])
    .default('auto')
    .describe(
      'Shape of a row; auto looks at its keys. With documents, texts are cut into chunks and the rest is auto.',
    ),
  columns: z
    .record(text, text)
    .default({})
    .describe('Names of the columns in your files by the names used here, such as {user: Frage, assistant: Antwort}.'),
  prompt_template: text
    .nullable()
    .default(null)
    .describe("Text with {column} places; its lines that begin 'System:', 'User:' and 'Assistant:' become the roles."),
  split: z
    .tuple([z.number().min(0), z.number().min(0), z.number().min(0)])
    .default([0.8, 0.1, 0.1])
    .refine(([a, b, c]) => Math.abs(a + b + c - 1) < 1e-6, 'expected three shares that add up to 1')
    .describe('Shares of the rows that the process command gives to training, validation and test.'),
  style: text
    .nullable()
    .default(null)
    .describe('System text put into every row as it is read; null leaves rows alone.'),
  train_on: z
    .enum(['assistant', 'last_assistant', 'completion', 'all'])
    .default('assistant')
    .describe('Which tokens count in the loss.'),
  truncation: z
    .enum(['keep_start', 'keep_end', 'drop', 'error'])
    .default('keep_start')
    .describe('What happens to a row longer than model.max_seq_len.'),
  documents: z
    .strictObject({
      chunk_tokens: count
        .nullable()
        .default(null)
        .describe('Longest chunk of a document, in tokens with its end; null is model.max_seq_len.'),
      overlap_tokens: z
        .int()
        .min(0)
        .default(0)
        .describe('Most tokens of whole sentences, else words, at the end of a chunk that begin the next one again.'),
      mix_ratio: z
        .number()
        .min(0)
        .max(1)
        .nullable()
        .default(null)
        .describe(
          'Share of document rows among training rows, the larger side sampled down by train.seed; null keeps every row.',
        ),
    })
    .prefault({}),
});

const evaluation = z.strictObject({
  metrics: z
    .array(z.enum(METRICS))
    .min(1)
    .default(['rouge_l', 'exact_match'])
    .describe(
      'Results that the eval command computes; schema is those of eval.schema that are set, loss brings the perplexity.',
    ),
  limit: count
    .nullable()
    .default(null)
    .describe('Rows evaluated, from the first; null is all. Where training compares answers, it counts there too.'),
  quick_limit: count.default(200).describe('Rows evaluated with --quick.'),
  schema: z
    .strictObject({
      regex: text
        .nullable()
        .default(null)
        .describe('Regular expression (JavaScript) that is searched for in an answer.'),
      json_schema: text
        .nullable()
        .default(null)
        .describe('Path of a JSON schema that an answer must satisfy to comply.'),
    })
    .prefault({}),
});

const generation = z.strictObject({
  max_new_tokens: count.default(256).describe('Longest answer, in tokens.'),
  temperature: z
    .number()
    .min(0)
    .default(0.7)
    .describe('Divides the logits before sampling; 0 takes the likeliest token.'),
  top_p: z.number().gt(0).max(1).default(0.9).describe('Probability that the sampled tokens must cover; 1 is off.'),
  top_k: z.int().min(0).default(50).describe('Likeliest tokens that are sampled from; 0 is all.'),
  repetition_penalty: z
    .number()
    .positive()
    .default(1)
    .describe('Factor against tokens that were already used; 1 is off.'),
  stop: z.array(text).default([]).describe('Texts that end an answer.'),
});

const logging = z.strictObject({
  backend: z
    .union([z.enum(TRACKERS), z.array(z.enum(TRACKERS))])
    .default('none')
    .describe('Where numbers are sent besides events.jsonl, which is always written.'),
  project: text.default('webgpu-sft').describe('Project name shown by the trackers.'),
  run_name: text.nullable().default(null).describe("Run name shown by the trackers; null is the output folder's name."),
  log_interval: count.default(10).describe('Optimizer steps between two rows of the log.'),
  dashboard: z
    .union([z.boolean(), z.int().min(1).max(65535)])
    .default(false)
    .describe('Whether a live page is served while training; a number is its port.'),
});

/** The whole configuration. Strict: a key that is not here is an error. */
export const configSchema = z.strictObject({
  base: text
    .nullable()
    .default(null)
    .describe('YAML file that this one builds on, relative to this one; bases may nest.'),
  preset: z
    .enum(Object.keys(PRESETS) as [PresetName, ...PresetName[]])
    .nullable()
    .default(null)
    .describe('Named settings that lie over the base and under this file.'),
  output_dir: text.default('outputs/run').describe('Folder that the run writes to.'),
  model: model.prefault({}),
  tuning: tuning.prefault({}),
  train: train.prefault({}),
  data: data.prefault({}),
  eval: evaluation.prefault({}),
  generation: generation.prefault({}),
  logging: logging.prefault({}),
  memory: z
    .strictObject({
      budget_gib: z
        .number()
        .positive()
        .nullable()
        .default(null)
        .describe(
          'GPU memory that a run may use, in GiB; null is what was detected, else a careful guess that is printed.',
        ),
    })
    .prefault({}),
  devices: z
    .union([auto, z.array(text).min(1)])
    .default('auto')
    .describe('Adapters to use, by a part of their names; several are the stages of a pipeline, in order.'),
  pipeline: z
    .strictObject({
      microbatches: z
        .union([auto, count])
        .default('auto')
        .describe('Parts that each batch is cut into on its way over the stages.'),
      schedule: z.enum(['1f1b']).default('1f1b').describe('Order of forward and backward passes over the stages.'),
      split: z
        .union([auto, z.array(count).min(1)])
        .default('auto')
        .describe('Layers of each stage, in order.'),
    })
    .prefault({}),
});

/** A configuration with every key present. */
export type Config = z.infer<typeof configSchema>;

/** What a person may write: every key optional. */
export type ConfigInput = z.input<typeof configSchema>;
