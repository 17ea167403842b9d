/** Rows as this project writes them: JSON Lines that `readRows` reads back as the same rows. */
import type { WritableFile } from '../platform/types.ts';
import type { JsonObject } from './files.ts';
import type { ChatRow, Message, Row } from './rows.ts';

/** What a row teaches, without where it came from: rows with equal contents are duplicates. */
export function rowContent(row: Row): JsonObject {
  switch (row.kind) {
    case 'chat':
      return singleTurn(row) ?? { messages: row.messages, ...(row.tools && { tools: row.tools }) };
    case 'prompt_completion':
      return { prompt: row.prompt, completion: row.completion };
    case 'text':
      return { text: row.text };
  }
}

/** A row to be written: its content, and its `source` where it has one. */
export function rowObject(row: Row): JsonObject {
  return { ...rowContent(row), ...(row.source !== undefined && { source: row.source }) };
}

/** `{system, user, assistant}`, or null for what would lose something in that form. */
function singleTurn({ messages, tools }: ChatRow): JsonObject | null {
  const hasSystem = messages[0]?.role === 'system';
  const [user, assistant, ...more] = hasSystem ? messages.slice(1) : messages;
  const system = hasSystem ? messages[0]?.content : '';
  // An empty system message is not the same as none, which is what an empty "system" says.
  if (tools || more.length > 0 || (hasSystem && system === '') || !messages.every(isPlain)) return null;
  if (user?.role !== 'user' || assistant?.role !== 'assistant') return null;
  return { system, user: user.content, assistant: assistant.content };
}

function isPlain(message: Message): boolean {
  return typeof message.content === 'string' && Object.keys(message).length === 2;
}

/** Whether a question or an answer of the row is empty or only white space. */
export function isEmptyRow(row: Row): boolean {
  if (row.kind === 'text') return blank(row.text);
  return isEmptyAnswer(row) || (row.kind === 'chat' && row.messages.some(isEmptyQuestion));
}

export function isEmptyQuestion({ role, content }: Message): boolean {
  return role === 'user' && blank(content);
}

/** Whether one of the row's answers is empty or only white space, and not a call of tools. */
export function isEmptyAnswer(row: Row): boolean {
  if (row.kind === 'text') return false;
  if (row.kind === 'prompt_completion') return blank(row.completion);
  return row.messages.some(({ role, content, tool_calls: calls }) => {
    return role === 'assistant' && blank(content) && !Array.isArray(calls);
  });
}

function blank(text: string | null): boolean {
  return (text ?? '').trim() === '';
}

const FLUSH_CHARACTERS = 1 << 20;

/** Writes JSON values, one a line, in large pieces. */
export class LineWriter {
  readonly #file: WritableFile;
  #lines: string[] = [];
  #characters = 0;

  constructor(file: WritableFile) {
    this.#file = file;
  }

  async write(value: unknown): Promise<void> {
    const line = `${JSON.stringify(value)}\n`;
    this.#lines.push(line);
    this.#characters += line.length;
    if (this.#characters >= FLUSH_CHARACTERS) await this.#flush();
  }

  async close(): Promise<void> {
    await this.#flush();
    await this.#file.close();
  }

  async #flush(): Promise<void> {
    const text = this.#lines.join('');
    this.#lines = [];
    this.#characters = 0;
    await this.#file.write(new TextEncoder().encode(text));
  }
}
