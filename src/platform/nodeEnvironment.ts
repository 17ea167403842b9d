/** What the process was told from outside. The same names as in `browserEnvironment.ts`. */
import { hostname } from 'node:os';

/** An environment variable; an empty one counts as unset. */
export function environmentVariable(name: string): string | undefined {
  return process.env[name] || undefined;
}

/** What the machine calls itself. */
export function hostName(): string {
  return hostname();
}

/** A number that tells processes of one machine apart. */
export function processId(): number {
  return process.pid;
}

/** Does `work`, and takes away the handlers of signals that it leaves behind: a program has its own way to end. */
export async function withOwnSignals<T>(work: () => Promise<T>): Promise<T> {
  const signals = ['SIGINT', 'SIGTERM'] as const;
  const before = signals.map((signal) => new Set(process.listeners(signal)));
  try {
    return await work();
  } finally {
    for (const [index, signal] of signals.entries()) {
      for (const listener of process.listeners(signal))
        if (!before[index]?.has(listener)) process.off(signal, listener);
    }
  }
}
