/**
 * The floor: the plainest matrix product that is not slow. 4x4 sums in registers, vector loads, no workgroup memory, 8x8
 * invocations, C = A · Bᵀ with sizes divisible by 32. Our kernels must not be slower than this.
 */
import { defineKernel, type Step, type Tensor } from '../src/kernels/define.ts';

const kernel = defineKernel({
  name: 'bench.floor',
  uniforms: { N: 'u32', K4: 'u32' },
  reads: (_: object) => ({ a: 'vec4<f32>', b: 'vec4<f32>' }),
  writes: () => ({ c: 'f32' }),
  source: () => {
    const four = [0, 1, 2, 3];
    return `@compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let n = id.x * 4u;
  let m = id.y * 4u;
  ${four.map((i) => `var sum${i} = vec4(0.0);`).join('\n')}
  for (var k = 0u; k < u.K4; k++) {
    ${four.map((i) => `let x${i} = a[(m + ${i}u) * u.K4 + k]; let y${i} = b[(n + ${i}u) * u.K4 + k];`).join('\n')}
    ${four.map((i) => `sum${i} += vec4(${four.map((j) => `dot(x${i}, y${j})`).join(', ')});`).join('\n')}
  }
  ${four.map((i) => four.map((j) => `c[(m + ${i}u) * u.N + n + ${j}u] = sum${i}[${j}];`).join(' ')).join('\n')}
}`;
  },
});

export function floorMatmul(
  step: Step,
  a: Tensor,
  b: Tensor,
  c: Tensor,
  [m, n, k]: readonly [number, number, number],
): void {
  step.run(kernel, {}, { a, b, c }, { N: n, K4: k / 4 }, [n / 32, m / 32], 2 * m * n * k);
}
