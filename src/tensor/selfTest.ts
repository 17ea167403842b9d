/** Every kernel on this adapter against plain arithmetic: what a bug report needs to know first. */
import type { Family, Gpu, GpuTraits } from '../gpu/device.ts';
import { SELF_TEST_CASES } from './selfTestCases.ts';
import { Lab } from './selfTestLab.ts';

/** One op on one family of kernels. */
export interface SelfTestResult {
  readonly op: string;
  /** Which of the adapter's kernel families was tested. */
  readonly family: Family;
  /** Largest |got − expected| ÷ (1 + |expected|), forward and gradients; infinite for NaN; null when nothing ran. */
  readonly error: number | null;
  readonly ok: boolean;
  /** Why nothing ran, such as a kernel that does not compile. */
  readonly failure: string | null;
}

/** Sums of a few dozen products in float32; a wrong kernel is off by far more. */
export const SELF_TEST_TOLERANCE = 1e-4;

/** Tests every op on every family of kernels that a run may use on this adapter, one result for each. Throws `DEVICE_LOST`. */
export async function* selfTest(gpu: Gpu): AsyncGenerator<SelfTestResult, void> {
  for (const traits of runnable(gpu)) {
    for (const op of new Set(SELF_TEST_CASES.map((one) => one.op))) {
      yield await testOp(new Lab(gpu, traits), op);
      gpu.check();
    }
  }
}

async function testOp(lab: Lab, op: string): Promise<SelfTestResult> {
  const { family } = lab.traits;
  let error = 0;
  try {
    for (const { run } of SELF_TEST_CASES.filter((one) => one.op === op)) error = Math.max(error, await run(lab));
  } catch (cause) {
    const failure = cause instanceof Error ? cause.message : String(cause);
    return { op, family, error: null, ok: false, failure };
  }
  return { op, family, error, ok: error <= SELF_TEST_TOLERANCE, failure: null };
}

/** The adapter with the family of kernels in use, and with that of `backend: portable` where it is another. */
function runnable({ limits, family: own, subgroupSize, nativeF16, software }: Gpu): GpuTraits[] {
  const families = new Set<Family>([own, software ? 'registers' : 'tiled']);
  return [...families].map((family) => ({
    family,
    limits,
    subgroupSize: family === 'broadcast' ? subgroupSize : 0,
    nativeF16,
  }));
}
