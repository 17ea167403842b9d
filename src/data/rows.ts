/**
 * Rows of training data: the shapes that files come in, and the three that the rest of the project knows.
 *
 *     {messages: [{role, content}…], tools?, source?}      chat
 *     {prompt, completion}                                 raw text, the completion is learnt
 *     {text}                                               raw text, all of it is learnt
 *
 * SFT-Play rows {system, user, assistant}, {question, answer}, Alpaca {instruction, input, output} and ShareGPT
 * {conversations: [{from, value}…]} become chat rows; `shapes.ts` tells them apart. A row that is none of these is an
 * error with file and line.
 */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';
import { extensionOf } from './bytes.ts';
import type { JsonObject } from './files.ts';
import { describe, isObject } from './files.ts';
import { attempt } from './jsonl.ts';
import { MAX_ROW_BYTES } from './lines.ts';
import { fillPromptTemplate, type PromptTemplate } from './promptTemplate.ts';
import { readRecords } from './records.ts';
import { keysOf, type RowShape, recognise, type ShapeOptions } from './shapes.ts';

/** One turn. Further fields (`tool_calls`, `reasoning_content`, `name` …) go to the chat template as they are. */
export interface Message {
  readonly role: string;
  /** Null only in an assistant's turn that calls tools. */
  readonly content: string | null;
  readonly [field: string]: unknown;
}

interface RowPlace {
  /** The data file, as it was named. */
  readonly file: string;
  /** Where the row begins, from 1. */
  readonly line: number;
  /** Where the row came from, when the data says so. */
  readonly source?: string;
}

export interface ChatRow extends RowPlace {
  readonly kind: 'chat';
  readonly messages: readonly Message[];
  /** JSON schemas of tools, for the chat template. */
  readonly tools?: readonly unknown[];
}

export interface PromptCompletionRow extends RowPlace {
  readonly kind: 'prompt_completion';
  readonly prompt: string;
  readonly completion: string;
}

export interface TextRow extends RowPlace {
  readonly kind: 'text';
  readonly text: string;
}

/** A row in one of the three forms that all shapes become; `kind` tells them apart. */
export type Row = ChatRow | PromptCompletionRow | TextRow;

export interface RowOptions extends ShapeOptions {
  /** `data.style`: system text that replaces a chat row's own. */
  readonly style?: string | null;
  /** Told of each bad row, which is then passed over; without it the first one is thrown. */
  readonly onProblem?: ((problem: SftError) => void) | undefined;
  /** Told what each row is taken for. */
  readonly onShape?: ((shape: RowShape) => void) | undefined;
}

/** `file:line`, for messages. */
export function whereOf(row: RowPlace): string {
  return `${row.file}:${row.line}`;
}

/**
 * Yields the rows of one data file in its order; the end of its name says what it is (`records.ts`). Throws `DATA`; a file
 * without rows is an error, and so are rows that fit two shapes and files that mix chats with raw text.
 */
export async function* readRows(source: ReadableSource, options: RowOptions = {}): AsyncGenerator<Row> {
  let count = 0;
  let problems = 0;
  const { onProblem } = options;
  const tell =
    onProblem &&
    ((problem: SftError) => {
      problems += 1;
      onProblem(problem);
    });
  const rows = new FileRows(source.name, options);
  for await (const { value, line } of readRecords(source, tell)) {
    count += 1;
    const row = attempt(() => rows.take(value, line), tell);
    if (row) yield row;
  }
  attempt(() => rows.end(), tell);
  if (count === 0 && problems === 0) {
    const isTable = ['csv', 'tsv', 'parquet'].includes(extensionOf(source));
    throw new SftError('DATA', `${source.name}: expected at least one row, got none`, {
      hint: isTable
        ? 'write rows below the names of the columns'
        : 'write one JSON object per line, such as {"messages": [{"role": "user", "content": "…"}, …]}',
    });
  }
}

/** The rows of one file: what only two of them show is said of two of them. */
class FileRows {
  readonly #file: string;
  readonly #options: RowOptions;
  /** A row that fits several shapes, until the next one is seen, which is shown with it. One of a file is told of. */
  #unclear: { readonly line: number; readonly keys: string; readonly shapes: readonly RowShape[] } | 'told' | null =
    null;
  /** The first row whose kind counts, and whether another kind has been told of. */
  #first: { readonly row: Row; readonly value: JsonObject } | null = null;
  #isMixed = false;

  constructor(file: string, options: RowOptions) {
    this.#file = file;
    this.#options = options;
  }

