/** Talking to the model, with what was trained or without. */
import { signal } from '@preact/signals';
import { engine } from './engine.ts';
import { bringModel } from './model.ts';
import { attempt, isInterruption } from './problems.ts';
import { place } from './shown.ts';

export interface Turn {
  readonly id: number;
  readonly role: 'user' | 'assistant';
  readonly content: string;
  /** Of an answer: whether what was trained took part. */
  readonly adapted: boolean;
  readonly state: 'writing' | 'whole' | 'cut';
}

export const turns = signal<readonly Turn[]>([]);
export const useAdapter = signal(true);
export const answering = signal(false);

const MAX_NEW_TOKENS = 256;
let stop = new AbortController();
let nextId = 0;

function add(turn: Omit<Turn, 'id'>): number {
  nextId += 1;
  turns.value = [...turns.value, { ...turn, id: nextId }];
  return nextId;
}

function change(id: number, part: Partial<Turn>): void {
  turns.value = turns.value.map((turn) => (turn.id === id ? { ...turn, ...part } : turn));
}

/** Sends a message and writes the answer down as it comes. Resolves to whether the message went out. */
export async function send(message: string): Promise<boolean> {
  if (message.trim() === '' || answering.value) return false;
  answering.value = true;
  stop = new AbortController();
  const { signal } = stop;
  try {
    await untilAborted(bringModel(), signal);
    const where = place.value;
    if (!where || signal.aborted) return false;
    const adapted = useAdapter.value && where.outputDir !== undefined;
    const said = turns.value.filter(({ content }) => content !== '');
    const messages = [...said.map(({ role, content }) => ({ role, content })), { role: 'user', content: message }];
    add({ role: 'user', content: message, adapted, state: 'whole' });
    const id = add({ role: 'assistant', content: '', adapted, state: 'writing' });
    const whole = await attempt('chat', async () => {
      let content = '';
      try {
        const options = { useAdapter: adapted, maxNewTokens: MAX_NEW_TOKENS, signal };
        for await (const piece of (await engine()).answer(where, messages, options)) {
          if (signal.aborted) return false;
          content += piece;
          change(id, { content });
        }
      } catch (error) {
        if (!isInterruption(error)) throw error;
      }
      return !signal.aborted;
    });
    if (!signal.aborted) change(id, { state: whole ? 'whole' : 'cut' });
    return true;
  } finally {
    if (stop.signal === signal) answering.value = false;
  }
}

/** Waits for a promise, but no longer than until `signal` is aborted. */
function untilAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<unknown> {
  return Promise.race([promise, new Promise((resolve) => signal.addEventListener('abort', resolve))]);
}

/** What is written stands; the engine ends within a token. */
export function stopAnswer(): void {
  stop.abort();
  turns.value = turns.value.map((turn) => (turn.state === 'writing' ? { ...turn, state: 'cut' } : turn));
  answering.value = false;
}

export function newConversation(): void {
  stopAnswer();
  turns.value = [];
}
