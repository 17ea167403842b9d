/** All ops, by name: `tape.apply(ops.rmsNorm, { x, w }, { eps })`. */
export { add } from '../kernels/add.ts';
export { attention } from '../kernels/attention.ts';
export { cachedAttention } from '../kernels/cachedAttention.ts';
export { cast } from '../kernels/cast.ts';
export { embedding } from '../kernels/embedding.ts';
export { gatedActivation } from '../kernels/gatedActivation.ts';
export { linear } from '../kernels/linear.ts';
export { linearCrossEntropy } from '../kernels/linearCrossEntropy.ts';
export { rmsNorm } from '../kernels/rmsNorm.ts';
export { rope } from '../kernels/rope.ts';
export { selectRows } from '../kernels/selectRows.ts';
