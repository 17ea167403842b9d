/**
 * The order in which rows are trained: a cursor over optimizer steps that is a pure function of (seed, position). Where rows
 * are packed, what is counted here are sequences of them.
 *
 * Each epoch takes every row once, in file order or shuffled by stream `epoch` of `seed` (`platform/random.ts`).
 * Micro-batches of `batchSize` rows are cut from that order and `gradientAccumulationSteps` of them make one optimizer
 * step; the last step of an epoch takes what is left. Steps per epoch = ⌈⌈rows / batch⌉ / accumulation⌉, as in the
 * Hugging Face Trainer.
 */

import { invariant, SftError } from '../platform/errors.ts';
import { shuffled } from '../platform/random.ts';

export interface BatchOptions {
  /** How many rows there are. */
  readonly rows: number;
  readonly batchSize: number;
  readonly gradientAccumulationSteps: number;
  readonly shuffle: boolean;
  readonly seed: number;
  /** Where the rows are packed sequences: the tokens that each may have. */
  readonly packedTo?: number | null;
}

/** The rows of one optimizer step. */
export interface StepGroup {
  /** From 0. */
  readonly epoch: number;
  /** From 0. */
  readonly stepInEpoch: number;
  /** Row indices of each micro-batch. */
  readonly microBatches: readonly (readonly number[])[];
}

/** Where a cursor stands and what its order depends on: plain JSON, kept in a checkpoint. */
export interface CursorState {
  readonly epoch: number;
  /** The step that comes next. */
  readonly step_in_epoch: number;
  readonly rows: number;
  readonly rows_per_step: number;
  readonly shuffle: boolean;
  readonly seed: number;
  /** Tokens that a packed sequence may have; null or missing where rows are not packed. */
  readonly packed_to?: number | null;
}

export interface Cursor {
  readonly stepsPerEpoch: number;
  /** The next optimizer step. There is always one: epochs follow each other without end. */
  next(): StepGroup;
  state(): CursorState;
}

/**
 * A cursor at the first step, or where `state` stood. A state of other rows, another order or another number of rows
 * per step is refused (`RESUME`); the split of a step into micro-batches may differ.
 */
export function createCursor(options: BatchOptions, state?: CursorState): Cursor {
  const { rows, batchSize, gradientAccumulationSteps, shuffle, seed, packedTo = null } = options;
  for (const [name, value] of Object.entries({ rows, batchSize, gradientAccumulationSteps })) {
    invariant(Number.isSafeInteger(value) && value > 0, `${name} must be a positive integer, got ${value}`);
  }
  const rowsPerStep = batchSize * gradientAccumulationSteps;
  const stepsPerEpoch = Math.ceil(rows / rowsPerStep);
  const identity = { rows, rows_per_step: rowsPerStep, shuffle, seed, packed_to: packedTo };
  if (state !== undefined) refuseOther(state, identity);

  let epoch = state?.epoch ?? 0;
  let step = state?.step_in_epoch ?? 0;
  let order: { epoch: number; rows: Uint32Array } | undefined;

  return {
    stepsPerEpoch,
    next() {
      if (step === stepsPerEpoch) {
        epoch += 1;
        step = 0;
      }
      if (shuffle && order?.epoch !== epoch) order = { epoch, rows: shuffled(rows, seed, epoch) };
      const group: StepGroup = { epoch, stepInEpoch: step, microBatches: microBatches(step) };
      step += 1;
      return group;
    },
    state: () => ({ epoch, step_in_epoch: step, ...identity }),
  };

  function microBatches(stepInEpoch: number): number[][] {
    const end = Math.min((stepInEpoch + 1) * rowsPerStep, rows);
    const batches: number[][] = [];
    for (let start = stepInEpoch * rowsPerStep; start < end; start += batchSize) {
      const length = Math.min(batchSize, end - start);
      batches.push(Array.from({ length }, (_, i) => (order === undefined ? start + i : order.rows[start + i]!)));
    }
    return batches;
  }
}

function refuseOther(state: CursorState, identity: Omit<CursorState, 'epoch' | 'step_in_epoch'>): void {
  // Before the number of rows, which packing changes too.
  for (const name of ['packed_to', 'rows', 'rows_per_step', 'shuffle', 'seed'] as const) {
    const [before, now] = [state[name] ?? null, identity[name] ?? null];
    if (before === now) continue;
    const what = `data order: expected ${name} ${before} as in the checkpoint, got ${now}`;
    throw new SftError('RESUME', what, {
      hint: 'resume with the same training rows, packing, seed, shuffle and effective batch size',
    });
  }
}
