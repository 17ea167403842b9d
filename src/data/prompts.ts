/**
 * Prompts to answer: one a line of a text file, or one a row of a `.jsonl` or `.json` file.
 *
 * A row is a conversation (`messages`, or ShareGPT's `conversations`), whose last assistant turn is left out when it ends
 * with one; or it has one question under a name that training rows use: `prompt`, `user`, `question` or `instruction` with
 * `input`, each with an optional `system`.
 */
import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';
import { describe, isObject, type JsonObject } from './files.ts';
import { readLineTexts } from './lines.ts';
import { readRecords } from './records.ts';
import { type Message, toRow } from './rows.ts';

/** A conversation that waits for an answer. */
export interface Prompt {
  readonly messages: readonly Message[];
  /** The last user message. */
  readonly text: string;
}

/** Yields the prompts of a file in their order. Throws `DATA` with `file:line`, and when there are none. */
export async function* readPrompts(source: ReadableSource): AsyncGenerator<Prompt> {
  let count = 0;
  const rows = /\.(jsonl|ndjson|json)$/i.test(source.name);
  for await (const prompt of rows ? fromRows(source) : fromLines(source)) {
    count += 1;
    yield prompt;
  }
  if (count === 0) {
    throw new SftError('DATA', `${source.name}: expected at least one prompt, got an empty file`, {
      hint: 'write one prompt a line, or one {"prompt": "…"} a line into a .jsonl file',
    });
  }
}

async function* fromLines(source: ReadableSource): AsyncGenerator<Prompt> {
  for await (const text of readLineTexts(source)) yield { messages: [{ role: 'user', content: text }], text };
}

async function* fromRows(source: ReadableSource): AsyncGenerator<Prompt> {
  for await (const { value, line } of readRecords(source)) {
    const where = `${source.name}:${line}`;
    const messages = isObject(value) ? conversationOf(value, source.name, line) : null;
    const last = messages?.findLast(({ role }) => role === 'user');
    if (!messages || !last) {
      const got = isObject(value) ? `the keys ${Object.keys(value).join(', ')}` : describe(value);
      throw new SftError('DATA', `${where}: expected a prompt, got ${got}`, {
        hint: 'give each row "prompt", "user", "question", "instruction" or "messages" with a user turn',
      });
    }
    yield { messages, text: last.content ?? '' };
  }
}

const QUESTIONS = ['prompt', 'user', 'question', 'instruction'] as const;

function conversationOf(row: JsonObject, file: string, line: number): readonly Message[] | null {
  const list = row.messages ?? row.conversations;
  if (Array.isArray(list)) {
    // A training row needs an answer, a prompt has none: an empty one is added, and taken away again with any other.
    const closed = {
      ...row,
      [row.messages ? 'messages' : 'conversations']: [...list, { role: 'assistant', content: '' }],
    };
    const parsed = toRow(closed, { file, line }, { format: row.messages ? 'messages' : 'sharegpt' });
    const messages = parsed.kind === 'chat' ? parsed.messages.slice(0, -1) : [];
    return messages.at(-1)?.role === 'assistant' ? messages.slice(0, -1) : messages;
  }
  const name = QUESTIONS.find((key) => typeof row[key] === 'string');
  if (name === undefined) return null;
  const input = name === 'instruction' && typeof row.input === 'string' ? row.input : '';
  const content = input === '' ? (row[name] as string) : `${row[name] as string}\n\n${input}`;
  const { system } = row;
  const user = { role: 'user', content };
  return typeof system === 'string' && system !== '' ? [{ role: 'system', content: system }, user] : [user];
}
