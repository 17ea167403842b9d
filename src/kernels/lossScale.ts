/**
 * Dynamic loss scaling, so that gradients stored in f16 neither vanish nor overflow.
 *
 * The gradient of the loss is multiplied by `scale` before the backward pass, and divided out where the gradient norm is
 * computed. When a gradient is not finite, the step is skipped and the scale halved; after 2000 good steps it is doubled.
 *
 * scaler: [2] f32 = (scale, good steps in a row), kept on the GPU, so that no step waits for the host.
 * Source: Micikevicius et al. 2018, arXiv:1710.03740; numbers and order as torch.amp.GradScaler.
 */
import { defineKernel, type Step, type Tensor } from './define.ts';
import { main, wgsl } from './wgsl.ts';

export const INITIAL_SCALE = 65536;
export const GROWTH_FACTOR = 2;
export const BACKOFF_FACTOR = 0.5;
export const GROWTH_INTERVAL = 2000;

const kernel = defineKernel({
  name: 'lossScale',
  uniforms: {},
  reads: (_: object) => ({ factor: 'f32', scaler: 'f32' }),
  writes: () => ({ scaled: 'f32' }),
  source: () => wgsl`
${main(1)} {
  if (lane == 0u) { scaled[0] = factor[0] * scaler[0]; }
}`,
});

/** Appends `factor · scale`: what the gradient of the loss is multiplied by. factor, result: [1] f32. */
export function scaleLoss(step: Step, factor: Tensor, scaler: Tensor): Tensor {
  const scaled = step.tensor('scaled', [1]);
  step.run(kernel, {}, { factor, scaler, scaled }, {}, [1]);
  return scaled;
}

/** WGSL: the change of `scaler` after a step whose gradients were `finite` or not. */
export const updateScaler = `let good = select(0.0, scaler[1] + 1.0, finite);
    if (!finite) { scaler[0] *= ${BACKOFF_FACTOR}; }
    else if (good == ${GROWTH_INTERVAL}.0) { scaler[0] *= ${GROWTH_FACTOR}.0; }
    scaler[1] = select(good, 0.0, good == ${GROWTH_INTERVAL}.0);`;
