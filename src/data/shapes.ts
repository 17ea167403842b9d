/** Which shape a row has: what `data.format`, `data.columns` and `data.prompt_template` say of it, else its keys. */

import { SftError } from '../platform/errors.ts';
import type { JsonObject } from './files.ts';
import { describe, isObject } from './files.ts';
import type { PromptTemplate } from './promptTemplate.ts';

/** Fields that make up each shape, by the name that `data.format` has for it; all must be there. */
export const NEEDS = {
  messages: ['messages'],
  sharegpt: ['conversations'],
  chat: ['user', 'assistant'],
  qa: ['question', 'answer'],
  alpaca: ['instruction', 'output'],
  prompt_completion: ['prompt', 'completion'],
  text: ['text'],
} as const satisfies Record<string, readonly string[]>;

export type Shape = keyof typeof NEEDS;

/** What a row was taken for: a shape, a text that is a document, or the columns of `data.prompt_template`. */
export type RowShape = Shape | 'documents' | 'prompt_template';

/** Rows by what they were taken for. */
export type ShapeCounts = Readonly<Partial<Record<RowShape, number>>>;

/** Counts rows as `RowOptions.onShape` tells of them. */
export class ShapeCounter {
  readonly counts: Partial<Record<RowShape, number>> = {};
  readonly onShape = (shape: RowShape): void => {
    this.counts[shape] = (this.counts[shape] ?? 0) + 1;
  };
}

/** `data.format`: one shape, or told by the keys; with `documents` texts are documents and all else is told by its keys. */
export type RowFormat = 'auto' | 'documents' | Shape;

export interface ShapeOptions {
  /** Default `auto`. */
  readonly format?: RowFormat;
  /** `data.columns`: this project's field name → the file's. */
  readonly columns?: Readonly<Record<string, string>>;
  /** `data.prompt_template`. It makes raw rows into chats or texts, whatever their shape. */
  readonly promptTemplate?: PromptTemplate | null;
  /** Whether the file is a raw one for sure; else rows as `process` writes them are what it has made of raw ones. */
  readonly raw?: boolean;
}

/** The shapes that a row fits (more than one: nobody can say which is meant), and its fields by this project's names. */
export interface Recognised {
  readonly shapes: readonly RowShape[];
  readonly fields: JsonObject;
}

/** Throws `DATA` where the row fits no shape. */
export function recognise(value: unknown, where: string, options: ShapeOptions): Recognised {
  const { format = 'auto', columns = {}, promptTemplate = null, raw = false } = options;
  if (!isObject(value)) {
    throw new SftError('DATA', `${where}: expected a JSON object, got ${describe(value)}`, { hint: SHAPES_HINT });
  }
  const told = format === 'auto' || format === 'documents' ? null : format;
  // With a template nobody can tell a raw row that has this form from a finished one, but by where it is.
  const own = raw && promptTemplate !== null ? null : ownShape(value, told, columns);
  const fields = own ? value : renameColumns(value, columns, where);
  const only = own ?? told;
  if (only !== null) expectFields(NEEDS[only], fields, value, where);
  if (promptTemplate !== null && own === null) return { shapes: ['prompt_template'], fields: { ...value, ...fields } };
  const shapes = only === null ? fitting(fields, columns, where) : [only];
  return { shapes: shapes.map((shape) => (shape === 'text' && format === 'documents' ? 'documents' : shape)), fields };
}

function expectFields(needs: readonly string[], fields: JsonObject, row: JsonObject, where: string): void {
  if (needs.every((name) => fields[name] !== undefined)) return;
  throw new SftError('DATA', `${where}: expected ${quoted(needs)}, got ${keysOf(row)}`, {
    hint: 'set data.format to the shape of your rows, or name your columns in data.columns',
  });
}

const SHAPES_HINT =
  'rows may be {"messages": […]}, {"system", "user", "assistant"}, {"question", "answer"}, ' +
  '{"instruction", "input", "output"}, {"conversations": […]}, {"prompt", "completion"} or {"text"}; ' +
  'other column names go into data.columns';

const ALL = Object.keys(NEEDS) as Shape[];

/** Every shape that the fields make up; where `columns` speak of some of them, of these alone. */
function fitting(fields: JsonObject, columns: Readonly<Record<string, string>>, where: string): readonly Shape[] {
  const found = ALL.filter((shape) => NEEDS[shape].every((name) => (fields[name] ?? null) !== null));
  const spokenOf = found.filter((shape) => NEEDS[shape].some((name) => Object.hasOwn(columns, name)));
  if (found.length > 0) return spokenOf.length > 0 ? spokenOf : found;
  throw new SftError('DATA', `${where}: expected a row of a known shape, got the keys ${keysOf(fields)}`, {
    hint: SHAPES_HINT,
  });
}

/** All keys that a row has as `process` writes it, but for `tools` and `source`. */
const OWN_KEYS: ReadonlyMap<string, Shape> = new Map([
  ['system,user,assistant', 'chat'],
  ['messages', 'messages'],
  ['prompt,completion', 'prompt_completion'],
  ['text', 'text'],
]);

/**
 * The shape of a row that `process` has written, else null. Its names are those of this project already, whatever
 * `columns` and `format` say of the raw files: both stay in the configuration when it goes on to train.
 */
function ownShape(row: JsonObject, format: Shape | null, columns: Readonly<Record<string, string>>): Shape | null {
  if (Object.values(columns).some((name) => Object.hasOwn(row, name))) return null;
  const keys = Object.keys(row).filter((key) => key !== 'tools' && key !== 'source');
  const found = OWN_KEYS.get(keys.join());
  if (found === undefined || format === null || format === found) return found ?? null;
  const isChat = (name: Shape) => name !== 'prompt_completion' && name !== 'text';
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
      throw new SftError('DATA', `${where}: expected the column "${theirs}", got ${keysOf(row)}`, {
        hint: `data.columns says that "${ours}" is in "${theirs}"`,
      });
    }
    return [ours, row[theirs]] as const;
  });
  return Object.fromEntries([...kept, ...renamed]);
}

/** The keys of a row as a message shows them. */
export function keysOf(row: JsonObject): string {
  return quoted(Object.keys(row));
}

function quoted(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.map((name) => `"${name}"`).join(', ');
}
