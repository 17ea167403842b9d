/** The filters of Jinja2, and `tojson` as transformers has it; without those that make HTML or draw lots. */
import { formatPercent, pad } from './format.ts';
import { toJson } from './json.ts';
import { bind, capitalize, integerArgument, replace, textArgument } from './methods.ts';
import { binary } from './operators.ts';
import { strip } from './spaces.ts';
import type { Test } from './tests.ts';
import type { Value } from './values.ts';
import {
  boundedText,
  compare,
  equal,
  Float,
  isDict,
  isList,
  isTrue,
  itemsOf,
  lengthOf,
  numberOf,
  Stream,
  TemplateError,
  Tuple,
  textOf,
  typeName,
  Undefined,
} from './values.ts';

/** What filters need of the interpreter. */
export interface Engine {
  /** A field or item, by a path such as `a.b` or an index; undefined when there is none. */
  lookPath(value: Value, path: Value): Value;
  filter(name: string, value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>): Value;
  test(name: string): Test;
  /** Throws when a template has taken too many steps. */
  count(steps: number): void;
}

export type Filter = (value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>, engine: Engine) => Value;

const folded = (value: Value): Value => (typeof value === 'string' ? value.toLowerCase() : value);

/** What items are compared by: an attribute if given, texts without regard to case unless told. */
function keyOf(
  engine: Engine,
  attribute: Value | undefined,
  isCaseSensitive: Value | undefined,
): (item: Value) => Value {
  const paths = typeof attribute === 'string' ? attribute.split(',') : [attribute ?? null];
  const found = (item: Value): Value => {
    if (attribute === undefined || attribute === null) return item;
    return paths.length === 1 ? engine.lookPath(item, attribute) : paths.map((path) => engine.lookPath(item, path!));
  };
  const fold = (key: Value): Value => (isList(key) ? key.map(folded) : folded(key));
  return (item) => (isCaseSensitive === true ? found(item) : fold(found(item)));
}

function sorted(items: readonly Value[], key: (item: Value) => Value, reverse: Value | undefined): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  const sign = reverse !== undefined && isTrue(reverse) ? -1 : 1;
  return keyed.sort((a, b) => sign * compare(a.key, b.key)).map(({ item }) => item);
}

const extreme =
  (sign: 1 | -1): Filter =>
  (value, args, named, engine) => {
    const [caseSensitive, attribute] = bind(args, named, ['case_sensitive', 'attribute']);
    const key = keyOf(engine, attribute, caseSensitive);
    const items = itemsOf(value);
    if (items.length === 0) return new Undefined('the extreme of nothing');
    return items.reduce((best, item) => (sign * compare(key(item), key(best)) > 0 ? item : best));
  };

/** `select`, `reject`: items by a test of their own; `selectattr`, `rejectattr`: by a test of an attribute. */
const chosen =
  (keeps: boolean, byAttribute: boolean): Filter =>
  (value, args, _, engine) => {
    const [attribute = null, ...rest] = byAttribute ? args : [null, ...args];
    const [name, argument = null] = rest;
    const test = name === undefined ? isTrue : engine.test(textArgument(name));
    const looked = (item: Value): Value => (byAttribute ? engine.lookPath(item, attribute) : item);
    engine.count(isList(argument) ? itemsOf(value).length * argument.length : 0);
    return new Stream(itemsOf(value).filter((item) => test(looked(item), argument) === keeps));
  };

const map: Filter = (value, args, named, engine) => {
  const attribute = named.get('attribute');
  if (args.length === 0 && attribute !== undefined) {
    const fallback = named.get('default');
    return new Stream(
      itemsOf(value).map((item) => {
        const found = engine.lookPath(item, attribute);
        return found instanceof Undefined && fallback !== undefined ? fallback : found;
      }),
    );
  }
  const [name, ...rest] = args;
  return new Stream(itemsOf(value).map((item) => engine.filter(textArgument(name), item, rest, named)));
};

