/** A page is told nothing from outside. The same names as in `nodeEnvironment.ts`. */

export function environmentVariable(_name: string): string | undefined {
  return undefined;
}

export function hostName(): string {
  return 'browser';
}

export function processId(): number {
  return 0;
}

export function withOwnSignals<T>(work: () => Promise<T>): Promise<T> {
  return work();
}
