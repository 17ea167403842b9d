/** The facts of a run that its model card tells. */
import type { Model } from '../model/model.ts';
import type { ModelCard } from '../model/modelCard.ts';
import type { Config } from './config.ts';
import type { Split } from './resolveBatch.ts';

/** The card of a run of so many rows that stands at a step. */
export function cardOf(config: Config, model: Model, split: Split, rows: number, steps: number): ModelCard {
  const { train, tuning } = config;
  return {
    kind: model.lora ? 'adapter' : 'model',
    baseModel: config.model.name,
    task: 'text-generation',
    settings: {
      mode: tuning.mode,
      ...(model.lora && { r: model.lora.config.r, lora_alpha: model.lora.config.lora_alpha }),
      rows,
      steps,
      batch_size: split.batchSize,
      gradient_accumulation_steps: split.accumulation,
      learning_rate: train.learning_rate,
      lr_scheduler: train.lr_scheduler,
      max_seq_len: config.model.max_seq_len,
      seed: train.seed,
    },
  };
}
