/** What the tests of this folder share: a call of Python, and the tensors that it leaves in a safetensors file. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { bytesToF32, isFloatDtype } from '../../src/model/dtype.ts';
import { readSafetensors, readTensor } from '../../src/model/safetensors.ts';
import { openFile } from '../../src/platform/nodeFiles.ts';
import { concatBytes } from '../../src/platform/stores.ts';

/** A Python with torch, transformers, peft and trl; the tests are skipped without it. */
export const python = process.env.WEBGPU_SFT_ORACLE_PYTHON;

/** Runs a script of this folder; its standard output as JSON. */
export function runPython<T>(script: string, args: readonly string[], input: unknown = null): T {
  const file = fileURLToPath(new URL(script, import.meta.url));
  const { stdout, stderr, status } = spawnSync(python!, [file, ...args], {
    input: JSON.stringify(input),
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    // One thread: several that wait for each other are many times slower where other tests run beside them.
    env: { ...process.env, OMP_NUM_THREADS: '1', HF_HUB_OFFLINE: '1', TOKENIZERS_PARALLELISM: 'false' },
  });
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout) as T;
}

export interface Floats {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** All tensors of a safetensors file as float32. */
export async function readFloats(path: string): Promise<Map<string, Floats>> {
  const source = await openFile(path);
  try {
    const floats = new Map<string, Floats>();
    for (const info of (await readSafetensors(source)).tensors.values()) {
      if (!isFloatDtype(info.dtype)) continue;
      const parts: Uint8Array[] = [];
      for await (const part of readTensor(info)) parts.push(part.slice());
      floats.set(info.name, { shape: info.shape, values: bytesToF32(concatBytes(parts), info.dtype) });
    }
    return floats;
  } finally {
    await source.close();
  }
}

/** The largest difference ÷ the largest value of `want`. */
export function relativeToLargest(got: ArrayLike<number>, want: ArrayLike<number>): number {
  expect(got.length).toBe(want.length);
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < want.length; i++) {
    difference = Math.max(difference, Math.abs(got[i]! - want[i]!));
    largest = Math.max(largest, Math.abs(want[i]!));
    // NaN is less than nothing and more than nothing.
    if (Number.isNaN(got[i]!) || Number.isNaN(want[i]!)) return Number.NaN;
  }
  return difference / largest;
}

/** ‖got − want‖ ÷ ‖want‖. */
export function relativeNorm(got: ArrayLike<number>, want: ArrayLike<number>): number {
  expect(got.length).toBe(want.length);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < want.length; i++) {
    difference += (got[i]! - want[i]!) ** 2;
    norm += want[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** The largest errors of a file's tests: told once, because how much better they are than asked for is worth knowing. */
export class Worst {
  private readonly errors = new Map<string, number>();

  /** Hands the error on. */
  note(what: string, error: number): number {
    this.errors.set(what, Math.max(error, this.errors.get(what) ?? 0));
    return error;
  }

  print(title: string): void {
    const parts = [...this.errors].map(([what, error]) => `${what} ${error.toExponential(1)}`);
    console.log(`${title}, largest relative errors: ${parts.join(', ')}`);
  }
}
