/** The values of templates and what Python does with them. */
/** A number with a decimal point; other JavaScript numbers are integers. */
export class Float {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

export class Tuple {
  readonly items: readonly Value[];

  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

/** `range(…)`. */
export class Range extends Tuple {
  readonly text: string;

  constructor(items: readonly number[], text: string) {
    super(items);
    this.text = text;
  }
}

/** What a generator gives: it can be run over, but has no length, and is true even when it is empty. */
export class Stream {
  readonly items: readonly Value[];

  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

/** A name or field that is not there: prints nothing, is empty, and cannot be used further. */
export class Undefined {
  readonly what: string;

  constructor(what: string) {
    this.what = what;
  }
}

/** An object of the template engine: `namespace()`, `loop`, `cycler()`. */
export class Namespace {
  readonly fields: Map<string, Value>;
  /** What it does when it is called. */
  readonly call: PythonFunction | undefined;

  constructor(fields: Iterable<readonly [string, Value]>, call?: PythonFunction) {
    this.fields = new Map(fields);
    this.call = call;
  }
}

export type PythonFunction = (args: readonly Value[], named: ReadonlyMap<string, Value>) => Value;

export type Value =
  | null
  | boolean
  | number
  | string
  | Float
  | readonly Value[]
  | Tuple
  | Dict
  | Stream
  | Undefined
  | Namespace
  | PythonFunction;

export interface Dict extends ReadonlyMap<Value, Value> {}

/** A template that went wrong. */
export class TemplateError extends Error {}

/** Turns JSON into values. */
export function fromJson(json: unknown): Value {
  if (typeof json === 'number') return Number.isInteger(json) ? json : new Float(json);
  if (Array.isArray(json)) return json.map(fromJson);
  if (typeof json === 'object' && json !== null)
    return new Map(Object.entries(json).map(([key, value]) => [key, fromJson(value)]));
  return json as Value;
}

export const isDict = (value: Value): value is Dict => value instanceof Map;
export const isList = (value: Value): value is readonly Value[] => Array.isArray(value);
const isSequence = (value: Value): value is readonly Value[] | Tuple => isList(value) || value instanceof Tuple;

export function typeName(value: Value): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return 'a bool';
  if (typeof value === 'number') return 'an integer';
  if (typeof value === 'string') return 'a text';
  if (value instanceof Float) return 'a float';
  if (value instanceof Undefined) return `${value.what}, which is undefined`;
  if (isList(value)) return 'a list';
  if (value instanceof Tuple) return 'a tuple';
  if (isDict(value)) return 'a dict';
  return value instanceof Stream ? 'a generator' : 'a function';
}

/** The integer or float that it is; null for others. A bool counts as 0 or 1. */
export function numberOf(value: Value): number | null {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  return value instanceof Float ? value.value : null;
}

export function isTrue(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false;
  if (typeof value === 'boolean') return value;
  if (typeof value === 'string') return value !== '';
  if (isSequence(value)) return itemsOf(value).length > 0;
  if (isDict(value)) return value.size > 0;
  return numberOf(value) !== 0;
}

/** The items that a loop runs over: of a text its characters, of a dict its keys. */
export function itemsOf(value: Value): readonly Value[] {
  if (isList(value)) return value;
  if (typeof value === 'string') return Array.from(value);
  if (value instanceof Tuple || value instanceof Stream) return value.items;
  if (isDict(value)) return [...value.keys()];
  if (value instanceof Undefined) return [];
  throw new TemplateError(`expected something to run over, got ${typeName(value)}`);
}

export function lengthOf(value: Value): number {
  if (value instanceof Stream || !isIterable(value)) throw new TemplateError(`${typeName(value)} has no length`);
  return itemsOf(value).length;
}

export function isIterable(value: Value): boolean {
  return (
    typeof value === 'string' ||
    isSequence(value) ||
    isDict(value) ||
    value instanceof Stream ||
    value instanceof Undefined
  );
}

export function equal(a: Value, b: Value): boolean {
  const [left, right] = [numberOf(a), numberOf(b)];
  if (left !== null || right !== null) return left === right;
  if (a instanceof Undefined || b instanceof Undefined) return a instanceof Undefined && b instanceof Undefined;
  if (isSequence(a) && isSequence(b)) {
    const [first, second] = [itemsOf(a), itemsOf(b)];
    return (
      isList(a) === isList(b) && first.length === second.length && first.every((item, i) => equal(item, second[i]!))
    );
  }
  if (isDict(a) && isDict(b)) {
    return a.size === b.size && [...a].every(([key, value]) => b.has(key) && equal(value, b.get(key)!));
  }
  return a === b;
}

/** Below 0 when `a` comes first. Throws where Python has no order. */
export function compare(a: Value, b: Value): number {
  const [left, right] = [numberOf(a), numberOf(b)];
  if (left !== null && right !== null) return left - right;
  if (typeof a === 'string' && typeof b === 'string') return compareTexts(a, b);
  if (isSequence(a) && isSequence(b) && isList(a) === isList(b)) {
    const [first, second] = [itemsOf(a), itemsOf(b)];
    const at = first.findIndex((item, i) => i >= second.length || !equal(item, second[i]!));
    if (at === -1) return first.length - second.length;
    return at >= second.length ? 1 : compare(first[at]!, second[at]!);
  }
  throw new TemplateError(`${typeName(a)} and ${typeName(b)} have no order`);
}

/** By code points, not by UTF-16 units. */
function compareTexts(a: string, b: string): number {
  const [first, second] = [Array.from(a), Array.from(b)];
  const at = first.findIndex((character, i) => character !== second[i]);
  if (at === -1) return first.length - second.length;
  return at >= second.length ? 1 : first[at]!.codePointAt(0)! - second[at]!.codePointAt(0)!;
}

export function contains(container: Value, item: Value): boolean {
  if (typeof container === 'string') {
    if (typeof item !== 'string') throw new TemplateError(`only a text can be in a text, got ${typeName(item)}`);
    return container.includes(item);
  }
  if (isDict(container)) return container.has(item);
  return itemsOf(container).some((one) => equal(one, item));
}

// What is printed

/** Python's `str(value)`; what is undefined is empty. */
export function textOf(value: Value): string {
  if (typeof value === 'string') return value;
  return value instanceof Undefined ? '' : repr(value);
}

/** Python's `repr(value)`. */
export function repr(value: Value): string {
  if (value === null) return 'None';
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number') return integerText(value);
  if (value instanceof Float) return floatText(value.value);
  if (value instanceof Undefined) return 'Undefined';
  if (value instanceof Range) return value.text;
  if (isList(value)) return `[${value.map(repr).join(', ')}]`;
  if (value instanceof Tuple) return `(${value.items.map(repr).join(', ')}${value.items.length === 1 ? ',' : ''})`;
  if (isDict(value)) return `{${[...value].map(([key, item]) => `${repr(key)}: ${repr(item)}`).join(', ')}}`;
  return `<${typeName(value).replace(/^an? /, '')}>`;
}

function integerText(value: number): string {
  if (!Number.isFinite(value)) throw new TemplateError('it made an integer that is too large');
  return Number.isSafeInteger(value) ? String(value) : BigInt(value).toString();
}

/** The shortest digits that are read back as the same number, with an exponent below 1e-4 and from 1e16. */
export function floatText(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value < 0 ? '-inf' : 'inf';
  const [mantissa = '', exponent = ''] = value.toExponential().split('e');
  if (value === 0 || (Number(exponent) >= -4 && Number(exponent) < 16)) {
    const plain = Object.is(value, -0) ? '-0' : BigInt(Math.trunc(value)).toString();
    if (Number.isInteger(value)) return `${plain}.0`;
    return Math.abs(value) >= 1e-6 ? String(value) : plainDigits(mantissa, Number(exponent));
  }
  const power = Number(exponent);
  return `${mantissa}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
}

function plainDigits(mantissa: string, exponent: number): string {
  const sign = mantissa.startsWith('-') ? '-' : '';
  return `${sign}0.${'0'.repeat(-exponent - 1)}${mantissa.replace(/[-.]/g, '')}`;
}

const QUOTED: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Python's quotes, and its escapes of what cannot be seen. */
function quote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\\\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Z}]/gu, (character) => {
    if (character === ' ') return character;
    const code = character.codePointAt(0)!;
    const [letter, digits] = code < 0x100 ? ['x', 2] : code < 0x10000 ? ['u', 4] : ['U', 8];
    return QUOTED[character] ?? `\\${letter}${code.toString(16).padStart(digits, '0')}`;
  });
  return mark + (mark === "'" ? escaped.replaceAll("'", "\\'") : escaped) + mark;
}

// Bounds

/** Of any one text and list, where a template could make them larger than memory. */
export const MAX_CHARACTERS = 1 << 24;
export const MAX_ITEMS = 1 << 20;

export function boundedText(characters: number): void {
  if (characters > MAX_CHARACTERS) throw new TemplateError(`it made a text of more than ${MAX_CHARACTERS} characters`);
}

export function boundedList(items: number): void {
  if (items > MAX_ITEMS) throw new TemplateError(`it made a list of more than ${MAX_ITEMS} items`);
}

export function repeat(text: string, times: number): string {
  boundedText(text.length * times);
  return times > 0 ? text.repeat(times) : '';
}
