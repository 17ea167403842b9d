/** What can stand after `is`. */
import type { Value } from './values.ts';
import {
  compare,
  contains,
  equal,
  Float,
  isDict,
  isIterable,
  isList,
  Namespace,
  numberOf,
  TemplateError,
  Tuple,
  textOf,
  Undefined,
} from './values.ts';

export type Test = (value: Value, argument: Value) => boolean;

const integer = (value: Value): number => {
  const number = numberOf(value);
  if (number === null) throw new TemplateError('expected a number');
  return number;
};

const less: Test = (a, b) => compare(a, b) < 0;
const greater: Test = (a, b) => compare(a, b) > 0;
const lessOrEqual: Test = (a, b) => compare(a, b) <= 0;
const greaterOrEqual: Test = (a, b) => compare(a, b) >= 0;
const unequal: Test = (a, b) => !equal(a, b);
const isCallable = (value: Value): boolean =>
  typeof value === 'function' || (value instanceof Namespace && value.call !== undefined);

/** `names`: the filters that exist. */
export function createTests(filters: Readonly<Record<string, unknown>>): Readonly<Record<string, Test>> {
  const tests: Record<string, Test> = {
    '!=': unequal,
    '<': less,
    '<=': lessOrEqual,
    '==': equal,
    '>': greater,
    '>=': greaterOrEqual,
    boolean: (value) => typeof value === 'boolean',
    callable: isCallable,
    defined: (value) => !(value instanceof Undefined),
    divisibleby: (value, by) => integer(value) % integer(by) === 0,
    eq: equal,
    equalto: equal,
    escaped: () => false,
    even: (value) => integer(value) % 2 === 0,
    false: (value) => value === false,
    filter: (value) => Object.hasOwn(filters, String(value)),
    float: (value) => value instanceof Float,
    ge: greaterOrEqual,
    greaterthan: greater,
    gt: greater,
    in: (value, container) => contains(container, value),
    integer: (value) => typeof value === 'number',
    iterable: isIterable,
    le: lessOrEqual,
    lessthan: less,
    lower: (value) => cased(textOf(value), 'toLowerCase'),
    lt: less,
    mapping: isDict,
    ne: unequal,
    none: (value) => value === null,
    number: (value) => numberOf(value) !== null,
    odd: (value) => Math.abs(integer(value)) % 2 === 1,
    sameas: (value, other) =>
      value === other || (value instanceof Float && other instanceof Float && value.value === other.value),
    sequence: (value) =>
      typeof value === 'string' ||
      isList(value) ||
      value instanceof Tuple ||
      isDict(value) ||
      value instanceof Undefined,
    string: (value) => typeof value === 'string',
    test: (value) => Object.hasOwn(tests, String(value)),
    true: (value) => value === true,
    undefined: (value) => value instanceof Undefined,
    upper: (value) => cased(textOf(value), 'toUpperCase'),
  };
  return tests;
}

function cased(text: string, change: 'toLowerCase' | 'toUpperCase'): boolean {
  return text === text[change]() && text.toLowerCase() !== text.toUpperCase();
}
