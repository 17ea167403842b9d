/** Arithmetic, indices and fields, with Python's types and errors. */
import { formatPercent } from './format.ts';
import type { Value } from './values.ts';
import {
  boundedList,
  boundedText,
  Float,
  isDict,
  isList,
  itemsOf,
  numberOf,
  repeat,
  TemplateError,
  Tuple,
  textOf,
  typeName,
  Undefined,
} from './values.ts';

export function binary(operator: string, left: Value, right: Value): Value {
  if (operator === '~') {
    const text = textOf(left) + textOf(right);
    boundedText(text.length);
    return text;
  }
  for (const value of [left, right])
    if (value instanceof Undefined) throw new TemplateError(`${value.what} is undefined`);
  if (operator === '%' && typeof left === 'string') return formatPercent(left, right);
  const [a, b] = [numberOf(left), numberOf(right)];
  if (a !== null && b !== null) return arithmetic(operator, a, b, left instanceof Float || right instanceof Float);
  const joined = operator === '+' ? join(left, right) : operator === '*' ? multiply(left, right) : null;
  if (joined === null) throw new TemplateError(`cannot compute ${typeName(left)} ${operator} ${typeName(right)}`);
  return joined;
}

function join(left: Value, right: Value): Value | null {
  if (typeof left === 'string' && typeof right === 'string') {
    boundedText(left.length + right.length);
    return left + right;
  }
  if (typeof left === 'string' || typeof right === 'string') {
    throw new TemplateError(`a text can only be joined to a text, got ${typeName(left)} + ${typeName(right)}`);
  }
  if (isList(left) && isList(right)) {
    boundedList(left.length + right.length);
    return [...left, ...right];
  }
  return left instanceof Tuple && right instanceof Tuple ? new Tuple([...left.items, ...right.items]) : null;
}

function multiply(left: Value, right: Value): Value | null {
  const [many, times] = typeof right === 'number' ? [left, right] : [right, left];
  if (typeof times !== 'number') return null;
  if (typeof many === 'string') return repeat(many, times);
  if (!isList(many) && !(many instanceof Tuple)) return null;
  const items = itemsOf(many);
  boundedList(items.length * times);
  const repeated = Array.from({ length: Math.max(0, times) }, () => items).flat();
  return isList(many) ? repeated : new Tuple(repeated);
}

function arithmetic(operator: string, a: number, b: number, isFloat: boolean): Value {
  const wrap = (value: number): Value => (isFloat ? new Float(value) : value);
  if (b === 0 && (operator === '/' || operator === '//' || operator === '%'))
    throw new TemplateError('division by zero');
  switch (operator) {
    case '+':
      return wrap(a + b);
    case '-':
      return wrap(a - b);
    case '*':
      return wrap(a * b);
    case '/':
      return new Float(a / b);
    case '//':
      return wrap(Math.floor(a / b));
    case '%':
      return wrap(a - b * Math.floor(a / b));
    default:
      return isFloat || b < 0 ? new Float(a ** b) : a ** b;
  }
}

export function negative(value: Value, sign: 1 | -1): Value {
  const number = numberOf(value);
  if (number === null) throw new TemplateError(`cannot compute -${typeName(value)}`);
  return value instanceof Float ? new Float(sign * number) : sign * number + 0;
}

/** The item of a list, text or dict; undefined when there is none. */
export function itemOf(object: Value, key: Value): Value | undefined {
  if (isDict(object)) return object.get(key instanceof Float ? key.value : key);
  const index = typeof key === 'boolean' ? Number(key) : key;
  if (typeof index !== 'number' || (typeof object !== 'string' && !isList(object) && !(object instanceof Tuple)))
    return undefined;
  const items = itemsOf(object);
  return items[index < 0 ? index + items.length : index];
}

export function sliceOf(object: Value, bounds: readonly (Value | undefined)[]): Value {
  if (typeof object !== 'string' && !isList(object) && !(object instanceof Tuple)) {
    throw new TemplateError(`${typeName(object)} has no slices`);
  }
  const items = itemsOf(object);
  const [start, stop, step] = bounds.map((bound) => {
    if (bound === undefined || bound === null) return null;
    if (typeof bound !== 'number') throw new TemplateError(`expected an integer in a slice, got ${typeName(bound)}`);
    return bound;
  });
  const by = step ?? 1;
  if (by === 0) throw new TemplateError('the step of a slice cannot be 0');
  const [lowest, highest] = by > 0 ? [0, items.length] : [-1, items.length - 1];
  const place = (bound: number | null | undefined, fallback: number): number => {
    if (bound === null || bound === undefined) return fallback;
    return Math.min(highest, Math.max(lowest, bound < 0 ? bound + items.length : bound));
  };
  const [from, to] = [place(start, by > 0 ? lowest : highest), place(stop, by > 0 ? highest : lowest)];
  const taken: Value[] = [];
  for (let i = from; by > 0 ? i < to : i > to; i += by) taken.push(items[i]!);
  if (typeof object === 'string') return taken.join('');
  return isList(object) ? taken : new Tuple(taken);
}
