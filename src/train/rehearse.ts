/** Everything of a run but its steps: a rehearsal finds what would stop the run, and writes nothing. */
import type { Sequence } from '../data/packing.ts';
import type { Gpu } from '../gpu/device.ts';
import { SftError } from '../platform/errors.ts';
import type { Trainer } from './trainer.ts';

/** Time and memory of a step that the run has not taken. */
export interface Rehearsal {
  /** Seconds for the micro-step of the longest rows, compiled before. */
  readonly microStepSeconds: number;
  /** Seconds for the optimizer step. */
  readonly optimizerSeconds: number;
  /** Bytes on the GPU: what was planned and what there was. */
  readonly plannedBytes: number;
  readonly measuredBytes: number;
}

/**
 * Loads the weights and runs one optimizer step over rows of token 0, as long as the longest rows together, with learning
 * rate 0. Frees everything but the device, and closes the weights. Throws what a run would throw, and the signal's reason.
 */
export async function rehearse(
  trainer: Trainer,
  gpu: Gpu,
  options: { onLoadProgress?: (loaded: number, total: number) => void; signal?: AbortSignal | undefined } = {},
): Promise<Rehearsal> {
  const { model, engine } = trainer;
  const { onLoadProgress, signal } = options;
  const { plan, batch_size: batchSize } = trainer.startEvent();
  try {
    await model.load(gpu, onLoadProgress, signal);
    await engine.prepare(gpu);
    const zeros = longest(trainer.sequences, batchSize).map(({ inputIds, labels }) => ({
      inputIds: inputIds.map(() => 0),
      labels: labels.map((label) => Math.min(label, 0)),
    }));
    const microStep = async () => {
      await engine.microStep(gpu, zeros, 0, 0);
      await gpu.done();
    };
    // The first run compiles.
    await microStep();
    signal?.throwIfAborted();
    const microStepSeconds = await seconds(microStep);
    const still = { step: 1, learningRate: 0, weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    let loss = Number.NaN;
    const optimizerSeconds = await seconds(async () => {
      const { result } = await engine.optimizerStep(gpu, still);
      ({ loss } = await result);
    });
    if (!Number.isFinite(loss)) {
      throw new SftError('NUMERIC', `a step over zeros: expected a finite loss, got ${loss}`, {
        hint: 'run `webgpu-sft doctor`: a kernel may be wrong on this adapter',
      });
    }
    return { microStepSeconds, optimizerSeconds, plannedBytes: plan.peak_bytes, measuredBytes: gpu.ledger.peak.bytes };
  } finally {
    engine.close(gpu);
    model.close(gpu);
    await model.files.checkpoint.close();
  }
}

/** The rows of the longest sequences. */
function longest(sequences: readonly Sequence[], count: number): Sequence {
  const measured = sequences.map((rows) => ({ rows, tokens: rows.reduce((sum, row) => sum + row.inputIds.length, 0) }));
  measured.sort((a, b) => b.tokens - a.tokens);
  return measured.slice(0, count).flatMap(({ rows }) => rows);
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}
