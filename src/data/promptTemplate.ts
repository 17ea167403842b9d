/**
 * `data.prompt_template`: how the columns of a raw row become a conversation. Lines that begin `System:`, `User:` or
 * `Assistant:` begin a turn, which goes on until the next one; without any, the whole is one text.
 *
 * The template is taken apart before a row is put in, so that nothing in a row can begin a turn.
 */

import { SftError } from '../platform/errors.ts';

export interface PromptTemplate {
  /** The turns; one without a role where the template is a text. */
  readonly turns: readonly TemplateTurn[];
  /** The columns that it names, each once. */
  readonly columns: readonly string[];
}

interface TemplateTurn {
  readonly role: 'system' | 'user' | 'assistant' | null;
  readonly parts: readonly Part[];
}

type Part = { readonly literal: string } | { readonly column: string };

const ROLE = /^(System|User|Assistant):/gm;
const ALMOST_A_ROLE = /^[^\S\n]*(?:system|user|assistant|human)[^\S\n]*:/im;
const BRACES = /\{\{|\}\}|\{([^{}\n]*)\}|[{}]/g;

/** Takes a template apart. `{name}` is a column, `{{` and `}}` are braces. Throws `CONFIG`. */
export function parsePromptTemplate(text: string): PromptTemplate {
  const turns = cut(text);
  const named = turns.flatMap(({ parts }) => parts.flatMap((part) => ('column' in part ? part.column : [])));
  const columns = [...new Set(named)];
  if (columns.length === 0) {
    throw wrong('at least one {column}, got none', 'write the name of a column in single braces, such as {question}');
  }
  const isChat = turns.some(({ role }) => role !== null);
  if (isChat && !turns.some(({ role }) => role === 'assistant')) {
    throw wrong("a line that begins 'Assistant:', got none", "write the answer as 'Assistant: {answer}'");
  }
  const almost = ALMOST_A_ROLE.exec(text)?.[0].trim();
  if (!isChat && almost !== undefined) {
    throw wrong(`lines that begin 'System:', 'User:' or 'Assistant:', got ${JSON.stringify(almost)}`, 'write them so');
  }
  return { turns, columns };
}

function cut(text: string): TemplateTurn[] {
  const starts = [...text.matchAll(ROLE)];
  const before = text.slice(0, starts[0]?.index);
  if (starts.length === 0) return [{ role: null, parts: partsOf(before) }];
  if (before.trim() !== '') {
    const got = JSON.stringify(before.trim().split('\n', 1)[0]);
    throw wrong(`a first line that begins a role, got ${got}`, "begin it with 'System:' or 'User:'");
  }
  return starts.map(({ 0: mark, 1: name, index }, i) => ({
    role: name!.toLowerCase() as 'system' | 'user' | 'assistant',
    parts: partsOf(text.slice(index + mark.length, starts[i + 1]?.index)),
  }));
}

/** White space at the two ends belongs to the template's layout, and what a row has there to the row. */
function partsOf(text: string): Part[] {
  const parts: Part[] = [];
  const trimmed = text.trim();
  let literal = '';
  let end = 0;
  for (const { 0: found, 1: column, index } of trimmed.matchAll(BRACES)) {
    literal += trimmed.slice(end, index);
    end = index + found.length;
    if (found === '{{' || found === '}}') literal += found[0];
    else if (column === undefined || column.trim() === '') {
      const got = JSON.stringify(trimmed.slice(index, index + 20));
      throw wrong(`the name of a column between braces, got ${got}`, 'write {{ and }} for braces of the text');
    } else {
      parts.push({ literal }, { column: column.trim() });
      literal = '';
    }
  }
  return [...parts, { literal: literal + trimmed.slice(end) }];
}

function wrong(expected: string, hint: string): SftError {
  return new SftError('CONFIG', `data.prompt_template: expected ${expected}`, { hint });
}

/** The text of each turn, with `columnText` a column in its place. A system turn that comes out empty is none. */
export function fillPromptTemplate(
  { turns }: PromptTemplate,
  columnText: (column: string) => string,
): { readonly role: TemplateTurn['role']; readonly content: string }[] {
  const filled = turns.map(({ role, parts }) => ({
    role,
    content: parts.map((part) => ('column' in part ? columnText(part.column) : part.literal)).join(''),
  }));
  return filled.filter(({ role, content }) => role !== 'system' || content !== '');
}
