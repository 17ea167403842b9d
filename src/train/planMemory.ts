/** The memory plan of a run from `config.json`, safetensors headers and the run's configuration alone: no GPU, no weights. */

import type { GpuTraits } from '../gpu/device.ts';
import { type Bytes, sumBytes } from '../gpu/ledger.ts';
import type { LoraOptions } from '../model/lora.ts';
import { Model, type ModelFiles } from '../model/model.ts';
import { SftError } from '../platform/errors.ts';
import type { Config } from './config.ts';
import { Engine, shapeFor } from './engine.ts';
import { resolveBatch } from './resolveBatch.ts';

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
  limits: {
    bufferBytes: 2 ** 31 - 4,
    bindingBytes: 2 ** 31 - 256,
    workgroupInvocations: 256,
    workgroupStorageBytes: 16384,
    storageBuffers: 8,
  },
};

/** The plan for rows as long as `model.max_seq_len`, all of their tokens trained. */
export function planMemory(files: ModelFiles, config: Config, traits: GpuTraits = IMAGINED_GPU): MemoryPlan {
  const { batchSize, accumulation } = resolveBatch(config.train);
  const engine = new Engine(declareModel(files, config, traits), traits, {
    maxGradNorm: config.train.max_grad_norm,
    checkpointing: config.train.gradient_checkpointing === true,
    trainShape: shapeFor(batchSize * config.model.max_seq_len, batchSize * config.model.max_seq_len),
    evalShape: null,
  });
  const categories = engine.plan();
  return {
    peak_bytes: sumBytes(categories),
    categories,
    batch_size: batchSize,
    gradient_accumulation_steps: accumulation,
    gradient_checkpointing: config.train.gradient_checkpointing === true,
  };
}

/** The largest `train.batch_size` whose plan fits into `budget` bytes, up to 4096; 0 when not even one row does. */
export function largestBatchSize(files: ModelFiles, config: Config, traits: GpuTraits, budget: number): number {
  const fits = (batchSize: number): boolean => {
    try {
      const train = { ...config.train, batch_size: batchSize };
      return planMemory(files, { ...config, train }, traits).peak_bytes <= budget;
    } catch (error) {
      if (error instanceof SftError && error.code === 'OUT_OF_MEMORY') return false;
      throw error;
    }
  };
  let most = 0;
  for (let size = 1; size <= 4096 && fits(size); size *= 2) most = size;
  for (let step = most / 2; step >= 1; step /= 2) if (fits(most + step)) most += step;
  return most;
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
    tuning: config.tuning.mode === 'full' ? { mode: 'full' } : { mode: 'lora', lora, trained: true },
  });
}
