/** What Python's texts, lists and dicts can do, as far as the sandbox of chat templates lets them: nothing changes a value. */
import { formatBraces, pad } from './format.ts';
import { LINE_END, strip, words } from './spaces.ts';
import type { Dict, PythonFunction, Value } from './values.ts';
import { boundedText, equal, isDict, isList, itemsOf, TemplateError, Tuple, typeName } from './values.ts';

/** The arguments of a call, in the order of `names`. */
export function bind(
  args: readonly Value[],
  named: ReadonlyMap<string, Value>,
  names: readonly string[],
): (Value | undefined)[] {
  if (args.length > names.length)
    throw new TemplateError(`expected at most ${names.length} arguments, got ${args.length}`);
  for (const name of named.keys()) if (!names.includes(name)) throw new TemplateError(`there is no argument "${name}"`);
  return names.map((name, i) => (i < args.length ? args[i] : named.get(name)));
}

export function textArgument(value: Value | undefined): string {
  if (typeof value !== 'string')
    throw new TemplateError(`expected a text, got ${value === undefined ? 'nothing' : typeName(value)}`);
  return value;
}

export function integerArgument(value: Value | undefined, fallback: number): number {
  if (value === undefined || value === null) return fallback;
  if (typeof value === 'boolean') return Number(value);
  if (typeof value !== 'number') throw new TemplateError(`expected an integer, got ${typeName(value)}`);
  return value;
}

type Method<T> = (self: T, args: readonly Value[], named: ReadonlyMap<string, Value>) => Value;

/** A method of a value by name, bound to it. `look` gives a field or item of a value. */
export function methodOf(
  value: Value,
  name: string,
  look: (value: Value, key: string | number) => Value,
): PythonFunction | undefined {
  if (typeof value === 'string') {
    if (name === 'format') return (args, named) => formatBraces(value, args, named, look);
    return bound(TEXT, value, name);
  }
  if (isDict(value)) return bound(DICT, value, name);
  return isList(value) || value instanceof Tuple ? bound(LIST, value, name) : undefined;
}

function bound<T>(methods: Readonly<Record<string, Method<T>>>, self: T, name: string): PythonFunction | undefined {
  const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
  return method && ((args, named) => method(self, args, named));
}

const DICT: Readonly<Record<string, Method<Dict>>> = {
  get: (self, args, named) => {
    const [key = null, fallback = null] = bind(args, named, ['key', 'default']);
    return self.has(key) ? self.get(key)! : fallback;
  },
  keys: (self) => [...self.keys()],
  values: (self) => [...self.values()],
  items: (self) => [...self].map((entry) => new Tuple(entry)),
  copy: (self) => self,
};

const LIST: Readonly<Record<string, Method<Value>>> = {
  index: (self, [item = null]) => {
    const at = itemsOf(self).findIndex((one) => equal(one, item));
    if (at === -1) throw new TemplateError(`${typeName(item)} is not in the list`);
    return at;
  },
  count: (self, [item = null]) => itemsOf(self).filter((one) => equal(one, item)).length,
  copy: (self) => self,
};

const stripped =
  (sides: 'both' | 'start' | 'end'): Method<string> =>
  (self, args) =>
    strip(self, sides, args[0] === undefined || args[0] === null ? null : textArgument(args[0]));

const justified =
  (side: string): Method<string> =>
  (self, [width, fill = ' ']) =>
    pad(self, integerArgument(width, 0), side, textArgument(fill));

/** Whether all letters are of that kind and there is one. */
const every =
  (pattern: RegExp): Method<string> =>
  (self) =>
    pattern.test(self);

const affixed =
  (matches: (text: string, affix: string) => boolean): Method<string> =>
  (self, [affixes, start, end]) => {
    const text = Array.from(self)
      .slice(integerArgument(start, 0), integerArgument(end, Number.POSITIVE_INFINITY))
      .join('');
    const all = affixes instanceof Tuple ? affixes.items : [affixes];
    return all.some((affix) => matches(text, textArgument(affix)));
  };

/** The place of a part in code points, -1 when it is not there. */
function find(self: string, args: readonly Value[], search: 'indexOf' | 'lastIndexOf'): number {
  const [part, start, end] = args;
  const letters = Array.from(self);
  const place = (bound: number): number =>
    bound < 0 ? Math.max(0, bound + letters.length) : Math.min(bound, letters.length);
  const [from, to] = [place(integerArgument(start, 0)), place(integerArgument(end, letters.length))];
  const within = letters.slice(from, to).join('');
  const at = within[search](textArgument(part));
  return at === -1 ? -1 : from + Array.from(within.slice(0, at)).length;
}

const found =
  (search: 'indexOf' | 'lastIndexOf'): Method<string> =>
  (self, args) => {
    const at = find(self, args, search);
    if (at === -1) throw new TemplateError('the text has no such part');
    return at;
  };

function split(self: string, args: readonly Value[], named: ReadonlyMap<string, Value>, fromEnd: boolean): string[] {
  const [separator = null, most] = bind(args, named, ['sep', 'maxsplit']);
  const limit = integerArgument(most, -1);
  if (separator === '') throw new TemplateError('a text cannot be split at an empty one');
  const parts = separator === null ? words(self) : self.split(textArgument(separator));
  if (limit < 0 || parts.length <= limit + 1) return parts;
  // What is left over stays as it is, with its white space.
  if (separator !== null) {
    return fromEnd
      ? [parts.slice(0, parts.length - limit).join(separator as string), ...parts.slice(parts.length - limit)]
      : [...parts.slice(0, limit), parts.slice(limit).join(separator as string)];
  }
  let rest = strip(self, fromEnd ? 'end' : 'start');
  const cut: string[] = [];
  for (const word of fromEnd ? parts.slice(parts.length - limit).reverse() : parts.slice(0, limit)) {
    cut.push(word);
    rest = fromEnd ? strip(rest.slice(0, -word.length), 'end') : strip(rest.slice(word.length), 'start');
  }
  return fromEnd ? [rest, ...cut.reverse()] : [...cut, rest];
}

