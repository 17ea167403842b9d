/**
 * Messages between a page and its worker: calls that answer once, calls that stream, aborts, progress, errors.
 *
 * A stream has credit: the other side sends at most so many items that were not yet taken, and each one that is taken gives one
 * back. So a slow page slows the worker down, and no queue grows. Errors cross as plain data and come out as `SftError`.
 */
import { type ErrorCode, SftError } from '../platform/errors.ts';

/** One end of a channel: a `Worker`, the inside of one, or a `MessagePort`. */
export interface Port {
  postMessage(message: unknown): void;
  addEventListener(type: 'message', listener: (event: MessageEvent) => void): void;
  /** A `MessagePort` delivers nothing before. */
  start?(): void;
}

/** Items of a stream that may be under way. */
export const CREDIT = 4;

/** Where a method takes `signal` and `onProgress`, which cannot cross: the index of that argument. */
export const OPTIONS_AT: Readonly<Record<string, number>> = { fetchModel: 1, addData: 1, train: 1, answer: 2 };

/** Milliseconds between two reports of progress; the last one of a transfer always crosses. */
const PROGRESS_MS = 50;

export type ToWorker =
  /** `credit` is null for a call that answers once. */
  | { type: 'call'; id: number; method: string; args: unknown[]; credit: number | null }
  | { type: 'credit'; id: number }
  | { type: 'abort'; id: number }
  /** Nobody wants the rest of a stream. */
  | { type: 'leave'; id: number };

export type ToPage =
  | { type: 'progress'; id: number; progress: unknown }
  | { type: 'item'; id: number; value: unknown }
  | { type: 'done'; id: number; value: unknown }
  | { type: 'failed'; id: number; error: PlainError };

interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | undefined;
}

function toPlain(error: unknown): PlainError {
  if (error instanceof SftError) return { code: error.code, message: error.message, hint: error.hint };
  const { name, message } = error instanceof Error ? error : { name: '', message: String(error) };
  if (name === 'AbortError') return { code: 'INTERRUPTED', message: 'stopped', hint: undefined };
  return { code: 'INTERNAL', message: `${name}: ${message}`, hint: undefined };
}

function fromPlain({ code, message, hint }: PlainError): SftError {
  return new SftError(code, message.replace(/^internal: /, ''), hint === undefined ? {} : { hint });
}

/** What is served: methods that return a promise or an async generator. */
export type Served = Readonly<Record<string, unknown>>;

type Method = (...args: unknown[]) => Promise<unknown> | AsyncGenerator<unknown, void>;

/** A call that the worker is busy with. */
class Call {
  readonly aborting = new AbortController();
  private credit: number;
  private left = false;
  private wake = (): void => {};

  constructor(credit: number) {
    this.credit = credit;
  }

  give(): void {
    this.credit += 1;
    this.wake();
  }

  /** What is left to send then is little, and nobody may be taking it. */
  abort(): void {
    this.aborting.abort();
    this.wake();
  }

  leave(): void {
    this.left = true;
    this.wake();
  }

  /** Waits until an item may be sent. False when nobody wants it. */
  async take(): Promise<boolean> {
    while (this.credit <= 0 && !this.left && !this.aborting.signal.aborted) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    this.credit -= 1;
    return !this.left;
  }
}

/** Answers the calls that come through a port. */
export function serve(port: Port, served: Served): void {
  const calls = new Map<number, Call>();
  const send = (message: ToPage) => port.postMessage(message);

  async function run(id: number, call: Call, method: string, args: unknown[], streams: boolean): Promise<void> {
    try {
      const result = (served[method] as Method)(...withOptions(id, call, method, args));
      let value: unknown;
      if (streams) await pass(id, call, result as AsyncGenerator<unknown, void>);
      else value = await result;
      send({ type: 'done', id, value });
    } catch (error) {
      send({ type: 'failed', id, error: toPlain(error) });
    } finally {
      calls.delete(id);
    }
  }

  async function pass(id: number, call: Call, items: AsyncGenerator<unknown, void>): Promise<void> {
    try {
      while (await call.take()) {
        const { done, value } = await items.next();
        if (done) return;
        send({ type: 'item', id, value });
      }
    } finally {
      await items.return();
    }
  }

  function withOptions(id: number, call: Call, method: string, args: unknown[]): unknown[] {
    const at = OPTIONS_AT[method];
    if (at === undefined) return args;
    const all = [...args];
    all[at] = { ...(args[at] as object | undefined), signal: call.aborting.signal, onProgress: reporter(id) };
    return all;
  }

  function reporter(id: number): (progress: { readonly done?: number; readonly total?: number | null }) => void {
    let last = Number.NEGATIVE_INFINITY;
    return (progress) => {
      const now = performance.now();
      if (now - last < PROGRESS_MS && progress.done !== progress.total) return;
      last = now;
      send({ type: 'progress', id, progress });
    };
  }

  port.addEventListener('message', ({ data }) => {
    const message = data as ToWorker;
    const call = calls.get(message.id);
    if (message.type === 'call') {
      const begun = new Call(message.credit ?? 0);
      calls.set(message.id, begun);
      void run(message.id, begun, message.method, message.args, message.credit !== null);
    } else if (message.type === 'credit') call?.give();
    else if (message.type === 'abort') call?.abort();
    else if (message.type === 'leave') call?.leave();
  });
  port.start?.();
}