function round(value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>): Value {
  const [precision, method = 'common'] = bind(args, named, ['precision', 'method']);
  const digits = integerArgument(precision, 0);
  const number = numberOf(value);
  if (number === null) throw new TemplateError(`cannot round ${typeName(value)}`);
  const scale = 10 ** digits;
  if (method === 'ceil') return new Float(Math.ceil(number * scale) / scale);
  if (method === 'floor') return new Float(Math.floor(number * scale) / scale);
  if (typeof value === 'number' && digits >= 0) return value;
  if (digits < 0) return new Float(Math.round(number * scale) / scale);
  // toFixed rounds the exact value, but halves away from zero; Python rounds them to even.
  const rounded = Number(number.toFixed(Math.min(digits, 100)));
  const isHalf = Math.abs((number * scale) % 1) === 0.5 && (number * scale) / scale === number && digits < 10;
  return new Float(isHalf ? (2 * Math.round((number * scale) / 2)) / scale : rounded);
}

function toInteger(value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>): Value {
  const [fallback = 0, base] = bind(args, named, ['default', 'base']);
  if (typeof value === 'string') {
    const text = strip(value, 'both').replaceAll('_', '');
    if (base !== undefined && base !== 10) {
      const read = Number.parseInt(text.replace(/^0[xob]/i, ''), integerArgument(base, 10));
      return Number.isNaN(read) ? fallback : read;
    }
    return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Math.trunc(Number(text)) : fallback;
  }
  const number = numberOf(value);
  return number === null || !Number.isFinite(number) ? fallback : Math.trunc(number);
}

function toFloat(value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>): Value {
  const [fallback = new Float(0)] = bind(args, named, ['default']);
  const number =
    typeof value === 'string' && strip(value, 'both') !== '' ? Number(strip(value, 'both')) : numberOf(value);
  return number === null || Number.isNaN(number) ? fallback : new Float(number);
}

function indent(value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>): string {
  const [width = 4, first = false, blank = false] = bind(args, named, ['width', 'first', 'blank']);
  const space = typeof width === 'string' ? width : ' '.repeat(Math.min(integerArgument(width, 4), 1000));
  const text = textOf(value);
  const [head = '', ...rest] = text.split('\n');
  boundedText(text.length + (rest.length + 1) * space.length);
  const lines = rest.map((line) => (line !== '' || isTrue(blank) ? space + line : line));
  return [isTrue(first) ? space + head : head, ...lines].join('\n');
}

function join(value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>, engine: Engine): string {
  const [separator = '', attribute] = bind(args, named, ['d', 'attribute']);
  const items = itemsOf(value).map((item) =>
    textOf(attribute === undefined || attribute === null ? item : engine.lookPath(item, attribute)),
  );
  const between = textOf(separator);
  boundedText(items.reduce((sum, item) => sum + item.length + between.length, 0));
  return items.join(between);
}

/** Groups of items with the same key: `batch` and `slice` fill up with what is given. */
function batch(value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>): Value {
  const [count, fill = null] = bind(args, named, ['linecount', 'fill_with']);
  const size = Math.max(1, integerArgument(count, 1));
  const items = itemsOf(value);
  const rows = Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
  if (fill !== null && rows.length > 0) {
    const last = rows.at(-1)!;
    rows[rows.length - 1] = [...last, ...Array.from({ length: Math.min(size - last.length, 10_000) }, () => fill)];
  }
  return new Stream(rows);
}

function slice(value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>): Value {
  const [count, fill = null] = bind(args, named, ['slices', 'fill_with']);
  const items = itemsOf(value);
  const slices = Math.min(Math.max(1, integerArgument(count, 1)), 10_000);
  const [size, extra] = [Math.floor(items.length / slices), items.length % slices];
  const rows = Array.from({ length: slices }, (_, i) => {
    const start = i * size + Math.min(i, extra);
    const row = items.slice(start, start + size + (i < extra ? 1 : 0));
    return fill !== null && i >= extra && extra > 0 ? [...row, fill] : row;
  });
  return new Stream(rows);
}

