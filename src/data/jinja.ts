/**
 * Chat templates with @huggingface/jinja, made safe and closer to Python's Jinja2, which models are trained with:
 *
 * - a template that does not end is stopped: steps, time and the lengths of texts and lists are bounded. Templates
 *   reach no JavaScript object, so `constructor` and `__proto__` are undefined names in them;
 * - `{% generation %}` blocks are followed (the library drops them): what they print is reported as spans of the text;
 * - what differs from Python is put right, or refused, where it would change the text unseen (`jinjaInterpreter.ts`).
 */

import { Environment, parse, tokenize } from '@huggingface/jinja';
import type { Limits, Node } from './jinjaInterpreter.ts';
import { GENERATION, LIMITS, OwnInterpreter, withOwnBlocks } from './jinjaInterpreter.ts';
import type { Span } from './labels.ts';

/** As in Jinja2's sandbox. */
const MAX_RANGE = 100_000;

/** What a template says about its input with `raise_exception`. */
export class TemplateRaised extends Error {}

/** A parsed template. */
export interface Template {
  readonly source: string;
  readonly program: Node;
  /** Whether it has `{% generation %}` blocks. */
  readonly marksGeneration: boolean;
}

export interface TemplateOutput {
  readonly text: string;
  /** What generation blocks printed, in UTF-16 offsets of `text`. */
  readonly generation: Span[];
}

/** Parses a template. Throws the library's `SyntaxError`. */
export function parseTemplate(source: string): Template {
  const tag = /\{%(-?)\s*(end)?generation\s*(-?)%\}/g;
  const called = source.replace(tag, (_, open: string, end: string | undefined, close: string) =>
    end === undefined ? `{%${open} call ${GENERATION}() ${close}%}` : `{%${open} endcall ${close}%}`,
  );
  // The options with which transformers makes its environment.
  const program = withOwnBlocks(parse(tokenize(called, { lstrip_blocks: true, trim_blocks: true })));
  return { source, program, marksGeneration: called !== source };
}

/** Renders with `variables` (plain JSON values) and the functions that chat templates expect. */
export function renderTemplate(
  template: Template,
  variables: Readonly<Record<string, unknown>>,
  limits: Limits = LIMITS,
): TemplateOutput {
  const environment = new Environment();
  const globals = { true: true, True: true, false: false, False: false, none: null, None: null };
  const functions = {
    raise_exception: raise,
    range: boundedRange,
    strftime_now: (format: string) => strftime(new Date(), format),
  };
  for (const [name, value] of Object.entries({ ...globals, ...functions, ...variables })) environment.set(name, value);

  const [open = '', close = ''] = template.marksGeneration ? unusedCharacters([template.source, variables], 2) : [];
  const marked = new OwnInterpreter(environment, open, close, limits)
    .evaluate(template.program, environment)
    .toString();
  return template.marksGeneration ? takeOutMarks(marked, open, close) : { text: marked, generation: [] };
}

/** `count` private-use characters that occur nowhere in `values`. */
export function unusedCharacters(values: readonly unknown[], count: number): string[] {
  const used = new Set(JSON.stringify(values).match(/[\ue000-\uf8ff]/g));
  const free: string[] = [];
  for (let code = 0xe000; code <= 0xf8ff && free.length < count; code++) {
    const character = String.fromCharCode(code);
    if (!used.has(character)) free.push(character);
  }
  if (free.length < count) throw new Error(`expected ${count} unused private-use characters, got ${free.length}`);
  return free;
}

function takeOutMarks(marked: string, open: string, close: string): TemplateOutput {
  const generation: Span[] = [];
  let text = '';
  let start = 0;
  for (const piece of marked.split(new RegExp(`([${open}${close}])`))) {
    if (piece === open) start = text.length;
    else if (piece === close) generation.push([start, text.length]);
    else text += piece;
  }
  return { text, generation };
}

function raise(message: unknown): never {
  throw new TemplateRaised(String(message));
}

/** Python's `range`, refusing more than `MAX_RANGE` numbers. */
function boundedRange(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  if (![start, stop, step].every(Number.isInteger) || step === 0)
    throw new Error('range() takes integers, and a step that is not 0');
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > MAX_RANGE) throw new Error(`range() of ${length} numbers is too long; ${MAX_RANGE} are allowed`);
  return Array.from({ length }, (_, i) => start + i * step);
}

const MONTHS = 'January February March April May June July August September October November December'.split(' ');
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/** Python's `strftime` in the C locale, for the fields that templates use; others stay as they are. */
export function strftime(date: Date, format: string): string {
  const pad = (value: number): string => String(value).padStart(2, '0');
  const month = MONTHS[date.getMonth()]!;
  const day = DAYS[date.getDay()]!;
  const fields: Readonly<Record<string, string>> = {
    Y: String(date.getFullYear()),
    y: pad(date.getFullYear() % 100),
    m: pad(date.getMonth() + 1),
    d: pad(date.getDate()),
    B: month,
    b: month.slice(0, 3),
    A: day,
    a: day.slice(0, 3),
    H: pad(date.getHours()),
    I: pad(date.getHours() % 12 || 12),
    M: pad(date.getMinutes()),
    S: pad(date.getSeconds()),
    p: date.getHours() < 12 ? 'AM' : 'PM',
    '%': '%',
  };
  return format.replace(/%(.)/g, (whole, field: string) => fields[field] ?? whole);
}
