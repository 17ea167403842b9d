/**
 * Where a rendered conversation holds each assistant's turn, for any chat template: by marks (`marks.ts`), and where a
 * template minds those, by what follows the generation prompt.
 */

import { SftError } from '../platform/errors.ts';
import type { Span } from './labels.ts';
import type { ChatContext, Mark } from './marks.ts';
import { findMarks, hasExtras, withoutExtras } from './marks.ts';
import type { Message } from './rows.ts';

/** An assistant's turn: its place among the messages, and what of the text is trained. */
export interface Turn {
  readonly index: number;
  readonly spans: Span[];
}

/** What an assistant said, before its stop token is known. */
interface Region {
  readonly index: number;
  readonly parts: readonly Span[];
  /** All up to the stop token belongs to the turn, as with tool calls; else only white space does. */
  readonly whole: boolean;
  /** Where the turn ends at the latest, if that is known. */
  readonly limit?: number;
}

/**
 * Finds every assistant's turn with its stop token. `special`: where special tokens stand in the text. A turn that the
 * template leaves out has no spans. Throws `TEMPLATE` when the turns cannot be told from the rest.
 */
export function locateTurns(context: ChatContext, special: readonly Span[]): Turn[] {
  const marks = findMarks(context);
  const assistants = context.messages.flatMap((message, index) => (message.role === 'assistant' ? [index] : []));
  const regions = assistants.map((index) =>
    marks === null ? searchRegion(context, index) : markedRegion(context, index, marks),
  );
  return regions.map((region, i) => {
    const nextTurn = regions.slice(i + 1).flatMap(({ parts }) => parts.map(([start]) => start));
    const spans = region.parts.flatMap((part) => {
      const others =
        marks?.filter(({ message }) => message !== region.index).map(({ position }) => position) ?? nextTurn;
      const limit = others.find((position) => position >= part[1]) ?? Number.POSITIVE_INFINITY;
      return withStopToken(part, region.whole, Math.min(limit, region.limit ?? limit), special, context.text);
    });
    return { index: region.index, spans };
  });
}

/** Adds the first special token after a part, when it comes before `limit`, where another message begins. */
function withStopToken(part: Span, whole: boolean, limit: number, special: readonly Span[], text: string): Span[] {
  // Places that were found by comparing texts may lie within a special token.
  const around = (place: number): Span | undefined => special.find(([from, to]) => from < place && place < to);
  const start = around(part[0])?.[0] ?? part[0];
  const end = around(part[1])?.[1] ?? part[1];
  const stop = special.find(([stopStart]) => stopStart >= end);
  if (stop === undefined || stop[0] >= limit) return [[start, end]];
  return whole || text.slice(end, stop[0]).trim() === '' ? [[start, stop[1]]] : [[start, end], stop];
}

/**
 * The length of the prompt that message `index` answers: the messages before it, rendered with the generation prompt.
 * Null when the whole conversation does not begin with it (the template renders history in another way).
 */
export function promptLength({ template, messages, tools, where, text }: ChatContext, index: number): number | null {
  let prompt: string;
  try {
    prompt = template.render({ messages: messages.slice(0, index), tools, addGenerationPrompt: true, where }).text;
  } catch {
    return null; // the template refuses the conversation without its rest
  }
  return text.startsWith(prompt) ? prompt.length : null;
}

function markedRegion(context: ChatContext, index: number, marks: readonly Mark[]): Region {
  const own = marks.filter(({ message }) => message === index);
  const plain = contentParts(own);
  if (plain !== null) return { index, parts: plain, whole: false };
  const [first, last] = [own[0]?.position, own.at(-1)?.position];
  if (first === undefined && (context.messages[index]!.content ?? '') !== '') return { index, parts: [], whole: true };
  const extras = findExtras(
    context,
    index,
    own.map(({ position }) => position),
  );
  // Reasoning, tool calls, an empty content, or one that the template takes apart begin where the prompt ends.
  const prompt = promptLength(context, index);
  const start = prompt !== null && prompt <= (first ?? prompt) ? prompt : (extras?.span[0] ?? first);
  if (start === undefined) return { index, parts: [], whole: true };
  const end = extras?.span[1] ?? last ?? start;
  return { index, parts: [[start, Math.max(start, end)]], whole: true, ...(extras?.limit && { limit: extras.limit }) };
}

/**
 * Where a message has its reasoning and tool calls with all that the template writes around them: where the conversation up
 * to it is another text than without them, and at least from the first to the last of its `own` marks. `limit`: where the
 * turn ends. Null when it has none of them, and when the template does not tell.
 */
function findExtras(
  context: ChatContext,
  index: number,
  own: readonly number[],
): { span: Span; limit?: number } | null {
  const { template, tools, where, text } = context;
  const message = context.messages[index]!;
  if (!hasExtras(message)) return null;
  const render = (one: Message): string =>
    template.render({ messages: [...context.messages.slice(0, index), one], tools, where }).text;
  let [whole, bare] = ['', ''];
  try {
    [whole, bare] = [render(message), render(withoutExtras(message))];
  } catch {
    return null; // the template refuses the conversation without its rest, or the message without its calls
  }
  const isBeginning = text.startsWith(whole);
  // Templates may repeat the name of a call with its result.
  const inTurn = isBeginning ? own.filter((position) => position <= whole.length) : own;
  const [first, last] = [inTurn[0], inTurn.at(-1)];
  if (first === undefined || last === undefined) return null;
  let start = 0;
  while (start < first && whole[start] === bare[start]) start += 1;
  let end = whole.length;
  while (end > last && whole[end - 1] === bare[bare.length - whole.length + end - 1]) end -= 1;
  if (end < last || !text.startsWith(whole.slice(0, end))) return null;
  return { span: [start, end], ...(isBeginning && { limit: whole.length }) };
}

/** The contents between their start and end marks, or null when there is more, or less, than whole contents. */
function contentParts(own: readonly Mark[]): Span[] | null {
  const parts: Span[] = [];
  let start: number | null = null;
  for (const { kind, position } of own) {
    if ((kind === 'start') !== (start === null)) return null;
    if (kind === 'start') start = position;
    if (kind !== 'end') continue;
    parts.push([start!, position]);
    start = null;
  }
  return start === null && parts.length > 0 ? parts : null;
}

/** Without marks: a content that follows its prompt, or occurs once. */
function searchRegion(context: ChatContext, index: number): Region {
  const { text, where, template } = context;
  const message = context.messages[index]!;
  const content = (message.content ?? '').trim();
  const prompt = promptLength(context, index);
  const found = content === '' ? -1 : text.indexOf(content, prompt ?? 0);
  const part: Span = [found, found + content.length];
  if (prompt !== null) {
    const follows = found !== -1 && text.slice(prompt, found).trim() === '' && !hasExtras(message);
    return follows ? { index, parts: [part], whole: false } : { index, parts: [[prompt, prompt]], whole: true };
  }
  if (found !== -1 && !text.includes(content, found + 1) && !hasExtras(message))
    return { index, parts: [part], whole: false };
  throw new SftError(
    'TEMPLATE',
    `${where}: expected the assistant's message ${index} in what ${template.source} made, got no place that is sure`,
    {
      hint: 'put {% generation %} … {% endgeneration %} around what the assistant says, or set data.train_on: all',
    },
  );
}