interface Options {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: never) => void) | undefined;
}

/** What waits for messages of one call. */
interface Waiting {
  progress(progress: unknown): void;
  item(value: unknown): void;
  done(value: unknown): void;
  failed(error: SftError): void;
}

/** Makes calls through a port. */
export class Caller {
  private readonly port: Port;
  private readonly waiting = new Map<number, Waiting>();
  private lastId = 0;
  private broken: SftError | null = null;

  constructor(port: Port) {
    this.port = port;
    port.addEventListener('message', ({ data }) => {
      const message = data as ToPage;
      const call = this.waiting.get(message.id);
      if (message.type === 'progress') call?.progress(message.progress);
      else if (message.type === 'item') call?.item(message.value);
      else if (message.type === 'done') call?.done(message.value);
      else if (message.type === 'failed') call?.failed(fromPlain(message.error));
    });
    port.start?.();
  }

  /** Lets everything that waits fail, and whatever comes after. */
  fail(error: SftError): void {
    this.broken ??= error;
    for (const call of [...this.waiting.values()]) call.failed(this.broken);
  }

  /** Calls a method that answers once. */
  call<T>(method: string, args: readonly unknown[]): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const end = this.begin(method, args, null, {
        item: () => {},
        done: (value) => {
          end();
          resolve(value as T);
        },
        failed: (error) => {
          end();
          reject(error);
        },
      });
    });
  }

  /** Calls a method that streams. It begins when the first item is asked for; leaving the stream ends it. */
  async *stream<T>(method: string, args: readonly unknown[]): AsyncGenerator<T, void> {
    const items: T[] = [];
    let ended = false;
    let failure: SftError | null = null;
    let wake = (): void => {};
    const finish = (error: SftError | null) => {
      ended = true;
      failure = error;
      end();
      wake();
    };
    const end = this.begin(method, args, CREDIT, {
      item: (value) => {
        items.push(value as T);
        wake();
      },
      done: () => finish(null),
      failed: finish,
    });
    const news = () =>
      new Promise<void>((resolve) => {
        wake = resolve;
      });
    try {
      for (;;) {
        if (items.length > 0) {
          yield items.shift()!;
          if (!ended) this.port.postMessage({ type: 'credit', id: end.id } satisfies ToWorker);
        } else if (ended) break;
        else await news();
      }
    } finally {
      if (!ended) {
        this.port.postMessage({ type: 'leave', id: end.id } satisfies ToWorker);
        // What the stream held (a lock, the GPU) is free again only then.
        while (!ended) await news();
      }
    }
    if (failure) throw failure;
  }

  /** Sends a call. Returns what to do when it has ended. */
  private begin(
    method: string,
    args: readonly unknown[],
    credit: number | null,
    waiting: Omit<Waiting, 'progress'>,
  ): (() => void) & { id: number } {
    this.lastId += 1;
    const id = this.lastId;
    const all = [...args];
    const at = OPTIONS_AT[method];
    const { signal, onProgress, ...plain } = ((at === undefined ? undefined : args[at]) ?? {}) as Options;
    if (at !== undefined) all[at] = plain;
    const abort = () => this.port.postMessage({ type: 'abort', id } satisfies ToWorker);
    const end = Object.assign(
      () => {
        this.waiting.delete(id);
        signal?.removeEventListener('abort', abort);
      },
      { id },
    );
    this.waiting.set(id, { ...waiting, progress: (progress) => onProgress?.(progress as never) });
    if (this.broken) {
      // Not before the caller knows what to do at the end.
      const error = this.broken;
      queueMicrotask(() => waiting.failed(error));
      return end;
    }
    this.port.postMessage({ type: 'call', id, method, args: all, credit } satisfies ToWorker);
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    return end;
  }
}
