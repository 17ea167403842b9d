/** A run as TRL's SFTTrainer would do it: its arguments by their names there, its rows, and what TRL has no equal for. */
import { packLengths } from '../data/packing.ts';
import { Decoder } from '../model/decoder.ts';
import { defaultTargetModules } from '../model/loraTargets.ts';
import { readSpec } from '../model/modelFiles.ts';
import { Parameters } from '../model/parameters.ts';
import { UNBOUND_LIMITS } from '../model/unbound.ts';
import { SftError } from '../platform/errors.ts';
import { Memory } from '../tensor/memory.ts';
import type { Config } from './config.ts';
import { openModelFolder } from './namedFiles.ts';
import { type ReadOptions, sourceOptions } from './openRows.ts';
import { openText } from './openText.ts';
import { quantizationOf } from './planMemory.ts';
import { resolveBatch } from './resolveBatch.ts';
import { hasEvaluation } from './run.ts';
import { warmupSteps } from './schedule.ts';
import { formOf, openTrlRows, type TrlForm, type TrlRows } from './trlRows.ts';

/** A value of Python: null is None. */
export type Argument = string | number | boolean | null | readonly Argument[] | { readonly [name: string]: Argument };
type Arguments = Readonly<Record<string, Argument>>;

/** What a script for TRL is written from. */
export interface TrlRun {
  readonly form: TrlForm;
  readonly train: TrlRows;
  readonly val: TrlRows | null;
  /** Text of the chat template in use. */
  readonly template: string | null;
  /** Arguments of `SFTConfig`, but for those that depend on the machine. */
  readonly training: Arguments;
  /** Arguments of `LoraConfig`; null in mode full, and where an adapter is gone on with. */
  readonly lora: Arguments | null;
  /** Arguments of `BitsAndBytesConfig`; null where nothing is quantised while it is loaded. */
  readonly quantization: Arguments | null;
  /** What is done otherwise there, one sentence each. */
  readonly differences: readonly string[];
}

/** Reads model, tokenizer and rows of a run. Needs no weights and no GPU. Throws `MODEL`, `DATA`, `TEMPLATE`, `CONFIG`. */
export async function openTrlRun(
  config: Config,
  given: ReadonlyMap<string, string>,
  options: ReadOptions = {},
): Promise<TrlRun> {
  const folder = await openModelFolder(config.model, sourceOptions(options));
  const { config: modelConfig, spec } = await readSpec(folder);
  const text = await openText(config, { model: folder });
  const train = await openTrlRows(config, 'train', text, options);
  if (!train) throw new SftError('CONFIG', 'data.train_path: expected a file of rows, got null');
  const val = (await hasEvaluation(config, given)) ? await openTrlRows(config, 'val', text, options) : null;
  const form = formOf([train, ...(val ? [val] : [])]);
  const isQuantized = modelConfig.quantization_config !== undefined;
  const decoder = new Decoder(
    new Parameters(new Memory(UNBOUND_LIMITS), { trained: null, storage: () => 'f32' }),
    spec,
  );
  const paths = decoder.linears.map(({ path }) => path);
  return {
    form,
    train,
    val,
    template: text.template?.text ?? null,
    training: trainingArguments(config, form, train, val !== null),
    lora: loraArguments(config, spec.modelType, paths),
    quantization: isQuantized ? null : quantizationArguments(config),
    differences: differences(config, given, { form, val }),
  };
}

function trainingArguments(config: Config, form: TrlForm, rows: TrlRows, evaluates: boolean): Arguments {
  const { train, data, logging, model } = config;
  const { batchSize, accumulation } = resolveBatch(train);
  const steps = totalSteps(config, rows);
  const best = train.load_best_model_at_end && evaluates;
  const trackers = [logging.backend].flat().filter((name) => name !== 'none');
  const { lr_scheduler: scheduler } = train;
  return {
    num_train_epochs: train.epochs,
    max_steps: train.max_steps,
    per_device_train_batch_size: batchSize,
    per_device_eval_batch_size: batchSize,
    gradient_accumulation_steps: accumulation,
    learning_rate: train.learning_rate,
    lr_scheduler_type: scheduler,
    ...(scheduler === 'cosine_with_min_lr' && { lr_scheduler_kwargs: { min_lr_rate: 0.1 } }),
    ...(scheduler === 'warmup_stable_decay' && { lr_scheduler_kwargs: { num_decay_steps: Math.ceil(0.1 * steps) } }),
    warmup_steps: warmupSteps(train, steps),
    optim: train.optimizer === 'adamw' ? 'adamw_torch' : 'adamw_bnb_8bit',
    weight_decay: train.weight_decay,
    adam_beta1: train.adam_beta1,
    adam_beta2: train.adam_beta2,
    adam_epsilon: train.adam_epsilon,
    max_grad_norm: train.max_grad_norm,
    // It changes no number, and without it TRL's batches may not fit.
    gradient_checkpointing: train.gradient_checkpointing === 'auto' ? true : train.gradient_checkpointing,
    max_length: model.max_seq_len,
    truncation_mode: data.truncation === 'keep_end' ? 'keep_end' : 'keep_start',
    packing: train.packing,
    ...(train.packing && { packing_strategy: 'bfd', eval_packing: true }),
    ...(form === 'messages' && { assistant_only_loss: data.train_on !== 'all' }),
    ...((form === 'turn' || form === 'completion') && { completion_only_loss: data.train_on !== 'all' }),
    train_sampling_strategy: train.shuffle ? 'random' : 'sequential',
    seed: train.seed,
    eval_strategy: evaluates ? train.eval_strategy : 'no',
    eval_steps: train.eval_steps,
    save_strategy: train.save_strategy,
    save_steps: train.save_steps,
    save_total_limit: train.save_total_limit,
    load_best_model_at_end: best,
    ...(best && { metric_for_best_model: 'eval_loss', greater_is_better: false }),
    logging_steps: logging.log_interval,
    report_to: trackers.length === 0 ? 'none' : trackers,
    project: logging.project,
    ...(logging.run_name !== null && { run_name: logging.run_name }),
  };
}

