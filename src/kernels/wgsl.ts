/** The text tools of all kernels: the `wgsl` tag, the entry point and reductions over the lanes of a workgroup. */
import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';
import type { GpuTraits } from '../gpu/device.ts';

export { wgsl };

/**
 * The head of an entry point: `wg` is the workgroup's id, `wgs` the number of workgroups, `lane` the invocation's index.
 * Grids longer than 65 535 are folded into y, so a linear kernel takes `linear` for its workgroup's number.
 */
export function main(size: number): string {
  return `@compute @workgroup_size(${size}) fn main(
  @builtin(workgroup_id) wg: vec3<u32>,
  @builtin(num_workgroups) wgs: vec3<u32>,
  @builtin(local_invocation_index) lane: u32)`;
}

/** The number of this workgroup in a one-dimensional grid. */
export const linear = 'wg.x + wg.y * wgs.x';

/** Repeats text for i = 0 … n-1: kernels keep their accumulators in registers, so their loops are written out. */
export function each(n: number, text: (i: number) => string, separator = '\n'): string {
  return Array.from({ length: n }, (_, i) => text(i)).join(separator);
}

/** WGSL type of `n` numbers. */
export const numbers = (n: 1 | 2 | 4) => (n === 1 ? 'f32' : `vec${n}<f32>`);

/** WGSL: the sum of the `n` numbers in `value`, a name. */
export const total = (n: 1 | 2 | 4, value: string) => (n === 1 ? value : each(n, (i) => `${value}[${i}]`, ' + '));

/** Invocations that work on one row in kernels that reduce over rows. */
export function rowLanes(traits: GpuTraits): number {
  return traits.family === 'broadcast' ? traits.subgroupSize : 64;
}

/**
 * Declares `reduceAdd(value: f32, lane: u32) -> f32` and `reduceMax`: the sum or maximum over the `rowLanes` invocations
 * of a workgroup, in every one of them. Must be called in uniform control flow. The order of summation is fixed.
 */
export function reductions(traits: GpuTraits, ...which: ('Add' | 'Max')[]): string {
  const lanes = rowLanes(traits);
  if (traits.family === 'broadcast') {
    return which
      .map((name) => `fn reduce${name}(value: f32, lane: u32) -> f32 { return subgroup${name}(value); }`)
      .join('\n');
  }
  const combine = { Add: (a: string, b: string) => `${a} + ${b}`, Max: (a: string, b: string) => `max(${a}, ${b})` };
  return `var<workgroup> reduced: array<f32, ${lanes}>;
${which
  .map(
    (name) => `fn reduce${name}(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  reduced[lane] = value;
  for (var half = ${lanes / 2}u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) { reduced[lane] = ${combine[name]('reduced[lane]', 'reduced[lane + half]')}; }
  }
  workgroupBarrier();
  return reduced[0];
}`,
  )
  .join('\n')}`;
}