const partition =
  (fromEnd: boolean): Method<string> =>
  (self, [separator]) => {
    const mark = textArgument(separator);
    const at = fromEnd ? self.lastIndexOf(mark) : self.indexOf(mark);
    if (at === -1) return new Tuple(fromEnd ? ['', '', self] : [self, '', '']);
    return new Tuple([self.slice(0, at), mark, self.slice(at + mark.length)]);
  };

export function replace(text: string, old: string, fresh: string, count: number): string {
  const parts = old === '' ? ['', ...Array.from(text), ''] : text.split(old);
  const times = count < 0 ? parts.length - 1 : Math.min(count, parts.length - 1);
  boundedText(text.length + times * (fresh.length - old.length));
  return (
    parts
      .slice(0, times)
      .map((part) => part + fresh)
      .join('') + parts.slice(times).join(old)
  );
}

/** The first letter of each run of letters large, the others small. */
function title(text: string): string {
  return text.replace(/\p{L}[\p{L}\p{M}]*/gu, capitalize);
}

export function capitalize(text: string): string {
  const [first = '', ...rest] = Array.from(text);
  return titleCase(first) + rest.join('').toLowerCase();
}

/** Some letters for two have a form of their own with only the first one large. */
function titleCase(letter: string): string {
  const digraph = /^[\u01c4-\u01cc\u01f1-\u01f3]$/.exec(letter);
  if (digraph === null) return letter.toUpperCase();
  const code = letter.charCodeAt(0);
  return String.fromCharCode(code >= 0x1f1 ? 0x1f2 : code - ((code - 0x1c4) % 3) + 1);
}

const END_OF_LINE = new RegExp(`(?:\\r\\n|[${LINE_END}])$`);
const LINE = new RegExp(`[^${LINE_END}]*(?:\\r\\n|[${LINE_END}])|[^${LINE_END}]+$`, 'g');

const TEXT: Readonly<Record<string, Method<string>>> = {
  capitalize,
  casefold: (self) => self.toLowerCase().replaceAll('ß', 'ss'),
  center: (self, [width, fill = ' ']) => {
    // Python gives the odd one to the left where the width is odd.
    const missing = integerArgument(width, 0) - Array.from(self).length;
    const left = Math.floor(missing / 2) + (missing & integerArgument(width, 0) & 1);
    return missing <= 0
      ? self
      : pad(
          pad(self, Array.from(self).length + left, '>', textArgument(fill)),
          integerArgument(width, 0),
          '<',
          textArgument(fill),
        );
  },
  count: (self, [part]) => (part === '' ? Array.from(self).length + 1 : self.split(textArgument(part)).length - 1),
  endswith: affixed((text, affix) => text.endsWith(affix)),
  find: (self, args) => find(self, args, 'indexOf'),
  index: found('indexOf'),
  isalnum: every(/^[\p{L}\p{N}]+$/u),
  isalpha: every(/^\p{L}+$/u),
  isascii: (self) => Array.from(self).every((letter) => letter.codePointAt(0)! < 128),
  isdecimal: every(/^\p{Nd}+$/u),
  isdigit: every(/^[\p{Nd}\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089]+$/u),
  islower: (self) => self === self.toLowerCase() && /\p{Ll}/u.test(self),
  isnumeric: every(/^\p{N}+$/u),
  isspace: (self) => self !== '' && strip(self, 'both') === '',
  istitle: (self) => self === title(self) && /\p{L}/u.test(self),
  isupper: (self) => self === self.toUpperCase() && /\p{Lu}/u.test(self),
  join: (self, [items = null]) => {
    const texts = itemsOf(items).map(textArgument);
    boundedText(texts.reduce((sum, text) => sum + text.length + self.length, 0));
    return texts.join(self);
  },
  ljust: justified('<'),
  lower: (self) => self.toLowerCase(),
  lstrip: stripped('start'),
  partition: partition(false),
  removeprefix: (self, [prefix]) =>
    self.startsWith(textArgument(prefix)) ? self.slice((prefix as string).length) : self,
  removesuffix: (self, [suffix]) =>
    suffix !== '' && self.endsWith(textArgument(suffix)) ? self.slice(0, -(suffix as string).length) : self,
  replace: (self, args, named) => {
    const [old, fresh, count] = bind(args, named, ['old', 'new', 'count']);
    return replace(self, textArgument(old), textArgument(fresh), integerArgument(count, -1));
  },
  rfind: (self, args) => find(self, args, 'lastIndexOf'),
  rindex: found('lastIndexOf'),
  rjust: justified('>'),
  rpartition: partition(true),
  rsplit: (self, args, named) => split(self, args, named, true),
  rstrip: stripped('end'),
  split: (self, args, named) => split(self, args, named, false),
  splitlines: (self, args, named) => {
    const [keep = false] = bind(args, named, ['keepends']);
    const lines = self.match(LINE) ?? [];
    return keep === true ? lines : lines.map((line) => line.replace(END_OF_LINE, ''));
  },
  startswith: affixed((text, affix) => text.startsWith(affix)),
  strip: stripped('both'),
  swapcase: (self) =>
    Array.from(self, (letter) => (letter === letter.toUpperCase() ? letter.toLowerCase() : letter.toUpperCase())).join(
      '',
    ),
  title,
  upper: (self) => self.toUpperCase(),
  zfill: (self, [width]) => pad(self, integerArgument(width, 0), '=', '0'),
};