function groupBy(value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>, engine: Engine): Value {
  const [attribute = null, fallback, caseSensitive] = bind(args, named, ['attribute', 'default', 'case_sensitive']);
  const found = (item: Value): Value => {
    const looked = engine.lookPath(item, attribute);
    return looked instanceof Undefined && fallback !== undefined ? fallback : looked;
  };
  const key = (item: Value): Value => (caseSensitive === true ? found(item) : folded(found(item)));
  const groups: { readonly key: Value; readonly name: Value; readonly items: Value[] }[] = [];
  for (const item of sorted(itemsOf(value), key, false)) {
    const last = groups.at(-1);
    if (last !== undefined && equal(last.key, key(item))) last.items.push(item);
    else groups.push({ key: key(item), name: found(item), items: [item] });
  }
  return groups.map(({ name, items }) => new Tuple([name, items]));
}

function unique(value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>, engine: Engine): Value {
  const [caseSensitive, attribute] = bind(args, named, ['case_sensitive', 'attribute']);
  const key = keyOf(engine, attribute, caseSensitive);
  const seen: Value[] = [];
  return new Stream(
    itemsOf(value).filter((item) => {
      const itemKey = key(item);
      engine.count(seen.length);
      if (seen.some((one) => equal(one, itemKey))) return false;
      seen.push(itemKey);
      return true;
    }),
  );
}

function truncate(value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>): string {
  const [length, killWords = false, end = '...', leeway] = bind(args, named, ['length', 'killwords', 'end', 'leeway']);
  const letters = Array.from(textOf(value));
  const most = integerArgument(length, 255);
  if (letters.length <= most + integerArgument(leeway, 5)) return textOf(value);
  const kept = letters.slice(0, Math.max(0, most - Array.from(textOf(end)).length)).join('');
  if (isTrue(killWords)) return kept + textOf(end);
  const at = kept.lastIndexOf(' ');
  return (at === -1 ? kept : kept.slice(0, at)) + textOf(end);
}

