import type { Stream } from '../../src/cli/terminal.ts';

/** A stream that keeps what is written to it; `fail` is what happens when its reader has gone. */
export function fakeStream(options: { isTTY?: boolean; columns?: number } = {}) {
  let text = '';
  const listeners: ((error: Error) => void)[] = [];
  return {
    ...options,
    write(part: string) {
      text += part;
      return true;
    },
    on: (_event: 'error', listener: (error: Error) => void) => void listeners.push(listener),
    text: () => text,
    fail: () => {
      for (const listener of listeners) listener(new Error('EPIPE'));
    },
  } satisfies Stream & Record<string, unknown>;
}
