/** The host's copy of the loss scale (see `src/kernels/lossScale.ts`): what checkpoints keep and events tell. */
import { BACKOFF_FACTOR, GROWTH_FACTOR, GROWTH_INTERVAL, INITIAL_SCALE } from '../kernels/lossScale.ts';
import { SftError } from '../platform/errors.ts';

export interface LossScaleState {
  readonly scale: number;
  /** Good steps in a row since the scale last changed. */
  readonly growth_tracker: number;
  /** Optimizer steps of the whole run that changed nothing, as their gradients were not finite. */
  readonly skipped_steps: number;
}

/** Below this no step will ever be good: something else than the scale makes gradients overflow. */
const SMALLEST_SCALE = 1e-4;

export class LossScale {
  state: LossScaleState = { scale: INITIAL_SCALE, growth_tracker: 0, skipped_steps: 0 };

  /** Books a step as the GPU did, given its gradient norm. Throws `NUMERIC` when hardly any scale is left. */
  book(gradNorm: number): LossScaleState {
    const { scale, growth_tracker, skipped_steps } = this.state;
    if (!Number.isFinite(gradNorm)) {
      this.state = { scale: scale * BACKOFF_FACTOR, growth_tracker: 0, skipped_steps: skipped_steps + 1 };
      if (this.state.scale < SMALLEST_SCALE) {
        throw new SftError('NUMERIC', `loss scale: expected at least ${SMALLEST_SCALE}, got ${this.state.scale}`, {
          hint: 'activations or gradients exceed float16: set train.precision: float32 or use a lower train.learning_rate',
        });
      }
    } else if (growth_tracker + 1 === GROWTH_INTERVAL) {
      this.state = { scale: scale * GROWTH_FACTOR, growth_tracker: 0, skipped_steps };
    } else this.state = { scale, growth_tracker: growth_tracker + 1, skipped_steps };
    return this.state;
  }

  /** The contents of `scaler` on the GPU. */
  get values(): Float32Array<ArrayBuffer> {
    return Float32Array.of(this.state.scale, this.state.growth_tracker);
  }
}
