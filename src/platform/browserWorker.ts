/** Dedicated workers: being one, and noticing that one has died. Browsers tell nobody when a worker ends. */

/** The inside of the port through which a worker talks with its page. */
export function workerPort(): Pick<Worker, 'postMessage' | 'addEventListener'> {
  return globalThis as unknown as Worker;
}

/** Takes a lock and never gives it back: it is free when this worker has ended, however that came. */
export function holdForLife(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const forever = () => {
      resolve();
      return new Promise<never>(() => {});
    };
    navigator.locks.request(name, forever).catch(reject);
  });
}

/** Resolves when whoever holds a lock has ended; never when `signal` is aborted before. */
export function untilFree(name: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    navigator.locks.request(name, { signal }, () => resolve()).catch(() => {});
  });
}

/** Asks the browser not to clear the storage by itself. Pages only. */
export function persistStorage(): Promise<boolean> {
  return navigator.storage.persist();
}
