/** The protocol between a page and its worker, over a channel of messages. */
import { afterEach, describe, expect, test } from 'vitest';
import { SftError } from '../../src/platform/errors.ts';
import type { CallOptions } from '../../src/worker/api.ts';
import { Caller, CREDIT, type Port, serve } from '../../src/worker/protocol.ts';

const open: MessagePort[] = [];
afterEach(() => {
  for (const port of open.splice(0)) port.close();
});

/** Serves methods at one end of a channel; the caller at the other. */
function connect(served: Record<string, unknown>): Caller {
  const { port1, port2 } = new MessageChannel();
  open.push(port1, port2);
  serve(port1 as unknown as Port, served);
  return new Caller(port2 as unknown as Port);
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

describe('a call', () => {
  test('gets its answer, whatever the order', async () => {
    const caller = connect({ later: async (x: number) => turn().then(() => x * 2), now: async (x: number) => x + 1 });
    expect(await Promise.all([caller.call('later', [1]), caller.call('now', [1])])).toEqual([2, 2]);
  });

  test('that fails throws an SftError with code and hint', async () => {
    const caller = connect({
      refuse: async () => {
        throw new SftError('DATA', 'a.jsonl:3: expected a row', { hint: 'correct it' });
      },
      break: async () => {
        throw new SftError('INTERNAL', 'no plan');
      },
      stop: async () => AbortSignal.abort().throwIfAborted(),
      slip: async () => (undefined as unknown as { x: number }).x,
    });
    await expect(caller.call('refuse', [])).rejects.toSatisfy((error: unknown) => error instanceof SftError);
    await expect(caller.call('refuse', [])).rejects.toMatchObject({
      code: 'DATA',
      message: 'a.jsonl:3: expected a row',
      hint: 'correct it',
    });
    await expect(caller.call('break', [])).rejects.toMatchObject({ code: 'INTERNAL', message: 'internal: no plan' });
    await expect(caller.call('stop', [])).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await expect(caller.call('slip', [])).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('TypeError') as string,
    });
    await expect(caller.call('none', [])).rejects.toMatchObject({ code: 'INTERNAL' });
  });

  test('takes signal and onProgress along; the last report always crosses', async () => {
    const caller = connect({
      async fetchModel(_: string, { signal, onProgress, ...rest }: Required<CallOptions> & { other: number }) {
        for (let done = 0; done <= 100; done++) onProgress({ what: 'a', done, total: 100 });
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return rest;
      },
    });
    const controller = new AbortController();
    const seen: number[] = [];
    const onProgress = ({ done }: { done: number }) => {
      seen.push(done);
      if (done === 100) controller.abort();
    };
    expect(await caller.call('fetchModel', ['x', { signal: controller.signal, onProgress, other: 1 }])).toEqual({
      other: 1,
    });
    expect(seen[0]).toBe(0);
    expect(seen.at(-1)).toBe(100);
    expect(seen.length).toBeLessThan(50);
  });
});

describe('a stream', () => {
  /** Counts, and tells how far it is and whether it was ended. */
  function counting(most: number) {
    const state = { made: 0, ended: false };
    async function* train(_: unknown, { signal }: { signal: AbortSignal }) {
      try {
        for (; state.made < most; ) {
          state.made += 1;
          yield state.made;
          if (signal.aborted) throw new SftError('INTERRUPTED', `stopped after ${state.made}`);
        }
      } finally {
        state.ended = true;
      }
    }
    return { state, caller: connect({ train }) };
  }

  test('comes whole and in order', async () => {
    const { caller } = counting(100);
    const items: number[] = [];
    for await (const item of caller.stream<number>('train', [{}])) items.push(item);
    expect(items).toEqual(Array.from({ length: 100 }, (_, n) => n + 1));
  });

  test('never has more under way than its credit', async () => {
    const { state, caller } = counting(40);
    let taken = 0;
    for await (const _ of caller.stream('train', [{}])) {
      taken += 1;
      await turn();
      expect(state.made - taken).toBeLessThanOrEqual(CREDIT);
    }
    expect(taken).toBe(40);
  });

  test('begins when it is asked for, and ends when it is left', async () => {
    const { state, caller } = counting(1000);
    const items = caller.stream<number>('train', [{}]);
    await turn();
    expect(state.made).toBe(0);
    for await (const item of items) if (item === 3) break;
    expect(state.ended).toBe(true);
    expect(state.made).toBeLessThanOrEqual(3 + CREDIT);
  });

  test('that is aborted ends with what the other side throws, though nobody takes anything', async () => {
    const { state, caller } = counting(1000);
    const controller = new AbortController();
    const items = caller.stream<number>('train', [{}, { signal: controller.signal }]);
    await items.next();
    await turn();
    controller.abort();
    while (!state.ended) await turn();
    const rest = async () => {
      for await (const _ of items) await turn();
    };
    await expect(rest()).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });
});

test('when the other side is gone, everything fails with one error', async () => {
  const never = () => new Promise<never>(() => {});
  const caller = connect({
    never,
    async *train() {
      yield await never();
    },
  });
  const waiting = [caller.call('never', []), caller.call('never', []), caller.stream('train', []).next()];
  queueMicrotask(() => caller.fail(new SftError('WORKER_LOST', 'gone')));
  const outcomes = await Promise.allSettled(waiting);
  const later = await Promise.allSettled([caller.call('never', []), caller.stream('train', []).next()]);
  for (const outcome of [...outcomes, ...later]) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'WORKER_LOST', message: 'gone' } });
  }
});
