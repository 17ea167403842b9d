/** Long writing that shows how far it is and stops at Ctrl-C. */
import type { Call } from '../command.ts';
import { untilStopped } from '../stopSignals.ts';

interface Watched {
  readonly signal: AbortSignal;
  /** What is done and what there is in all. */
  readonly onProgress: (done: number, total: number) => void;
}

/** Throws `INTERRUPTED` when it was stopped. */
export function whileShown<T>(
  { terminal, quiet }: Call,
  doing: string,
  shown: (done: number, total: number) => string,
  work: (watched: Watched) => Promise<T>,
): Promise<T> {
  const onProgress = (done: number, total: number) => {
    if (!quiet) terminal.setStatus('err', `${doing}: ${shown(done, total)}`);
  };
  return untilStopped(terminal, (signal) => work({ signal, onProgress }));
}
