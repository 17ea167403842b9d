/** Long writing that shows how far it is and stops at Ctrl-C. */
import { SftError } from '../../platform/errors.ts';
import type { Call } from '../command.ts';
import { stopSignals } from '../stopSignals.ts';

interface Watched {
  readonly signal: AbortSignal;
  /** What is done and what there is in all. */
  readonly onProgress: (done: number, total: number) => void;
}

/** Throws `INTERRUPTED` when it was stopped. */
export async function whileShown<T>(
  call: Call,
  doing: string,
  shown: (done: number, total: number) => string,
  work: (watched: Watched) => Promise<T>,
): Promise<T> {
  const { terminal, quiet } = call;
  const stop = stopSignals(terminal);
  try {
    return await work({
      signal: stop.signal,
      onProgress(done, total) {
        if (!quiet) terminal.setStatus('err', `${doing}: ${shown(done, total)}`);
      },
    });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    throw new SftError('INTERRUPTED', 'stopped before the end; nothing was written', { cause: error });
  } finally {
    terminal.setStatus('err', null);
    stop.release();
  }
}
