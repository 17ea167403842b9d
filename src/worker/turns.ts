/** Small rules of who goes on when. */

function newPromise(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** Waits for a promise, but no longer than until `signal` is aborted. */
async function orAborted(promise: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted) return;
  const aborted = newPromise();
  signal?.addEventListener('abort', aborted.resolve);
  await Promise.race([promise, aborted.promise]);
  signal?.removeEventListener('abort', aborted.resolve);
}

/** Lets one at a time through, in the order in which they came. */
export class Turns {
  private last: Promise<void> = Promise.resolve();

  /** Waits for its turn; what it returns ends it. Null when `signal` is aborted before. */
  async take(signal?: AbortSignal): Promise<(() => void) | null> {
    const turn = newPromise();
    const before = this.last;
    this.last = before.then(() => turn.promise);
    await orAborted(before, signal);
    if (!signal?.aborted) return turn.resolve;
    turn.resolve();
    return null;
  }

  /** Does `work` when its turn has come. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const end = await this.take();
    try {
      return await work();
    } finally {
      end?.();
    }
  }
}

/** A gate that is open unless somebody has closed it. */
export class Gate {
  private opening: { readonly promise: Promise<void>; readonly resolve: () => void } | null = null;

  close(): void {
    this.opening ??= newPromise();
  }

  open(): void {
    this.opening?.resolve();
    this.opening = null;
  }

  /** Waits while it is closed, but no longer than until `signal` is aborted. */
  async pass(signal?: AbortSignal): Promise<void> {
    while (this.opening && !signal?.aborted) await orAborted(this.opening.promise, signal);
  }
}
