/** The memory plan of a run from `config.json`, safetensors headers and the run's configuration alone: no GPU, no weights. */
import { countTrained, type LabelledTokens } from '../data/labels.ts';
import { packRows, type Sequence } from '../data/packing.ts';
import type { GpuTraits } from '../gpu/device.ts';
import { type Bytes, sumBytes } from '../gpu/ledger.ts';
import type { LoraOptions } from '../model/lora.ts';
import { Model } from '../model/model.ts';
import type { ModelFiles } from '../model/modelFiles.ts';
import type { QuantizationOptions } from '../model/quantization.ts';
import { SftError } from '../platform/errors.ts';
import { type Budget, gib } from './budget.ts';
import type { Config } from './config.ts';
import { Engine, type Shape, shapeFor } from './engine.ts';
import { type Precision, resolvePrecision } from './precision.ts';
import { chooseSplit, resolveBatch, type Split } from './resolveBatch.ts';

/** GPU memory that a run takes, in bytes, and how its steps are split. Names as in `memory.json` and in configurations. */
export interface MemoryPlan {
  readonly peak_bytes: number;
  readonly categories: Bytes;
  readonly batch_size: number;
  readonly gradient_accumulation_steps: number;
  readonly gradient_checkpointing: boolean;
}

/** The GPU that is planned for when there is none: bindings of 2 GiB, as drivers for real GPUs offer. */
export const IMAGINED_GPU: GpuTraits = {
  family: 'tiled',
  subgroupSize: 0,
  nativeF16: true,
  limits: {
    bufferBytes: 2 ** 31 - 4,
    bindingBytes: 2 ** 31 - 256,
    workgroupInvocations: 256,
    workgroupStorageBytes: 16384,
    storageBuffers: 8,
  },
};

/** The rows of a run, as far as they decide what it needs. */
export interface PlannedRows {
  readonly train: readonly LabelledTokens[];
  readonly eval: readonly LabelledTokens[];
}

/** What batches are made of: packed rows, or a row each. */
export interface PlannedSequences {
  readonly train: readonly Sequence[];
  readonly eval: readonly Sequence[];
}

/** How the rows of a step are split, what that takes, and why. */
export interface Choice extends Split {
  /** Null where a tensor is larger than the adapter can bind. */
  readonly bytes: Bytes | null;
  readonly reason: string;
}

/** Rows that `largestBatchSize` tries at most, and tokens in them: kernels that take few tokens a workgroup have a grid of 65535. */
const MOST_ROWS = 4096;
const MOST_TOKENS = 2 ** 17;

/** Plans one run for different splits of its steps, over one model. */
export class RunPlanner {
  readonly model: Model;
  readonly precision: Precision;
  /** Something to tell the user about the precision, once. */
  readonly warning: string | null;
  /** Null without rows. */
  readonly sequences: PlannedSequences | null;
  private readonly config: Config;
  private readonly traits: GpuTraits;
  private readonly known = new Map<string, Bytes | null>();

  /** Without rows, they are as long as `model.max_seq_len`, with all of their tokens trained. */
  constructor(
    files: ModelFiles,
    config: Config,
    traits: GpuTraits,
    rows: PlannedRows | null = null,
    lora = loraOptions(config.tuning),
  ) {
    this.model = declareModel(files, config, traits, lora);
    const { precision, warning } = resolvePrecision(config.train.precision, traits, this.model.spec);
    this.precision = precision;
    this.warning = warning;
    this.config = config;
    this.traits = traits;
    this.sequences = rows && { train: sequencesOf(rows.train, config), eval: sequencesOf(rows.eval, config) };
  }

  /** The engine of a split; nothing is allocated yet. */
  engine(batchSize: number, checkpointing: boolean): Engine {
    const { sequences, config } = this;
    const tokens = batchSize * config.model.max_seq_len;
    return new Engine(this.model, this.traits, {
      maxGradNorm: config.train.max_grad_norm,
      checkpointing,
      precision: this.precision,
      trainShape: sequences ? largestBatch(sequences.train, batchSize) : shapeFor(tokens, tokens),
      evalShape: sequences && sequences.eval.length > 0 ? largestBatch(sequences.eval, batchSize) : null,
    });
  }

  /** Exact bytes of a split; null where a tensor is larger than the adapter can bind. */
  bytes(batchSize: number, checkpointing: boolean): Bytes | null {
    const key = `${batchSize} ${checkpointing}`;
    let bytes = this.known.get(key);
    if (bytes === undefined) {
      try {
        bytes = this.engine(batchSize, checkpointing).plan();
      } catch (error) {
        if (!(error instanceof SftError) || error.code !== 'OUT_OF_MEMORY') throw error;
        bytes = null;
      }
      this.known.set(key, bytes);
    }
    return bytes;
  }

  /** Whether a split takes at most `budget` bytes; false where a tensor is larger than the adapter can bind. */
  fits(batchSize: number, checkpointing: boolean, budget: number): boolean {
    const bytes = this.bytes(batchSize, checkpointing);
    return bytes !== null && sumBytes(bytes) <= budget;
  }

  /** Replaces every `auto`. `before` is the batch of the checkpoint that a run continues from, kept where it still fits. */
  choose(budget: Budget | null, before: number | null = null): Choice {
    const { train } = this.config;
    const fits = (batchSize: number, checkpointing: boolean) =>
      this.fits(batchSize, checkpointing, budget?.bytes ?? Number.POSITIVE_INFINITY);
    let split = budget ? chooseSplit(train, fits) : { ...resolveBatch(train), checkpointing: asked(train) };
    const rows = split.batchSize * split.accumulation;
    if (before !== null && train.batch_size === 'auto' && before <= split.batchSize && rows % before === 0) {
      split = { ...split, batchSize: before, accumulation: rows / before };
    }
    const bytes = this.bytes(split.batchSize, split.checkpointing);
    return { ...split, bytes, reason: this.reason(split, budget) };
  }

