/** How many bytes of GPU memory a run may take, and what is said when it would take more. */
import { findMemory } from '#platform';
import { type Bytes, CATEGORIES, sumBytes } from '../gpu/ledger.ts';
import { SftError } from '../platform/errors.ts';
import type { MemoryFinding } from '../platform/types.ts';
import type { Config } from './config.ts';
import type { Split } from './resolveBatch.ts';

/** Bytes of GPU memory that a run may take. */
export interface Budget {
  readonly bytes: number;
  /** How it is known: the key that sets it, or how it was found. */
  readonly source: string;
  /** Whether nobody knows and it is a careful guess. */
  readonly guess: boolean;
}

/** What was found for an adapter, for as long as the process runs: finding it can take seconds. */
const found = new Map<string, Promise<MemoryFinding>>();

/** The budget that the configuration sets, else what is found for the adapter. */
export async function findBudget(
  { memory }: Pick<Config, 'memory'>,
  adapter: { readonly name: string; readonly software: boolean },
): Promise<Budget> {
  const { budget_gib } = memory;
  if (budget_gib !== null) {
    return { bytes: Math.floor(budget_gib * 2 ** 30), source: 'memory.budget_gib', guess: false };
  }
  const finding = found.get(adapter.name) ?? findMemory(adapter);
  found.set(adapter.name, finding);
  return { guess: false, ...(await finding) };
}

/** Bytes as the messages of plans write them. */
export function gib(bytes: number): string {
  return bytes < 2 ** 27 ? `${(bytes / 2 ** 20).toFixed(2)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}

/** The refusal of a run that does not fit. `change` is the cheapest one that makes it fit, null when none does. */
export function overBudget(peak: number, budget: Budget, change: string | null): SftError {
  const advice = change ?? 'use a smaller model: no setting makes this one fit';
  return new SftError(
    'OUT_OF_MEMORY',
    `memory plan: expected at most ${gib(budget.bytes)} (${budget.source}), the run needs ${gib(peak)}`,
    { hint: budget.guess ? `set memory.budget_gib to what your GPU has, or ${advice}` : advice },
  );
}

/** The error of a run for which memory ran out with the smallest batch: what was planned, and what failed. */
export function noRoom(plan: Bytes, { batchSize, checkpointing }: Split, cause: SftError): SftError {
  const parts = CATEGORIES.filter((category) => plan[category] > 0).map((name) => `${name} ${gib(plan[name])}`);
  const planned = `planned ${gib(sumBytes(plan))} (${parts.join(', ')})`;
  return new SftError('OUT_OF_MEMORY', `memory ran out with batch_size ${batchSize}, ${planned}: ${cause.message}`, {
    hint: checkpointing
      ? 'use a smaller model.max_seq_len or tuning.lora.r, or close other programs that use the GPU'
      : 'set train.gradient_checkpointing: true, or close other programs that use the GPU',
    cause,
  });
}
