/**
 * A run that outlives its device (drivers are reset, GPU processes crash, machines sleep), and one whose fast kernels the driver does not
 * compile.
 */
import type { Gpu } from '../gpu/device.ts';
import { SftError } from '../platform/errors.ts';
import type { TrainEvent } from './events.ts';
import { openRun, type Run, type RunOptions } from './run.ts';

/** Devices in a row that may be lost without a checkpoint in between. */
const MOST_LOSSES = 3;
/** Before a second device in a row is asked for: drivers need a moment to come back. Milliseconds, times the losses. */
const PATIENCE_MS = 500;

/** As of a run, and who is told of each device that it gets. */
export interface SurvivingOptions extends RunOptions {
  /** Told of the run before it begins, and again with each new device. */
  readonly onRun?: ((run: Run) => void) | undefined;
}

/**
 * Trains to the end. When the device is lost, the run goes on from its last checkpoint on a new one, and ends with the same bytes:
 * after another `start` event with the step that it goes on from, one `warning` tells of it. Throws `DEVICE_LOST` when it does
 * not come from one checkpoint to the next.
 *
 * Where a kernel with optional features does not compile, a run that stands at its beginning begins again with the portable ones, one
 * `warning` tells of it, and `backend.json` says what was used.
 */
export async function* trainThroughLosses(options: SurvivingOptions): AsyncGenerator<TrainEvent, void> {
  const { signal, onRun } = options;
  let { config } = options;
  const told = new Set<string>();
  let { resumeFrom } = options;
  let lasting = options.warnings ?? [];
  let warnings = lasting;
  for (let losses = 0; ; ) {
    let gpu: Gpu | null = null;
    try {
      const run = await openRun({ ...options, config, resumeFrom, warnings, told });
      gpu = run.gpu;
      onRun?.(run);
      for await (const event of run.trainer.train(signal)) {
        if (event.type === 'warning') told.add(event.message);
        if (event.type === 'checkpoint') {
          losses = 0;
          resumeFrom = `${config.output_dir}/${event.folder}`;
        }
        yield event;
      }
      return;
    } catch (error) {
      if (gpu?.backend === 'fast' && resumeFrom === undefined && isKernel(error) && !signal?.aborted) {
        const [message] = error.message.split('\n');
        lasting = [...lasting, `${message}; tuning.backend: portable is used instead of fast`];
        warnings = lasting;
        config = { ...config, tuning: { ...config.tuning, backend: 'portable' } };
        continue;
      }
      losses += 1;
      if (!isLoss(error, losses) || signal?.aborted || losses > MOST_LOSSES) throw error;
      const message = `${error.message}; a new device goes on from ${placeOf(resumeFrom)}`;
      warnings = [...lasting, message];
      told.delete(message);
      if (losses > 1) await new Promise((resolve) => setTimeout(resolve, PATIENCE_MS * losses));
    } finally {
      await gpu?.close();
    }
  }
}

/** After a loss, no adapter may be there for a moment. */
function isLoss(error: unknown, losses: number): error is SftError {
  if (!(error instanceof SftError)) return false;
  return error.code === 'DEVICE_LOST' || (losses > 1 && error.code === 'NO_GPU');
}

function isKernel(error: unknown): error is SftError {
  return error instanceof SftError && error.code === 'KERNEL';
}

function placeOf(resumeFrom: string | undefined): string {
  if (resumeFrom === undefined) return 'the beginning: there is no checkpoint yet';
  return resumeFrom === 'last' ? 'the checkpoint that the run began with' : resumeFrom;
}