  /** The largest batch whose plan fits; 0 when not even one row does. */
  largestBatchSize(budget: number, checkpointing: boolean): number {
    const most = Math.min(MOST_ROWS, Math.max(1, Math.floor(MOST_TOKENS / this.config.model.max_seq_len)));
    const fits = (size: number) => size <= most && this.fits(size, checkpointing, budget);
    let largest = 0;
    for (let size = 1; fits(size); size *= 2) largest = size;
    for (let step = largest / 2; step >= 1; step /= 2) if (fits(largest + step)) largest += step;
    return largest;
  }

  private reason({ batchSize, accumulation, checkpointing }: Split, budget: Budget | null): string {
    const { train, model } = this.config;
    const longest = this.sequences
      ? this.sequences.train.reduce((most, sequence) => Math.max(most, countTokens(sequence)), 0)
      : model.max_seq_len;
    const those = train.packing ? 'sequences' : 'rows';
    const auto = train.batch_size === 'auto' && train.gradient_accumulation_steps === 'auto';
    const room = budget ? `${gib(budget.bytes)} (${budget.source})` : 'no known budget';
    const batch = auto
      ? `batch_size ${batchSize} x ${accumulation}: the largest that fits ${room} with ${those} of up to ${longest} tokens`
      : `batch_size ${batchSize} x ${accumulation}: as configured, for ${room}`;
    if (train.gradient_checkpointing !== 'auto') return batch;
    const without = checkpointing ? this.bytes(batchSize, false) : null;
    const why = without ? `, without it the run needs ${gib(sumBytes(without))}` : '';
    return `${batch}; gradient checkpointing ${checkpointing ? 'on' : 'off'}${why}`;
  }
}

const asked = (train: Config['train']) => train.gradient_checkpointing === true;

function sequencesOf(rows: readonly LabelledTokens[], { train, model }: Config): Sequence[] {
  return train.packing ? packRows(rows, model.max_seq_len) : rows.map((row) => [row]);
}

const countTokens = (sequence: Sequence) => sequence.reduce((sum, { inputIds }) => sum + inputIds.length, 0);

/** The largest shape that any `batchSize` sequences can have together. */
function largestBatch(sequences: readonly Sequence[], batchSize: number): Shape {
  const most = (measure: (sequence: Sequence) => number) =>
    sequences
      .map(measure)
      .sort((a, b) => b - a)
      .slice(0, batchSize)
      .reduce((sum, count) => sum + count, 0);
  return shapeFor(
    most(countTokens),
    most((sequence) => sequence.reduce((sum, row) => sum + countTrained(row), 0)),
  );
}

/**
 * The plan for rows as long as `model.max_seq_len`, all of their tokens trained. Every `auto` is chosen for `budget`; without
 * one, batches are small and gradient checkpointing is off. Throws `OUT_OF_MEMORY` where the adapter cannot bind a tensor.
 */
export function planMemory(
  files: ModelFiles,
  config: Config,
  traits: GpuTraits = IMAGINED_GPU,
  budget: Budget | null = null,
): MemoryPlan {
  const planner = new RunPlanner(files, config, traits);
  return planOf(planner, planner.choose(budget));
}

/** A choice as it is told. Throws `OUT_OF_MEMORY` where the adapter cannot bind a tensor. */
export function planOf(planner: RunPlanner, { batchSize, accumulation, checkpointing, bytes }: Choice): MemoryPlan {
  const categories = bytes ?? planner.engine(batchSize, checkpointing).plan();
  return {
    peak_bytes: sumBytes(categories),
    categories,
    batch_size: batchSize,
    gradient_accumulation_steps: accumulation,
    gradient_checkpointing: checkpointing,
  };
}

/** The LoRA options that a configuration asks for. */
export function loraOptions({ lora }: Config['tuning']): LoraOptions {
  return {
    r: lora.r,
    alpha: lora.alpha,
    dropout: lora.dropout,
    targetModules: lora.target_modules,
    useRslora: lora.use_rslora,
  };
}

/** How the frozen base of a run is quantised, or null: in mode lora int8 is what was asked for, nf4 the default that is not. */
export function quantizationOf({ mode, quantization }: Config['tuning']): QuantizationOptions | null {
  const { type, block_size: blockSize, double_quant: doubleQuant } = quantization;
  return mode === 'qlora' || (mode === 'lora' && type === 'int8') ? { type, blockSize, doubleQuant } : null;
}

/** Declares the model of a run, its trained tensors included. `lora` overrides what the configuration asks for. */
export function declareModel(
  files: ModelFiles,
  config: Config,
  traits: GpuTraits,
  lora = loraOptions(config.tuning),
): Model {
  return new Model(files, traits.limits, {
    dtype: config.model.dtype,
    maxLength: config.model.max_seq_len,
    baseName: config.model.name,
    baseRevision: config.model.revision === 'main' ? null : config.model.revision,
    moments8bit: config.train.optimizer === 'adamw_8bit',
    quantization: quantizationOf(config.tuning),
    tuning: config.tuning.mode === 'full' ? { mode: 'full' } : { mode: 'lora', lora, trained: true },
  });
}
