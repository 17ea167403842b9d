/** Asking the engine while it trains takes time from the training: who asks keeps to a share of it. */
import { phase } from './run.ts';

export class Pace {
  private readonly share: number;
  private last = { began: 0, ended: Number.NEGATIVE_INFINITY };

  /** `share` of the time may be spent on asking. */
  constructor(share: number) {
    this.share = share;
  }

  /** Whether it is time to ask again. */
  get isDue(): boolean {
    const { began, ended } = this.last;
    return performance.now() - ended >= (ended - began) * (1 / this.share - 1);
  }

  /** Asks. What is asked while nothing is trained takes time from nobody. */
  async spend<T>(asking: () => Promise<T>): Promise<T> {
    if (phase.peek() !== 'running') return asking();
    const began = performance.now();
    try {
      return await asking();
    } finally {
      this.last = { began, ended: performance.now() };
    }
  }
}
