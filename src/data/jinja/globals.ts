/** The functions that every template finds. */
import { bind, integerArgument } from './methods.ts';
import type { Dict, PythonFunction, Value } from './values.ts';
import { isDict, itemsOf, Namespace, Range, TemplateError, textOf } from './values.ts';

/** As in Jinja2's sandbox. */
const MAX_RANGE = 100_000;

/** Python's `range`, refusing more than `MAX_RANGE` numbers. */
const range: PythonFunction = (args) => {
  const [first = 0, second, third] = args.map((arg) => integerArgument(arg, 0));
  const [start, stop, step] = [second === undefined ? 0 : first, second ?? first, third ?? 1];
  if (step === 0) throw new TemplateError('the step of range() cannot be 0');
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > MAX_RANGE) throw new TemplateError(`range() of ${length} numbers is too long; ${MAX_RANGE} are allowed`);
  const text = `range(${start}, ${stop}${step === 1 ? '' : `, ${step}`})`;
  return new Range(
    Array.from({ length }, (_, i) => start + i * step),
    text,
  );
};

function entriesOf(args: readonly Value[], named: ReadonlyMap<string, Value>): Dict {
  const entries = new Map<Value, Value>();
  for (const arg of args) {
    if (isDict(arg)) for (const [key, value] of arg) entries.set(key, value);
    else for (const pair of itemsOf(arg)) entries.set(itemsOf(pair)[0]!, itemsOf(pair)[1]!);
  }
  for (const [name, value] of named) entries.set(name, value);
  return entries;
}

export const GLOBALS: Readonly<Record<string, Value>> = {
  range,
  dict: entriesOf,
  namespace: (args, named) => new Namespace([...entriesOf(args, named)].map(([key, value]) => [textOf(key), value])),
  cycler: (args) => {
    let at = 0;
    const cycler = new Namespace([]);
    const show = (): void => void cycler.fields.set('current', args[at] ?? null);
    const next: PythonFunction = () => {
      const item = args[at] ?? null;
      at = (at + 1) % args.length;
      show();
      return item;
    };
    const reset: PythonFunction = () => {
      at = 0;
      show();
      return null;
    };
    show();
    cycler.fields.set('next', next);
    cycler.fields.set('reset', reset);
    return cycler;
  },
  joiner: (args, named) => {
    const [separator = ', '] = bind(args, named, ['sep']);
    let isUsed = false;
    return new Namespace([], () => {
      const text = isUsed ? separator : '';
      isUsed = true;
      return text;
    });
  },
};
