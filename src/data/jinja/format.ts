/** Python's two ways to put values into texts: `'%s' % x` and `'{}'.format(x)`. */
import type { Value } from './values.ts';
import {
  boundedText,
  Float,
  floatText,
  isDict,
  isList,
  numberOf,
  repr,
  TemplateError,
  Tuple,
  textOf,
  typeName,
} from './values.ts';

const DIRECTIVE = /%(?:\(([^)]*)\))?([-+ #0]*)(\*|\d+)?(?:\.(\*|\d+))?[hlL]?([%a-zA-Z])/g;

/** `text % values`. */
export function formatPercent(text: string, values: Value): string {
  const queue = values instanceof Tuple ? [...values.items] : [values];
  const next = (): Value => {
    if (queue.length === 0) throw new TemplateError('not enough arguments for the format');
    return queue.shift()!;
  };
  let isNamed = false;
  const made = text.replace(
    DIRECTIVE,
    (
      _,
      name: string | undefined,
      flags: string,
      width: string | undefined,
      precision: string | undefined,
      type: string,
    ) => {
      if (type === '%') return '%';
      const size = (written: string | undefined): number | undefined =>
        (written === '*' ? Number(next()) : written && Number(written)) || undefined;
      const [wide, digits] = [size(width), precision === '0' ? 0 : size(precision)];
      isNamed ||= name !== undefined;
      const value = name === undefined ? next() : isDict(values) ? values.get(name) : undefined;
      if (value === undefined) throw new TemplateError(`the format has no value for "${name}"`);
      const kind = type === 'i' || type === 'u' ? 'd' : type;
      if (kind === 's' || kind === 'r' || kind === 'a') {
        const whole = kind === 's' ? textOf(value) : repr(value);
        return pad(
          digits === undefined ? whole : Array.from(whole).slice(0, digits).join(''),
          wide,
          flags.includes('-') ? '<' : '>',
          ' ',
        );
      }
      const sign = flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '-';
      const shown = numberText(value, kind, { sign, precision: digits, alternate: flags.includes('#'), grouping: '' });
      if (flags.includes('-')) return pad(shown, wide, '<', ' ');
      return flags.includes('0') ? pad(shown, wide, '=', '0') : pad(shown, wide, '>', ' ');
    },
  );
  if (queue.length > 0 && !isNamed && !isDict(values) && !isList(values))
    throw new TemplateError('not all arguments were used by the format');
  return made;
}

const FIELD = /\{\{|\}\}|\{([^{}!:]*)(?:!([rsa]))?(?::((?:[^{}]|\{[^{}]*\})*))?\}|[{}]/g;

/** `text.format(…)`. `look` gives a field or item of a value. */
export function formatBraces(
  text: string,
  args: readonly Value[],
  named: ReadonlyMap<string, Value>,
  look: (value: Value, key: string | number) => Value,
): string {
  let automatic = 0;
  const fieldOf = (field: string): Value => {
    const [, first = '', path = ''] = /^([^.[]*)(.*)$/s.exec(field)!;
    const found = first === '' ? args[automatic++] : /^\d+$/.test(first) ? args[Number(first)] : named.get(first);
    if (found === undefined) throw new TemplateError(`the format has no value for "${first}"`);
    return [...path.matchAll(/\.([^.[]+)|\[([^\]]+)\]/g)].reduce((value, [, name, key]) => {
      return look(value, name ?? (/^\d+$/.test(key!) ? Number(key) : key!));
    }, found);
  };
  return text.replace(
    FIELD,
    (whole, field: string | undefined, conversion: string | undefined, spec: string | undefined) => {
      if (whole === '{{' || whole === '}}') return whole[0]!;
      if (field === undefined) throw new TemplateError('a format has a single brace');
      const value = fieldOf(field);
      const inner = (spec ?? '').replace(/\{([^{}]*)\}/g, (_, name: string) => textOf(fieldOf(name)));
      return formatSpec(conversion === undefined ? value : conversion === 's' ? textOf(value) : repr(value), inner);
    },
  );
}

const SPEC = /^(?:([\s\S])?([<>=^]))?([-+ ])?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([a-zA-Z%])?$/u;

/** Python's format specification: `[[fill]align][sign][#][0][width][,][.precision][type]`. */
function formatSpec(value: Value, spec: string): string {
  if (spec === '') return textOf(value);
  const found = SPEC.exec(spec);
  if (found === null) throw new TemplateError(`the format "${spec}" is not known`);
  const [, fill, align, sign = '-', alternate, zero, width, grouping = '', precision, type] = found;
  const isNumber = numberOf(value) !== null && (typeof value !== 'boolean' || type !== undefined);
  const digits = precision === undefined ? undefined : Number(precision);
  const shown = isNumber
    ? numberText(value, type ?? (value instanceof Float ? 'general' : 'd'), {
        sign,
        precision: digits,
        alternate: alternate !== undefined,
        grouping,
      })
    : Array.from(textOf(value)).slice(0, digits).join('');
  if (!isNumber && type !== undefined && type !== 's')
    throw new TemplateError(`the format "${type}" does not take ${typeName(value)}`);
  const side = align ?? (zero && isNumber ? '=' : isNumber ? '>' : '<');
  return pad(shown, width === undefined ? undefined : Number(width), side, fill ?? (zero ? '0' : ' '));
}

interface NumberStyle {
  readonly sign: string;
  readonly precision: number | undefined;
  readonly alternate: boolean;
  readonly grouping: string;
}

function numberText(value: Value, type: string, { sign, precision, alternate, grouping }: NumberStyle): string {
  const number = numberOf(value);
  if (number === null) throw new TemplateError(`the format "${type}" does not take ${typeName(value)}`);
  const size = Math.abs(number);
  const prefix = number < 0 || Object.is(number, -0) ? '-' : sign === '-' ? '' : sign;
  const radix = { x: 16, X: 16, o: 8, b: 2 }[type];
  if (precision !== undefined && precision > 100)
    throw new TemplateError(`a format with ${precision} digits is too long`);
  let digits: string;
  if (radix !== undefined) {
    digits = (alternate ? `0${type}` : '') + size.toString(radix);
    if (type === 'X') digits = digits.toUpperCase();
  } else if (type === 'd') digits = BigInt(Math.trunc(size)).toString();
  else if (type === 'f' || type === 'F') digits = size.toFixed(precision ?? 6);
  else if (type === '%') digits = `${(size * 100).toFixed(precision ?? 6)}%`;
  else if (type === 'e' || type === 'E') digits = exponential(size.toExponential(precision ?? 6));
  else if (type === 'g' || type === 'G') digits = general(size, precision ?? 6);
  else if (type === 'general') digits = precision === undefined ? floatText(size) : general(size, precision);
  else if (type === 'c') return String.fromCodePoint(number);
  else throw new TemplateError(`the format "${type}" is not known`);
  if (type === 'E' || type === 'G') digits = digits.toUpperCase();
  if (grouping !== '') digits = digits.replace(/^\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, grouping));
  return prefix + digits;
}

function exponential(text: string): string {
  return text.replace(/e([+-])(\d)$/, 'e$10$2');
}

/** `%g`: significant digits without zeros at the end. */
function general(size: number, precision: number): string {
  const digits = Math.max(1, precision);
  const [mantissa = '', exponent = '0'] = size.toExponential(digits - 1).split('e');
  const power = Number(exponent);
  const short = (text: string): string => (text.includes('.') ? text.replace(/\.?0+$/, '') : text);
  if (power < -4 || power >= digits)
    return exponential(`${short(mantissa)}e${power < 0 ? '-' : '+'}${Math.abs(power)}`);
  return short(size.toFixed(digits - 1 - power));
}

/** Fills up to `width` characters; `=` fills after the sign. */
export function pad(text: string, width: number | undefined, side: string, fill: string): string {
  const missing = (width ?? 0) - Array.from(text).length;
  if (missing <= 0) return text;
  boundedText(missing * fill.length);
  const left = side === '<' ? 0 : side === '^' ? Math.floor(missing / 2) : missing;
  const start = side === '=' ? /^[-+ ]?/.exec(text)![0] : '';
  return start + fill.repeat(left) + text.slice(start.length) + fill.repeat(missing - left);
}