/** Optimizer steps of the whole run, as the trainer counts them. */
function totalSteps({ train, model }: Config, { rows }: TrlRows): number {
  if (train.max_steps > 0) return train.max_steps;
  const { batchSize, accumulation } = resolveBatch(train);
  const lengths = rows.map(({ inputIds }) => inputIds.length);
  const sequences = train.packing ? packLengths(lengths, model.max_seq_len).length : lengths.length;
  return Math.ceil(train.epochs * Math.ceil(Math.ceil(sequences / batchSize) / accumulation));
}

function loraArguments({ tuning }: Config, modelType: string, paths: readonly string[]): Arguments | null {
  const { lora, mode } = tuning;
  if (mode === 'full' || lora.init_from !== null) return null;
  return {
    task_type: 'CAUSAL_LM',
    r: lora.r,
    lora_alpha: lora.alpha,
    lora_dropout: lora.dropout,
    target_modules: lora.target_modules === 'auto' ? defaultTargetModules(modelType, paths) : lora.target_modules,
    bias: lora.bias,
    use_rslora: lora.use_rslora,
  };
}

function quantizationArguments({ tuning }: Config): Arguments | null {
  const quantization = quantizationOf(tuning);
  if (quantization === null) return null;
  if (quantization.type === 'int8') return { load_in_8bit: true };
  return {
    load_in_4bit: true,
    bnb_4bit_quant_type: 'nf4',
    bnb_4bit_use_double_quant: quantization.doubleQuant,
  };
}

interface Facts {
  readonly form: TrlForm;
  readonly val: TrlRows | null;
}

function differences(config: Config, given: ReadonlyMap<string, string>, { form, val }: Facts): string[] {
  const { train, tuning, data } = config;
  const quantization = quantizationOf(tuning);
  const isSet = (key: string) => [...given.keys()].some((name) => name === key || name.startsWith(`${key}.`));
  const without = ['tuning.backend', 'devices', 'pipeline', 'memory', 'logging.dashboard'].filter(isSet);
  const said: (string | false)[] = [
    train.shuffle && 'the same seed draws another order of the rows',
    tuning.mode !== 'full' &&
      tuning.lora.init_from === null &&
      'the same seed gives the adapters other random numbers at the start (their B is zero in both)',
    tuning.mode !== 'full' && tuning.lora.dropout > 0 && 'the same seed drops other inputs of the adapters',
    form === 'tokens' &&
      "the rows are token ids with their labels, because TRL's own masks would train other tokens of them",
    train.packing && 'TRL packs the rows of each thousand together, here those of the whole split',
    train.packing && 'packed rows see only themselves where FlashAttention is installed and chosen',
    train.precision === 'auto' && 'activations are bfloat16 where the GPU has it',
    train.precision === 'float16' && 'activations are float16 as autocast of PyTorch has it',
    quantization !== null && 'TRL keeps adapters over a quantised base in bfloat16',
    quantization?.type === 'nf4' &&
      quantization.blockSize !== 64 &&
      `4-bit weights share a scale by 64, not by ${quantization.blockSize} (tuning.quantization.block_size)`,
    quantization?.type === 'int8' && 'activations are quantised to 8 bits too',
    tuning.mode === 'qlora' && 'products of 4-bit weights are rounded to the type of the activations',
    train.batch_size === 'auto' && 'batch_size: auto does not look at the memory of the GPU',
    train.gradient_checkpointing === 'auto' && 'gradient_checkpointing: auto is on',
    val !== null && 'eval_loss is a mean over batches, here over tokens',
    val !== null &&
      train.metric_for_best_model !== 'eval_loss' &&
      `the best checkpoint is chosen by eval_loss, since TRL computes no ${train.metric_for_best_model}`,
    (data.truncation === 'drop' || data.truncation === 'error') &&
      'rows that were too long are left out of the files already',
    without.length > 0 && `${without.join(', ')}: there is nothing like it`,
  ];
  return said.filter((sentence) => sentence !== false);
}
