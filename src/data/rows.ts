/**
 * Rows of training data: the shapes that files come in, and the three that the rest of the project knows.
 *
 *     {messages: [{role, content}…], tools?, source?}      chat
 *     {prompt, completion}                                 raw text, the completion is learnt
 *     {text}                                               raw text, all of it is learnt
 *
 * SFT-Play rows {system, user, assistant}, {question, answer}, Alpaca {instruction, input, output} and ShareGPT
 * {conversations: [{from, value}…]} become chat rows. A row that is none of these is an error with file and line.
 */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';
import type { JsonObject } from './files.ts';
import { describe, isObject } from './files.ts';
import { attempt } from './jsonl.ts';
import { readRecords } from './records.ts';

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

export type Row = ChatRow | PromptCompletionRow | TextRow;

/** `data.format`. */
export type RowFormat = 'auto' | keyof typeof SHAPES;

export interface RowOptions {
  /** Forces one shape; `auto` (default) tells them apart by their keys. */
  readonly format?: RowFormat;
  /** `data.columns`: this project's field name → the file's. */
  readonly columns?: Readonly<Record<string, string>>;
  /** `data.style`: system text that replaces a chat row's own. */
  readonly style?: string | null;
  /** Told of each bad row, which is then passed over; without it the first one is thrown. */
  readonly onProblem?: (problem: SftError) => void;
}

/** `file:line`, for messages. */
export function whereOf(row: RowPlace): string {
  return `${row.file}:${row.line}`;
}

/**
 * Yields the rows of one data file in its order; the end of its name says what it is (`records.ts`). Throws `DATA`; a file
 * without rows is an error.
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
  for await (const { value, line } of readRecords(source, tell)) {
    count += 1;
    const row = attempt(() => toRow(value, { file: source.name, line }, options), tell);
    if (row) yield row;
  }
  if (count === 0 && problems === 0) {
    throw new SftError('DATA', `${source.name}: expected at least one row, got an empty file`, {
      hint: 'write one JSON object per line, such as {"messages": [{"role": "user", "content": "…"}, …]}',
    });
  }
}

/** Turns one JSON value into a row. Throws `DATA` with `file:line`. */
export function toRow(value: unknown, place: { file: string; line: number }, options: RowOptions = {}): Row {
  const { format = 'auto', columns = {}, style = null } = options;
  const where = whereOf(place);
  if (!isObject(value)) {
    throw new SftError('DATA', `${where}: expected a JSON object, got ${describe(value)}`, { hint: SHAPES_HINT });
  }
  const own = ownShape(value, format, columns);
  const fields = own ? value : renameColumns(value, columns, where);
  const shape = SHAPES[own ?? (format === 'auto' ? detect(fields, columns, where) : format)];
  const missing = shape.needs.filter((name) => fields[name] === undefined);
  if (missing.length > 0) {
    throw new SftError('DATA', `${where}: expected ${quoted(shape.needs)}, got ${quoted(Object.keys(value))}`, {
      hint: 'set data.format to the shape of your rows, or name your columns in data.columns',
    });
  }
  const source = fields['source'];
  const common = { ...place, ...(typeof source === 'string' && source !== '' ? { source } : {}) };
  const row: Row = { ...common, ...shape.convert(fields, where) };
  return style === null || row.kind !== 'chat' ? row : { ...row, messages: withSystem(row.messages, style) };
}

/** The same messages with `system` as their system text, replacing one that is there. */
function withSystem(messages: readonly Message[], system: string): readonly Message[] {
  const rest = messages[0]?.role === 'system' ? messages.slice(1) : messages;
  return [{ role: 'system', content: system }, ...rest];
}

type Content =
  | Pick<ChatRow, 'kind' | 'messages' | 'tools'>
  | Pick<PromptCompletionRow, 'kind' | 'prompt' | 'completion'>
  | Pick<TextRow, 'kind' | 'text'>;

interface Shape {
  /** Fields that make up the shape; all must be there. */
  readonly needs: readonly string[];
  readonly convert: (fields: JsonObject, where: string) => Content;
}

const textShape: Shape = {
  needs: ['text'],
  convert: (fields, where) => ({ kind: 'text', text: text(fields, 'text', where) }),
};

