/**
 * Chat templates: Jinja as transformers renders it, with which models are trained (Jinja2 3.1 in its sandbox, with loop
 * controls, `{% generation %}` blocks and the functions of `apply_chat_template`).
 *
 * - a template that does not end is stopped: steps, time and the lengths of texts and lists are bounded. Templates
 *   reach no JavaScript object, so `constructor` and `__proto__` are undefined names in them;
 * - what generation blocks print is reported as spans of the text.
 */

import { Interpreter, LIMITS, type Limits } from './jinja/interpreter.ts';
import type { Program } from './jinja/parser.ts';
import { parse } from './jinja/parser.ts';
import { fromJson, type PythonFunction, textOf } from './jinja/values.ts';
import type { Span } from './labels.ts';

/** What a template says about its input with `raise_exception`. */
export class TemplateRaised extends Error {}

/** A parsed template. */
export interface Template {
  readonly source: string;
  readonly program: Program;
  /** Whether it has `{% generation %}` blocks. */
  readonly marksGeneration: boolean;
}

export interface TemplateOutput {
  readonly text: string;
  /** What generation blocks printed, in UTF-16 offsets of `text`. */
  readonly generation: Span[];
}

/** Parses a template. Throws `SyntaxError`, with the line. */
export function parseTemplate(source: string): Template {
  const program = parse(source);
  return { source, program, marksGeneration: program.marksGeneration };
}

/** Renders with `variables` (plain JSON values) and the functions that chat templates expect. */
export function renderTemplate(
  { source, program, marksGeneration }: Template,
  variables: Readonly<Record<string, unknown>>,
  limits: Limits = LIMITS,
): TemplateOutput {
  const functions: Readonly<Record<string, PythonFunction>> = {
    raise_exception: ([message = null]) => {
      throw new TemplateRaised(textOf(message));
    },
    strftime_now: ([format = null]) => strftime(new Date(), textOf(format)),
  };
  const named = Object.entries(variables).map(([name, value]) => [name, fromJson(value)] as const);
  const [open = '', close = ''] = marksGeneration ? unusedCharacters([source, variables], 2) : [];
  const marked = new Interpreter([...Object.entries(functions), ...named], [open, close], limits).run(program.body);
  return marksGeneration ? takeOutMarks(marked, open, close) : { text: marked, generation: [] };
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
