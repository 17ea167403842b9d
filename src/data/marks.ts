/**
 * Follows contents through a chat template: the conversation is rendered a second time with marks (private-use
 * characters) put into the contents. When taking the marks out gives the first rendering again, the template did not
 * mind them, and where they came out is where the contents are, however the template trims, repeats or moves them.
 */

import { isObject } from './files.ts';
import { unusedCharacters } from './jinja.ts';
import type { Message } from './rows.ts';
import type { ChatTemplate } from './template.ts';
import { REASONING_FIELDS } from './template.ts';

export interface ChatContext {
  readonly template: ChatTemplate;
  readonly messages: readonly Message[];
  readonly tools: readonly unknown[] | undefined;
  /** `file:line`, for messages. */
  readonly where: string;
  /** The conversation as rendered. */
  readonly text: string;
}

/** `start` and `end` stand around a content; `inner` within one, or within reasoning and tool calls. */
type MarkKind = (typeof KINDS)[number];
const KINDS = ['start', 'inner', 'end'] as const;

export interface Mark {
  /** UTF-16 offset in the text without marks. */
  readonly position: number;
  readonly kind: MarkKind;
  /** Index of the message that it was put into. */
  readonly message: number;
}

interface MarkStyle {
  /** Contents of other roles are marked too; they tell where the next turn begins. */
  readonly everyone: boolean;
  /** Marks at every word, for templates that take a content apart; not at its end, where a template trims the parts. */
  readonly words: 'around' | 'before' | 'none';
  /** On which sides marks stand inside the white space around a content, for templates that trim. */
  readonly trimmed: 'none' | 'end' | 'start' | 'both';
}

/** From the most telling to the least intrusive. */
const STYLES: readonly MarkStyle[] = [true, false].flatMap((everyone) =>
  (['around', 'before', 'none'] as const).flatMap((words) =>
    (['none', 'end', 'start', 'both'] as const).map((trimmed) => ({ everyone, words, trimmed })),
  ),
);

/**
 * The marks in the order of the text, or null when the template minds every style (it measures or compares contents).
 */
export function findMarks(context: ChatContext): Mark[] | null {
  const { template, messages, tools } = context;
  let characters: string[];
  try {
    characters = unusedCharacters([template.text, messages, tools], KINDS.length * messages.length);
  } catch {
    return null;
  }
  for (const style of STYLES) {
    const marks = marksOf(context, style, characters, new Set());
    if (marks === null) continue;
    // An empty answer is marked where the template does not ask whether there is one.
    const seen = new Set(marks.map(({ message }) => message));
    const empty = messages.flatMap(({ role, content }, i) =>
      role === 'assistant' && !content && !seen.has(i) ? [i] : [],
    );
    return (empty.length > 0 ? marksOf(context, style, characters, new Set(empty)) : null) ?? marks;
  }
  return null;
}

/** Null when the text is another with these marks. */
function marksOf(
  { template, messages, tools, where, text }: ChatContext,
  style: MarkStyle,
  characters: readonly string[],
  empty: ReadonlySet<number>,
): Mark[] | null {
  const marked = messages.map((message, index) => {
    const [start = '', inner = '', end = ''] = characters.slice(KINDS.length * index);
    return markMessage(message, style, { start, inner, end }, empty.has(index));
  });
  let rendered: string;
  try {
    rendered = template.render({ messages: marked, tools, where }).text;
  } catch {
    return null;
  }
  const { plain, marks } = takeOut(rendered, characters);
  return plain === text ? marks : null;
}

function takeOut(rendered: string, characters: readonly string[]): { plain: string; marks: Mark[] } {
  const indexOf = new Map(characters.map((character, index) => [character, index]));
  const marks: Mark[] = [];
  let plain = '';
  for (const piece of rendered.split(/([\ue000-\uf8ff])/)) {
    const index = indexOf.get(piece);
    if (index === undefined) plain += piece;
    else {
      const message = Math.floor(index / KINDS.length);
      marks.push({ position: plain.length, kind: KINDS[index % KINDS.length]!, message });
    }
  }
  return { plain, marks };
}

type MarkCharacters = Readonly<Record<MarkKind, string>>;

function markMessage(message: Message, style: MarkStyle, marks: MarkCharacters, markEmpty: boolean): Message {
  if (message.role !== 'assistant' && !style.everyone) return message;
  const { content } = message;
  const marked = { ...message, content: content || markEmpty ? markText(content ?? '', style, marks) : content };
  if (message.role !== 'assistant') return marked;
  const inner = { start: marks.inner, inner: marks.inner, end: marks.inner };
  const reasoning = REASONING_FIELDS.flatMap((field) => {
    const value = message[field];
    return typeof value === 'string' && value !== '' ? [[field, markText(value, style, inner)]] : [];
  });
  const calls = message['tool_calls'];
  const markedCalls = Array.isArray(calls)
    ? { tool_calls: calls.map((call: unknown) => markCall(call, marks.inner)) }
    : {};
  return { ...marked, ...Object.fromEntries(reasoning), ...markedCalls };
}

const EXTRAS: ReadonlySet<string> = new Set(['tool_calls', ...REASONING_FIELDS]);

/** Whether a message has reasoning or tool calls besides its content. */
export function hasExtras(message: Message): boolean {
  return Object.entries(message).some(([field, value]) => EXTRAS.has(field) && (value ?? '') !== '');
}

/** A message without its reasoning and tool calls. */
export function withoutExtras(message: Message): Message {
  return Object.fromEntries(Object.entries(message).filter(([field]) => !EXTRAS.has(field))) as Message;
}

const WORDS = { around: /(?<=\s)(?=\S)|(?<=\S)(?=\s)/g, before: /(?<=\s)(?=\S)/g, none: null } as const;

function markText(content: string, { words, trimmed }: MarkStyle, { start, inner, end }: MarkCharacters): string {
  const lead = trimmed === 'start' || trimmed === 'both' ? content.length - content.trimStart().length : 0;
  const tail = trimmed === 'end' || trimmed === 'both' ? Math.max(lead, content.trimEnd().length) : content.length;
  const core = content.slice(lead, tail);
  const marked = WORDS[words] === null ? core : core.replace(WORDS[words], inner);
  return content.slice(0, lead) + start + marked + end + content.slice(tail);
}

/** Marks the name and the arguments of a tool call, which may lie in its `function`. */
function markCall(call: unknown, mark: string): unknown {
  if (!isObject(call)) return call;
  if (isObject(call['function'])) return { ...call, function: markCall(call['function'], mark) };
  const fields = ['name', 'arguments'].filter((field) => call[field] !== undefined);
  return { ...call, ...Object.fromEntries(fields.map((field) => [field, markStrings(call[field], mark)])) };
}

function markStrings(value: unknown, mark: string): unknown {
  if (typeof value === 'string') return mark + value + mark;
  if (Array.isArray(value)) return value.map((item: unknown) => markStrings(item, mark));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, markStrings(item, mark)]));
}