/** Every shape by the name that `data.format` has for it, in the order in which `auto` tries them. */
const SHAPES = {
  messages: {
    needs: ['messages'],
    convert: (fields, where) => conversation(fields, 'messages', where),
  },
  sharegpt: {
    needs: ['conversations'],
    convert: (fields, where) => conversation(fields, 'conversations', where),
  },
  chat: {
    needs: ['user', 'assistant'],
    convert: (fields, where) => singleTurn(fields, text(fields, 'user', where), 'assistant', where),
  },
  qa: {
    needs: ['question', 'answer'],
    convert: (fields, where) => singleTurn(fields, text(fields, 'question', where), 'answer', where),
  },
  alpaca: {
    needs: ['instruction', 'output'],
    convert(fields, where) {
      const instruction = text(fields, 'instruction', where);
      const input = optionalText(fields, 'input', where);
      return singleTurn(fields, input === '' ? instruction : `${instruction}\n\n${input}`, 'output', where);
    },
  },
  prompt_completion: {
    needs: ['prompt', 'completion'],
    convert: (fields, where) => ({
      kind: 'prompt_completion',
      prompt: text(fields, 'prompt', where),
      completion: text(fields, 'completion', where),
    }),
  },
  text: textShape,
  documents: textShape,
} satisfies Record<string, Shape>;

const SHAPES_HINT =
  'rows may be {"messages": […]}, {"system", "user", "assistant"}, {"question", "answer"}, ' +
  '{"instruction", "input", "output"}, {"conversations": […]}, {"prompt", "completion"} or {"text"}; ' +
  'other column names go into data.columns';

/** With `columns`, the shape that the renamed fields make up wins over one that the file's own keys happen to make. */
function detect(fields: JsonObject, columns: Readonly<Record<string, string>>, where: string): keyof typeof SHAPES {
  const names = Object.keys(SHAPES) as (keyof typeof SHAPES)[];
  const renamed = Object.keys(columns);
  const found =
    names.find((name) => renamed.length > 0 && SHAPES[name].needs.every((field) => renamed.includes(field))) ??
    names.find((name) => SHAPES[name].needs.every((field) => fields[field] !== undefined && fields[field] !== null));
  if (found !== undefined) return found;
  throw new SftError('DATA', `${where}: expected a row of a known shape, got the keys ${quoted(Object.keys(fields))}`, {
    hint: SHAPES_HINT,
  });
}

/** All keys that a row has as `process` writes it, but for `tools` and `source`. */
const OWN_KEYS = {
  chat: ['system', 'user', 'assistant'],
  messages: ['messages'],
  prompt_completion: ['prompt', 'completion'],
  text: ['text'],
} as const;

/**
 * The shape of a row that `process` has written, else null. Its names are those of this project already, whatever
 * `columns` and `format` say of the raw files: both stay in the configuration when it goes on to train.
 */
function ownShape(row: JsonObject, format: RowFormat, columns: Readonly<Record<string, string>>) {
  if (Object.values(columns).some((name) => Object.hasOwn(row, name))) return null;
  const keys = Object.keys(row).filter((key) => key !== 'tools' && key !== 'source');
  const names = Object.keys(OWN_KEYS) as (keyof typeof OWN_KEYS)[];
  const found = names.find((name) => OWN_KEYS[name].join() === keys.join());
  if (found === undefined || format === 'auto' || format === found) return found ?? null;
  const isChat = (name: RowFormat) => !['prompt_completion', 'text', 'documents'].includes(name);
  return isChat(found) && isChat(format) ? found : null;
}

/** Fields that a row may lack even when `columns` names them. */
const OPTIONAL = new Set(['system', 'input', 'tools', 'source']);

function renameColumns(row: JsonObject, columns: Readonly<Record<string, string>>, where: string): JsonObject {
  if (Object.keys(columns).length === 0) return row;
  const taken = new Set(Object.values(columns));
  const kept = Object.entries(row).filter(([name]) => !taken.has(name));
  const renamed = Object.entries(columns).map(([ours, theirs]) => {
    if (!Object.hasOwn(row, theirs) && !OPTIONAL.has(ours)) {
      throw new SftError('DATA', `${where}: expected the column "${theirs}", got ${quoted(Object.keys(row))}`, {
        hint: `data.columns says that "${ours}" is in "${theirs}"`,
      });
    }
    return [ours, row[theirs]] as const;
  });
  return Object.fromEntries([...kept, ...renamed]);
}

function quoted(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.map((name) => `"${name}"`).join(', ');
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
