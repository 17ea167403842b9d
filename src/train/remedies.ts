/** What to change so that a run takes less memory, each change with what it saves, computed by the planner. */
import type { LabelledTokens } from '../data/labels.ts';
import type { GpuTraits } from '../gpu/device.ts';
import { sumBytes } from '../gpu/ledger.ts';
import type { LoraOptions } from '../model/lora.ts';
import type { ModelFiles } from '../model/modelFiles.ts';
import { SftError } from '../platform/errors.ts';
import type { Budget } from './budget.ts';
import type { Config } from './config.ts';
import { NOT_YET } from './configRules.ts';
import { type Choice, loraOptions, type PlannedRows, RunPlanner } from './planMemory.ts';
import { halve } from './resolveBatch.ts';

/** What is planned. */
export interface PlannedRun {
  readonly files: ModelFiles;
  readonly config: Config;
  readonly traits: GpuTraits;
  readonly rows?: PlannedRows | null;
  readonly lora?: LoraOptions;
}

/** A change of the configuration, with the bytes that the run takes at its peak then and how many that saves. */
export interface Remedy {
  /** Keys and their new values. */
  readonly set: Readonly<Record<string, string | number | boolean>>;
  readonly peak_bytes: number;
  readonly saving_bytes: number;
  readonly fits: boolean;
}

/** A change and the run that it makes. */
interface Change {
  readonly set: Remedy['set'];
  readonly run: PlannedRun;
}

/** `train.batch_size: 1 and train.gradient_checkpointing: true`. */
export function describeChange(set: Remedy['set']): string {
  return Object.entries(set)
    .map(([key, value]) => `${key}: ${value}`)
    .join(' and ');
}

/** All changes that save memory on their own, those first that cost the least in time and quality. */
export function remedies(run: PlannedRun, choice: Choice, budget: Budget | null): Remedy[] {
  const before = choice.bytes ? sumBytes(choice.bytes) : Number.POSITIVE_INFINITY;
  return steps(run.config, choice).flatMap((step) => {
    const { set, run: changed } = step(run);
    const peak = peakOf(changed, choice);
    if (peak === null || peak >= before) return [];
    return [{ set, peak_bytes: peak, saving_bytes: before - peak, fits: budget !== null && peak <= budget.bytes }];
  });
}

/** The first change that makes a run fit, or else the first few together; null where all together do not. */
export function cheapestChange(run: PlannedRun, choice: Choice, budget: Budget): Remedy['set'] | null {
  const alone = remedies(run, choice, budget).find(({ fits }) => fits);
  if (alone) return alone.set;
  let changed = run;
  let set: Remedy['set'] = {};
  let peak = choice.bytes ? sumBytes(choice.bytes) : Number.POSITIVE_INFINITY;
  for (let round = 0; round < 8; round++) {
    const start = peak;
    for (const step of steps(changed.config, planned(changed, choice))) {
      const next = step(changed);
      const then = peakOf(next.run, choice);
      if (then === null || then >= peak) continue;
      set = { ...set, ...next.set };
      if (then <= budget.bytes) return set;
      [changed, peak] = [next.run, then];
    }
    if (peak === start) break;
  }
  return null;
}

const MIN_LENGTH = 64;

/** The changes that are open to a configuration. */
function steps({ train, tuning, model }: Config, { batchSize, accumulation, checkpointing }: Choice) {
  const made: ((run: PlannedRun) => Change)[] = [];
  const smaller = halve({ batchSize, accumulation });
  if (smaller) {
    made.push((run) =>
      withKeys(run, {
        'train.batch_size': smaller.batchSize,
        'train.gradient_accumulation_steps': smaller.accumulation,
      }),
    );
  }
  if (!checkpointing) made.push((run) => withKeys(run, { 'train.gradient_checkpointing': true }));
  if (train.precision !== 'float16') made.push((run) => withKeys(run, { 'train.precision': 'float16' }));
  if (train.optimizer !== 'adamw_8bit') made.push((run) => withKeys(run, { 'train.optimizer': 'adamw_8bit' }));
  if (tuning.mode !== 'qlora') made.push((run) => withKeys(run, { 'tuning.mode': 'qlora' }));
  const { r } = tuning.lora;
  if (tuning.mode !== 'full' && r > 1) made.push((run) => withKeys(run, { 'tuning.lora.r': Math.ceil(r / 2) }));
  const length = Math.ceil(model.max_seq_len / 2);
  if (length >= MIN_LENGTH) made.push((run) => withKeys(run, { 'model.max_seq_len': length }));
  return made;
}

function withKeys(run: PlannedRun, set: Remedy['set']): Change {
  const config = structuredClone(run.config);
  for (const [path, value] of Object.entries(set)) {
    const keys = path.split('.');
    const last = keys.pop() ?? '';
    let at: Record<string, unknown> = config;
    for (const key of keys) at = at[key] as Record<string, unknown>;
    at[last] = value;
  }
  const { max_seq_len: length } = config.model;
  const cut = (rows: readonly LabelledTokens[]) =>
    rows.map(({ inputIds, labels }) => ({ inputIds: inputIds.slice(0, length), labels: labels.slice(0, length) }));
  const { rows = null, lora } = run;
  return {
    set,
    run: {
      ...run,
      config,
      rows: rows && 'model.max_seq_len' in set ? { train: cut(rows.train), eval: cut(rows.eval) } : rows,
      ...(lora && { lora: { ...lora, r: 'tuning.lora.r' in set ? config.tuning.lora.r : lora.r } }),
    },
  };
}

/** The run with the split that was chosen for it, as far as the configuration leaves it open. */
function planned({ files, config, traits, rows, lora }: PlannedRun, choice: Choice): Choice {
  const { batch_size, gradient_accumulation_steps, gradient_checkpointing } = config.train;
  const batchSize = batch_size === 'auto' ? choice.batchSize : batch_size;
  const accumulation = gradient_accumulation_steps === 'auto' ? choice.accumulation : gradient_accumulation_steps;
  const checkpointing = gradient_checkpointing === 'auto' ? choice.checkpointing : gradient_checkpointing;
  const planner = new RunPlanner(files, config, traits, rows, lora ?? loraOptions(config.tuning));
  return { batchSize, accumulation, checkpointing, bytes: planner.bytes(batchSize, checkpointing), reason: '' };
}

/** Bytes of a changed run; null where it is none: a tensor cannot be bound, or a key is refused. */
function peakOf(run: PlannedRun, choice: Choice): number | null {
  if (NOT_YET.some(({ refused }) => refused(run.config))) return null;
  try {
    const { bytes } = planned(run, choice);
    return bytes && sumBytes(bytes);
  } catch (error) {
    if (error instanceof SftError) return null;
    throw error;
  }
}
