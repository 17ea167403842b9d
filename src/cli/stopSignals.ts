/** Ctrl-C and SIGTERM: the first asks to stop, the second stops at once. */
import { SftError } from '../platform/errors.ts';
import type { Terminal } from './terminal.ts';

/** npm and npx pass a Ctrl-C on to a program that the terminal has told already: two so close together are one. */
const SAME_KEY_PRESS_MS = 200;

export interface StopSignals {
  readonly signal: AbortSignal;
  /** Lets signals do again what they do without this. */
  release(): void;
}

/** Aborts `signal` at the first SIGINT or SIGTERM, after `onFirst`; the second one ends the process with 130. */
export function stopSignals(terminal: Terminal, onFirst: () => void = () => {}): StopSignals {
  const controller = new AbortController();
  let firstAt = 0;
  const stop = () => {
    if (!controller.signal.aborted) {
      firstAt = performance.now();
      controller.abort();
      onFirst();
    } else if (performance.now() - firstAt > SAME_KEY_PRESS_MS) {
      terminal.close();
      process.exit(130);
    }
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  return {
    signal: controller.signal,
    release: () => void process.off('SIGINT', stop).off('SIGTERM', stop),
  };
}

/** Does what writes all of its files at its end or none, and clears the status line. Throws `INTERRUPTED` when it was stopped. */
export async function untilStopped<T>(terminal: Terminal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = stopSignals(terminal);
  try {
    return await work(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    throw new SftError('INTERRUPTED', 'stopped before the end; nothing was written', { cause: error });
  } finally {
    stop.release();
    terminal.setStatus('err', null);
  }
}
