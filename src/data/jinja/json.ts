/** `tojson`: Python's `json.dumps` with the options that transformers gives it. */
import type { Value } from './values.ts';
import { boundedText, Float, floatText, isDict, isList, repr, TemplateError, Tuple, typeName } from './values.ts';

export interface JsonOptions {
  readonly ensureAscii: boolean;
  /** Text of one level, or null for a single line. */
  readonly indent: string | null;
  readonly separators: readonly [item: string, key: string];
  readonly sortKeys: boolean;
}

export function toJson(value: Value, options: JsonOptions): string {
  const text = dump(value, options, '\n');
  boundedText(text.length);
  return text;
}

function dump(value: Value, options: JsonOptions, line: string): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return jsonText(value, options.ensureAscii);
  if (typeof value === 'number') return repr(value);
  if (value instanceof Float)
    return { inf: 'Infinity', '-inf': '-Infinity', nan: 'NaN' }[floatText(value.value)] ?? floatText(value.value);
  const inner = options.indent === null ? '' : line + options.indent;
  const wrap = (open: string, parts: readonly string[], close: string): string => {
    if (parts.length === 0) return open + close;
    return open + inner + parts.join(options.separators[0] + inner) + (inner === '' ? '' : line) + close;
  };
  if (isList(value) || value instanceof Tuple) {
    const items = isList(value) ? value : value.items;
    return wrap(
      '[',
      items.map((item) => dump(item, options, inner)),
      ']',
    );
  }
  if (isDict(value)) {
    const entries = [...value].map(([key, item]) => [keyText(key), item] as const);
    if (options.sortKeys) entries.sort(([a], [b]) => (a < b ? -1 : 1));
    const parts = entries.map(
      ([key, item]) => jsonText(key, options.ensureAscii) + options.separators[1] + dump(item, options, inner),
    );
    return wrap('{', parts, '}');
  }
  throw new TemplateError(`tojson does not take ${typeName(value)}`);
}

function keyText(key: Value): string {
  if (typeof key === 'string') return key;
  if (key === null || typeof key === 'boolean') return String(key);
  if (typeof key === 'number') return repr(key);
  throw new TemplateError(`the key of a JSON object cannot be ${typeName(key)}`);
}

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\b': '\\b',
  '\f': '\\f',
};

const NOT_ASCII = /["\\]|[^ -~]/g;
const CONTROL = /["\\]|\p{Cc}/gu;

function jsonText(text: string, ensureAscii: boolean): string {
  // By UTF-16 units where all is ASCII: a character beyond them becomes two escapes.
  const escaped = text.replace(ensureAscii ? NOT_ASCII : CONTROL, (unit) => {
    const code = unit.charCodeAt(0);
    if (!ensureAscii && code >= 0x7f) return unit;
    return SHORT[unit] ?? `\\u${code.toString(16).padStart(4, '0')}`;
  });
  return `"${escaped}"`;
}