  /** The row, or null where it is still to be told that nobody can say what it is. Throws `DATA`. */
  take(value: unknown, line: number): Row | null {
    const place = { file: this.#file, line };
    if (this.#unclear !== null) this.#tellUnclear(isObject(value) ? `; on line ${line} ${keysOf(value)}` : '');
    const { shapes, fields } = recognise(value, whereOf(place), this.#options);
    if (shapes.length > 1) {
      this.#unclear ??= { line, keys: keysOf(value as JsonObject), shapes };
      return null;
    }
    const row = convert(fields, shapes[0]!, place, this.#options);
    if (shapes[0] !== 'documents') refuseLongText(row);
    this.#expectOneKind(row, value as JsonObject);
    this.#options.onShape?.(shapes[0]!);
    return row;
  }

  end(): void {
    this.#tellUnclear('');
  }

  #tellUnclear(next: string): void {
    if (this.#unclear === null || this.#unclear === 'told') return;
    const { line, keys, shapes } = this.#unclear;
    this.#unclear = 'told';
    throw unclear(whereOf({ file: this.#file, line }), `${keys}${next}`, shapes);
  }

  /**
   * Where chats and raw text are one file, one of them is a mistake. What `process` has put together from files of either
   * kind says of each row where it comes from.
   */
  #expectOneKind(row: Row, value: JsonObject): void {
    const { format = 'auto', raw = false } = this.#options;
    if (this.#isMixed || (row.kind === 'text' && format === 'documents') || (!raw && row.source !== undefined)) return;
    this.#first ??= { row, value };
    const { row: first, value: firstValue } = this.#first;
    if (first.kind === row.kind) return;
    this.#isMixed = true;
    const before = `${KINDS[first.kind]} at ${whereOf(first)} (${keysOf(firstValue)})`;
    const got = `${KINDS[row.kind]} (${keysOf(value)}) after ${before}`;
    const hasPrompts = [row.kind, first.kind].includes('prompt_completion');
    const apart = 'write either kind into a file of its own';
    throw new SftError('DATA', `${whereOf(row)}: expected rows of one kind in a file, got ${got}`, {
      hint: hasPrompts ? apart : `set data.format: documents where the texts are documents to learn whole, or ${apart}`,
    });
  }
}

/** A text of this length is a book. As one row it would be cut after its first page, and no file of rows could hold it. */
function refuseLongText(row: Row): void {
  if (row.kind !== 'text' || row.text.length <= MAX_ROW_BYTES) return;
  throw new SftError(
    'DATA',
    `${whereOf(row)}: expected a text of at most ${MAX_ROW_BYTES >> 20} MiB in a row, got a longer one`,
    {
      hint: 'set data.format: documents, which cuts texts into chunks',
    },
  );
}

const KINDS = { chat: 'a chat', prompt_completion: 'a prompt and its completion', text: 'a text' } as const;

function unclear(where: string, keys: string, shapes: readonly RowShape[]): SftError {
  const names = `${shapes.slice(0, -1).join(', ')} and ${shapes.at(-1)}`;
  return new SftError('DATA', `${where}: expected a row of one shape, got keys that fit ${names}: ${keys}`, {
    hint: `set data.format: ${shapes.join(' or data.format: ')}`,
  });
}

/** Turns one JSON value into a row. Throws `DATA` with `file:line`. */
export function toRow(value: unknown, place: { file: string; line: number }, options: RowOptions = {}): Row {
  const { shapes, fields } = recognise(value, whereOf(place), options);
  if (shapes.length > 1) throw unclear(whereOf(place), keysOf(value as JsonObject), shapes);
  return convert(fields, shapes[0]!, place, options);
}

function convert(fields: JsonObject, shape: RowShape, place: RowPlace, options: RowOptions): Row {
  const { style = null, promptTemplate = null } = options;
  const where = whereOf(place);
  const content =
    shape === 'prompt_template' ? fromTemplate(fields, promptTemplate!, where) : CONVERT[shape](fields, where);
  const { source } = fields;
  const row: Row = Object.assign(content, typeof source === 'string' && source !== '' ? { ...place, source } : place);
  return style === null || row.kind !== 'chat' ? row : { ...row, messages: withSystem(row.messages, style) };
}

/** The same messages with `system` as their system text, replacing one that is there. */
export function withSystem(messages: readonly Message[], system: string): readonly Message[] {
  const rest = messages[0]?.role === 'system' ? messages.slice(1) : messages;
  return [{ role: 'system', content: system }, ...rest];
}

type Content =
  | Pick<ChatRow, 'kind' | 'messages' | 'tools'>
  | Pick<PromptCompletionRow, 'kind' | 'prompt' | 'completion'>
  | Pick<TextRow, 'kind' | 'text'>;

type Convert = (fields: JsonObject, where: string) => Content;

const fromText: Convert = (fields, where) => ({ kind: 'text', text: text(fields, 'text', where) });

const CONVERT: Readonly<Record<Exclude<RowShape, 'prompt_template'>, Convert>> = {
  messages: (fields, where) => conversation(fields, 'messages', where),
  sharegpt: (fields, where) => conversation(fields, 'conversations', where),
  chat: (fields, where) => singleTurn(fields, text(fields, 'user', where), 'assistant', where),
  qa: (fields, where) => singleTurn(fields, text(fields, 'question', where), 'answer', where),
  alpaca(fields, where) {
    const instruction = text(fields, 'instruction', where);
    const input = optionalText(fields, 'input', where);
    return singleTurn(fields, input === '' ? instruction : `${instruction}\n\n${input}`, 'output', where);
  },
  prompt_completion: (fields, where) => ({
    kind: 'prompt_completion',
    prompt: text(fields, 'prompt', where),
    completion: text(fields, 'completion', where),
  }),
  text: fromText,
  documents: fromText,
};

function fromTemplate(fields: JsonObject, template: PromptTemplate, where: string): Content {
  const turns = fillPromptTemplate(template, (name) => {
    if (!Object.hasOwn(fields, name)) {
      throw new SftError('DATA', `${where}: expected the column "${name}", got ${keysOf(fields)}`, {
        hint: `data.prompt_template names it as {${name}}; other names go into data.columns`,
      });
    }
    const value = fields[name];
    return typeof value === 'number' || typeof value === 'boolean' ? String(value) : text(fields, name, where);
  });
  const messages = turns.flatMap(({ role, content }) => (role === null ? [] : { role, content }));
  return messages.length > 0 ? { kind: 'chat', messages } : { kind: 'text', text: turns[0]!.content };
}

function text(fields: JsonObject, name: string, where: string): string {
  const value = fields[name];
  if (typeof value === 'string') return value;
  throw new SftError('DATA', `${where}: expected "${name}" to be a string, got ${describe(value)}`);
}

/** Empty when the field is absent or null. */
function optionalText(fields: JsonObject, name: string, where: string): string {
  return fields[name] === undefined || fields[name] === null ? '' : text(fields, name, where);
}

function optionalTools(fields: JsonObject, where: string): { tools?: readonly unknown[] } {
  const tools = fields['tools'];
  if (tools === undefined || tools === null) return {};
  if (!Array.isArray(tools))
    throw new SftError('DATA', `${where}: expected "tools" to be a list, got ${describe(tools)}`);
  return tools.length === 0 ? {} : { tools };
}

function singleTurn(fields: JsonObject, user: string, answer: string, where: string): Content {
  const system = optionalText(fields, 'system', where);
  const messages = [
    { role: 'user', content: user },
    { role: 'assistant', content: text(fields, answer, where) },
  ];
  return { kind: 'chat', messages: system === '' ? messages : [{ role: 'system', content: system }, ...messages] };
}

/** Roles as chat templates know them, and the names that ShareGPT files use for them. */
const ROLES: Readonly<Record<string, string>> = {
  system: 'system',
  developer: 'developer',
  user: 'user',
  human: 'user',
  assistant: 'assistant',
  gpt: 'assistant',
  chatgpt: 'assistant',
  model: 'assistant',
  tool: 'tool',
  observation: 'tool',
};

function conversation(fields: JsonObject, name: string, where: string): Content {
  const list = fields[name];
  if (!Array.isArray(list)) {
    throw new SftError('DATA', `${where}: expected "${name}" to be a list of messages, got ${describe(list)}`);
  }
  const messages = list.map((value: unknown, index) => message(value, `${name}[${index}]`, where));
  if (!messages.some(({ role }) => role === 'assistant')) {
    throw new SftError('DATA', `${where}: expected at least one assistant turn, got ${roles(messages)}`, {
      hint: 'a chat row teaches its assistant turns; without one there is nothing to learn',
    });
  }
  const system = optionalText(fields, 'system', where);
  return {
    kind: 'chat',
    messages: system === '' || messages[0]?.role === 'system' ? messages : withSystem(messages, system),
    ...optionalTools(fields, where),
  };
}

function roles(messages: readonly Message[]): string {
  return messages.length === 0 ? 'no messages' : `the roles ${messages.map(({ role }) => role).join(', ')}`;
}

function message(value: unknown, name: string, where: string): Message {
  if (!isObject(value))
    throw new SftError('DATA', `${where}: expected ${name} to be an object, got ${describe(value)}`);
  const { role, content, from, value: said, ...rest } = value;
  const written = role ?? from;
  const known = typeof written === 'string' && Object.hasOwn(ROLES, written) ? ROLES[written] : undefined;
  if (known === undefined) {
    throw new SftError('DATA', `${where}: expected ${name} to have a known role, got ${describe(written)}`, {
      hint: `roles are ${Object.keys(ROLES).join(', ')}`,
    });
  }
  return { role: known, content: messageContent(content ?? said ?? null, known, rest, name, where), ...rest };
}

/**
 * A string; null where tools are called; a list of `{"type": "text", "text"}` parts is joined, as there is no other
 * modality.
 */
function messageContent(content: unknown, role: string, rest: JsonObject, name: string, where: string): string | null {
  if (typeof content === 'string') return content;
  if (content === null && role === 'assistant' && Array.isArray(rest['tool_calls'])) return null;
  if (Array.isArray(content) && content.every((part) => isObject(part) && typeof part['text'] === 'string')) {
    return content.map((part: JsonObject) => part['text']).join('');
  }
  throw new SftError('DATA', `${where}: expected the content of ${name} to be a string, got ${describe(content)}`);
}