const HTML: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;', "'": '&#39;' };
const escapeHtml: Filter = (value) => textOf(value).replace(/[&<>"']/g, (character) => HTML[character]!);

const fallback: Filter = (value, args, named) => {
  const [other = '', isForFalse = false] = bind(args, named, ['default_value', 'boolean']);
  return value instanceof Undefined || (isTrue(isForFalse) && !isTrue(value)) ? other : value;
};

const length: Filter = (value) => lengthOf(value);

const first: Filter = (value) =>
  itemsOf(value)[0] ?? (itemsOf(value).length > 0 ? null : new Undefined('the first of nothing'));

export const FILTERS: Readonly<Record<string, Filter>> = {
  abs: (value) => {
    const number = numberOf(value);
    if (number === null) throw new TemplateError(`${typeName(value)} has no absolute value`);
    return value instanceof Float ? new Float(Math.abs(number)) : Math.abs(number);
  },
  // Python looks for a field only, and no value of a template has one that is not a method.
  attr: (_, [name = null]) => new Undefined(textOf(name)),
  batch,
  capitalize: (value) => capitalize(textOf(value)),
  center: (value, [width]) => {
    const missing = Math.max(0, integerArgument(width, 80) - Array.from(textOf(value)).length);
    const odd = missing & integerArgument(width, 80) & 1;
    return pad(
      pad(textOf(value), Array.from(textOf(value)).length + Math.floor(missing / 2) + odd, '>', ' '),
      integerArgument(width, 80),
      '<',
      ' ',
    );
  },
  count: length,
  d: fallback,
  default: fallback,
  dictsort: (value, args, named) => {
    const [caseSensitive = false, by = 'key', reverse = false] = bind(args, named, ['case_sensitive', 'by', 'reverse']);
    if (!isDict(value)) throw new TemplateError(`dictsort does not take ${typeName(value)}`);
    const entries = [...value].map((entry) => new Tuple(entry));
    const at = by === 'value' ? 1 : 0;
    const key = (entry: Value): Value => {
      const part = (entry as Tuple).items[at]!;
      return caseSensitive === true ? part : folded(part);
    };
    return sorted(entries, key, reverse);
  },
  e: escapeHtml,
  escape: escapeHtml,
  first,
  float: toFloat,
  forceescape: escapeHtml,
  format: (value, args, named) => formatPercent(textOf(value), named.size > 0 ? new Map(named) : new Tuple(args)),
  groupby: groupBy,
  indent,
  int: toInteger,
  items: (value) => {
    if (value instanceof Undefined) return new Stream([]);
    if (!isDict(value)) throw new TemplateError(`${typeName(value)} has no items`);
    return new Stream([...value].map((entry) => new Tuple(entry)));
  },
  join,
  last: (value, args, named, engine) => {
    if (value instanceof Stream) throw new TemplateError('a generator has no last item');
    return first([...itemsOf(value)].reverse(), args, named, engine);
  },
  length,
  list: (value) => itemsOf(value),
  lower: (value) => textOf(value).toLowerCase(),
  map,
  max: extreme(1),
  min: extreme(-1),
  reject: chosen(false, false),
  rejectattr: chosen(false, true),
  replace: (value, args, named) => {
    const [old = null, fresh = null, count] = bind(args, named, ['old', 'new', 'count']);
    return replace(textOf(value), textOf(old), textOf(fresh), integerArgument(count, -1));
  },
  reverse: (value) => {
    const reversed = [...itemsOf(value)].reverse();
    return typeof value === 'string' ? reversed.join('') : new Stream(reversed);
  },
  round,
  safe: (value) => textOf(value),
  select: chosen(true, false),
  selectattr: chosen(true, true),
  slice,
  sort: (value, args, named, engine) => {
    const [reverse, caseSensitive, attribute] = bind(args, named, ['reverse', 'case_sensitive', 'attribute']);
    return sorted(itemsOf(value), keyOf(engine, attribute, caseSensitive), reverse);
  },
  string: (value) => textOf(value),
  sum: (value, args, named, engine) => {
    const [attribute = null, start = 0] = bind(args, named, ['attribute', 'start']);
    const items = itemsOf(value).map((item) => (attribute === null ? item : engine.lookPath(item, attribute)));
    return items.reduce((sum, item) => {
      engine.count(isList(sum) ? sum.length : 1);
      return binary('+', sum, item);
    }, start);
  },
  title: (value) => {
    const parts = textOf(value).split(/([-\s({[<]+)/u);
    return parts.map((part) => capitalize(part)).join('');
  },
  tojson: (value, args, named) => {
    const names = ['ensure_ascii', 'indent', 'separators', 'sort_keys'];
    const [ensureAscii = false, level = null, separators = null, sortKeys = false] = bind(args, named, names);
    const step =
      typeof level === 'number'
        ? ' '.repeat(Math.min(Math.max(level, 0), 1000))
        : level === null
          ? null
          : textArgument(level);
    const [item = step === null ? ', ' : ',', key = ': '] =
      separators === null ? [] : itemsOf(separators).map(textArgument);
    return toJson(value, {
      ensureAscii: isTrue(ensureAscii),
      indent: step,
      separators: [item, key],
      sortKeys: isTrue(sortKeys),
    });
  },
  trim: (value, args, named) => {
    const [characters = null] = bind(args, named, ['chars']);
    return strip(textOf(value), 'both', characters === null ? null : textArgument(characters));
  },
  truncate,
  unique,
  upper: (value) => textOf(value).toUpperCase(),
  urlencode: (value) =>
    encodeURIComponent(textOf(value))
      .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
      .replaceAll('%2F', '/'),
  wordcount: (value) => textOf(value).match(/[\p{L}\p{M}\p{N}_]+/gu)?.length ?? 0,
};
