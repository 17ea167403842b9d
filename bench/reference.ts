/** The Python side of what is compared with Hugging Face: one process, asked task by task. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { oracleEnvironment } from '../scripts/common.mjs';

export interface Timing {
  /** Rows or tokens that came out. */
  readonly count: number;
  /** Seconds of all CPUs. */
  readonly cpu: number;
  /** Seconds of the clock. */
  readonly clock: number;
}

export class Reference {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  private constructor(python: string) {
    const script = fileURLToPath(new URL('../../bench/reference.py', import.meta.url));
    this.#child = spawn(python, [script], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, HF_HUB_OFFLINE: '1', HF_HUB_DISABLE_PROGRESS_BARS: '1' },
    });
    this.#answers = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** Null where the environment of `npm run test:oracle` is not there. */
  static open(): Reference | null {
    const python = process.env['WEBGPU_SFT_ORACLE_PYTHON'] || oracleEnvironment().python;
    return existsSync(python) ? new Reference(python) : null;
  }

  /** Runs one of the tasks of `reference.py`. */
  async ask(...task: readonly (string | number)[]): Promise<Timing> {
    this.#child.stdin!.write(`${JSON.stringify(task)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`bench/reference.py ended before it answered ${task.join(' ')}`);
    return JSON.parse(value) as Timing;
  }

  close(): void {
    this.#child.stdin!.end();
  }
}
