/**
 * Runs parsed templates with Python's meaning. Bounds: a template that does not end, or makes more than memory holds, is
 * stopped. Templates reach no JavaScript object: a field is looked for among the entries of a dict and the methods of
 * `methods.ts` only.
 */
import type { Engine } from './filters.ts';
import { FILTERS } from './filters.ts';
import { GLOBALS } from './globals.ts';
import { methodOf } from './methods.ts';
import type { Arguments, Expression, Macro, Statement, Target } from './nodes.ts';
import { BLOCK_TEXT } from './nodes.ts';
import { binary, itemOf, negative, sliceOf } from './operators.ts';
import type { Test } from './tests.ts';
import { createTests } from './tests.ts';
import type { PythonFunction, Value } from './values.ts';
import {
  compare,
  contains,
  equal,
  isDict,
  isList,
  isTrue,
  itemsOf,
  Namespace,
  TemplateError,
  Tuple,
  textOf,
  typeName,
  Undefined,
} from './values.ts';

/** What a template may take before it is stopped. */
export interface Limits {
  /** Evaluated expressions and loop items. */
  readonly steps: number;
  readonly milliseconds: number;
  /** Of any one text. */
  readonly characters: number;
  /** Of any one list. */
  readonly items: number;
}

/** A conversation of a thousand turns takes about a tenth of this. */
export const LIMITS: Limits = { steps: 5_000_000, milliseconds: 5_000, characters: 1 << 24, items: 1 << 20 };

const TESTS = createTests(FILTERS);

class Scope {
  readonly names = new Map<string, Value>();
  readonly parent: Scope | null;

  constructor(parent: Scope | null) {
    this.parent = parent;
  }

  find(name: string): Value | undefined {
    return this.names.get(name) ?? (this.names.has(name) ? this.names.get(name) : this.parent?.find(name));
  }
}

/** How a list of statements ended. */
type Exit = 'end' | 'break' | 'continue';

type Body = readonly Statement[];
type Loop = Extract<Statement, { type: 'for' }>;

/** `open` and `close` are printed around what generation blocks print. */
export class Interpreter implements Engine {
  readonly #marks: readonly [open: string, close: string];
  readonly #limits: Limits;
  readonly #deadline: number;
  readonly #globals = new Scope(null);
  #steps = 0;
  #nextLook = 0;
  #printed: string[] = [];
  #length = 0;

  constructor(
    variables: Iterable<readonly [string, Value]>,
    marks: readonly [open: string, close: string],
    limits: Limits,
  ) {
    this.#marks = marks;
    this.#limits = limits;
    this.#deadline = Date.now() + limits.milliseconds;
    for (const [name, value] of Object.entries(GLOBALS)) this.#globals.names.set(name, value);
    for (const [name, value] of variables) this.#globals.names.set(name, value);
  }

  /** The text of a program. Throws what the template raises, and `TemplateError`. */
  run(body: Body): string {
    const scope = new Scope(this.#globals);
    return this.#capture(() => this.#execute(body, scope));
  }

  // Statements

  #execute(body: Body, scope: Scope): Exit {
    for (const statement of body) {
      const exit = this.#statement(statement, scope);
      if (exit !== 'end') return exit;
    }
    return 'end';
  }

  #statement(statement: Statement, scope: Scope): Exit {
    this.count(1);
    switch (statement.type) {
      case 'text':
        this.#print(statement.text);
        return 'end';
      case 'print':
        this.#print(textOf(this.#evaluate(statement.value, scope)));
        return 'end';
      case 'for':
        this.#loop(statement, itemsOf(this.#evaluate(statement.items, scope)), scope, 1);
        return 'end';
      case 'if':
        return this.#execute(
          isTrue(this.#evaluate(statement.test, scope)) ? statement.then : statement.otherwise,
          scope,
        );
      case 'set':
        this.#assign(statement.target, this.#evaluate(statement.value, scope), scope);
        return 'end';
      case 'set_block': {
        const text = this.#capture(() => this.#execute(statement.body, new Scope(scope)));
        this.#assign(
          statement.target,
          statement.filter === null ? text : this.#filtered(statement.filter, text, scope),
          scope,
        );
        return 'end';
      }
      case 'macro':
        scope.names.set(statement.macro.name, this.#macro(statement.macro, scope));
        return 'end';
      case 'call': {
        const { call, caller } = statement;
        if (call.type !== 'call') throw new TemplateError('expected a call');
        const { args, named } = this.#arguments(call.args, scope);
        named.set('caller', this.#macro(caller, scope));
        this.#print(textOf(this.#callValue(this.#evaluate(call.callee, scope), args, named)));
        return 'end';
      }
      case 'filter': {
        const text = this.#capture(() => this.#execute(statement.body, new Scope(scope)));
        this.#print(textOf(this.#filtered(statement.filter, text, scope)));
        return 'end';
      }
      case 'with': {
        const inner = new Scope(scope);
        for (const [target, value] of statement.values) this.#assign(target, this.#evaluate(value, scope), inner);
        return this.#execute(statement.body, inner);
      }
      case 'scope':
        return this.#execute(statement.body, new Scope(scope));
      case 'generation': {
        this.#print(this.#marks[0]);
        const exit = this.#execute(statement.body, new Scope(scope));
        this.#print(this.#marks[1]);
        return exit;
      }
      case 'break':
      case 'continue':
        return statement.type;
    }
  }

  #loop(statement: Loop, all: readonly Value[], scope: Scope, depth: number): void {
    const { target, condition, body, otherwise } = statement;
    this.count(all.length);
    const kept = all.filter((item) => {
      if (condition === null) return true;
      const inner = new Scope(scope);
      this.#assign(target, item, inner);
      return isTrue(this.#evaluate(condition, inner));
    });
    let changed: readonly Value[] | null = null;
    const cycle: PythonFunction = (args) => args[index % args.length] ?? null;
    const isChanged: PythonFunction = (args) => {
      const is = changed === null || !equal(changed, args);
      changed = args;
      return is;
    };
    let index = 0;
    for (const item of kept) {
      const inner = new Scope(scope);
      const outside = (what: string): Value => new Undefined(`loop.${what}`);
      const fields: [string, Value][] = [
        ['index', index + 1],
        ['index0', index],
        ['first', index === 0],
        ['last', index === kept.length - 1],
        ['length', kept.length],
        ['revindex', kept.length - index],
        ['revindex0', kept.length - index - 1],
        ['previtem', index === 0 ? outside('previtem') : kept[index - 1]!],
        ['nextitem', index === kept.length - 1 ? outside('nextitem') : kept[index + 1]!],
        ['depth', depth],
        ['depth0', depth - 1],
        ['cycle', cycle],
        ['changed', isChanged],
      ];
      const again: PythonFunction = ([items = null]) =>
        this.#capture(() => this.#loop(statement, itemsOf(items), scope, depth + 1));
      inner.names.set('loop', new Namespace(fields, statement.isRecursive ? again : undefined));
      this.#assign(target, item, inner);
      if (this.#execute(body, inner) === 'break') break;
      index += 1;
    }
    if (kept.length === 0) this.#execute(otherwise, new Scope(scope));
  }

  #assign(target: Target, value: Value, scope: Scope): void {
    if (target.type === 'name') {
      scope.names.set(target.name, value);
    } else if (target.type === 'field') {
      const namespace = scope.find(target.namespace);
      if (!(namespace instanceof Namespace))
        throw new TemplateError(`can only set fields of a namespace, not of "${target.namespace}"`);
      namespace.fields.set(target.name, value);
    } else {
      const items = itemsOf(value);
      if (items.length !== target.items.length) {
        throw new TemplateError(`expected ${target.items.length} values to assign, got ${items.length}`);
      }
      for (const [i, one] of target.items.entries()) this.#assign(one, items[i]!, scope);
    }
  }

  #macro({ name, parameters, body, takes }: Macro, scope: Scope): Value {
    const call: PythonFunction = (args, named) => {
      const inner = new Scope(scope);
      const left = new Map(named);
      for (const [i, parameter] of parameters.entries()) {
        const given = i < args.length ? args[i] : left.get(parameter.name);
        if (i >= args.length) left.delete(parameter.name);
        const missing = (): Value =>
          parameter.fallback === null
            ? new Undefined(`parameter "${parameter.name}"`)
            : this.#evaluate(parameter.fallback, inner);
        inner.names.set(parameter.name, given === undefined ? missing() : given);
      }
      inner.names.set('caller', left.get('caller') ?? new Undefined('caller'));
      left.delete('caller');
      if (args.length > parameters.length && !takes.varargs)
        throw new TemplateError(`macro "${name}" takes ${parameters.length} arguments`);
      for (const other of left.keys())
        if (!takes.kwargs) throw new TemplateError(`macro "${name}" has no argument "${other}"`);
      inner.names.set('varargs', new Tuple(args.slice(parameters.length)));
      inner.names.set('kwargs', new Map<Value, Value>(left));
      return this.#capture(() => this.#execute(body, inner));
    };
    return new Namespace([['name', name]], call);
  }

  #capture(execute: () => void): string {
    const outer = [this.#printed, this.#length] as const;
    [this.#printed, this.#length] = [[], 0];
    try {
      execute();
      return this.#printed.join('');
    } finally {
      [this.#printed, this.#length] = outer;
    }
  }

  #print(text: string): void {
    this.#length += text.length;
    this.#boundText(this.#length);
    this.#printed.push(text);
  }

  // Expressions

  #evaluate(node: Expression, scope: Scope): Value {
    this.count(1);
    const value = this.#value(node, scope);
    if (typeof value === 'string') this.#boundText(value.length);
    if (isList(value) && value.length > this.#limits.items)
      throw new TemplateError(`it made a list of more than ${this.#limits.items} items`);
    return value;
  }

  #value(node: Expression, scope: Scope): Value {
    switch (node.type) {
      case 'constant':
      case 'integer':
        return node.value;
      case 'float':
        return binary('/', node.value, 1);
      case 'name':
        return scope.find(node.name) ?? (this.#has(scope, node.name) ? null : new Undefined(`"${node.name}"`));
      case 'list':
        return node.items.map((item) => this.#evaluate(item, scope));
      case 'tuple':
        return new Tuple(node.items.map((item) => this.#evaluate(item, scope)));
      case 'dict':
        return new Map(node.entries.map(([key, value]) => [this.#evaluate(key, scope), this.#evaluate(value, scope)]));
      case 'attribute':
        return this.#attribute(this.#evaluate(node.object, scope), node.name);
      case 'item':
        return this.#item(node.object, node.key, scope);
      case 'slice':
        throw new TemplateError('a slice stands only in an index');
      case 'call': {
        const callee = this.#evaluate(node.callee, scope);
        const { args, named } = this.#arguments(node.args, scope);
        return this.#callValue(callee, args, named);
      }
      case 'filter': {
        const operand = this.#evaluate(node.operand, scope);
        const { args, named } = this.#arguments(node.args, scope);
        return this.filter(node.name, operand, args, named);
      }
      case 'test': {
        const operand = this.#evaluate(node.operand, scope);
        const { args } = this.#arguments(node.args, scope);
        return this.test(node.name)(operand, args[0] ?? null);
      }
      case 'not':
        return !isTrue(this.#evaluate(node.operand, scope));
      case 'negative':
      case 'positive':
        return negative(this.#evaluate(node.operand, scope), node.type === 'negative' ? -1 : 1);
      case 'and': {
        const left = this.#evaluate(node.left, scope);
        return isTrue(left) ? this.#evaluate(node.right, scope) : left;
      }
      case 'or': {
        const left = this.#evaluate(node.left, scope);
        return isTrue(left) ? left : this.#evaluate(node.right, scope);
      }
      case 'binary':
        return binary(node.operator, this.#evaluate(node.left, scope), this.#evaluate(node.right, scope));
      case 'compare':
        return this.#compare(node.first, node.rest, scope);
      case 'if':
        if (isTrue(this.#evaluate(node.test, scope))) return this.#evaluate(node.then, scope);
        return node.otherwise === null ? new Undefined('an if without else') : this.#evaluate(node.otherwise, scope);
    }
  }

  #has(scope: Scope | null, name: string): boolean {
    return scope !== null && (scope.names.has(name) || this.#has(scope.parent, name));
  }

  #compare(first: Expression, rest: readonly (readonly [string, Expression])[], scope: Scope): boolean {
    let left = this.#evaluate(first, scope);
    for (const [operator, operand] of rest) {
      const right = this.#evaluate(operand, scope);
      if (!COMPARISONS[operator]!(left, right)) return false;
      left = right;
    }
    return true;
  }

  #arguments({ positional, named }: Arguments, scope: Scope): { args: Value[]; named: Map<string, Value> } {
    const args = positional.flatMap(({ value, spread }) => {
      const one = this.#evaluate(value, scope);
      return spread ? itemsOf(one) : [one];
    });
    const all = new Map<string, Value>();
    for (const { name, value } of named) {
      const one = this.#evaluate(value, scope);
      if (name !== null) all.set(name, one);
      else if (isDict(one)) for (const [key, item] of one) all.set(textOf(key), item);
    }
    return { args, named: all };
  }

  #callValue(callee: Value, args: readonly Value[], named: ReadonlyMap<string, Value>): Value {
    this.count(1);
    if (typeof callee === 'function') return callee(args, named);
    if (callee instanceof Namespace && callee.call !== undefined) return callee.call(args, named);
    throw new TemplateError(`expected a function to call, got ${typeName(callee)}`);
  }

  /** `object.name`: a method, else an entry. */
  #attribute(object: Value, name: string): Value {
    refuse(object, name);
    if (object instanceof Namespace) return object.fields.get(name) ?? lost(object.fields.has(name), name);
    const method = methodOf(object, name, this.#look);
    if (method !== undefined) return method;
    return itemOf(object, name) ?? lost(isDict(object) && object.has(name), name);
  }

  /** `object[key]`: an entry, else a method. */
  #item(objectNode: Expression, keyNode: Expression, scope: Scope): Value {
    const object = this.#evaluate(objectNode, scope);
    if (keyNode.type === 'slice') {
      const bounds = [keyNode.start, keyNode.stop, keyNode.step];
      return sliceOf(
        object,
        bounds.map((bound) => (bound === null ? undefined : this.#evaluate(bound, scope))),
      );
    }
    return this.#entry(object, this.#evaluate(keyNode, scope));
  }

  #entry(object: Value, key: Value): Value {
    refuse(object, textOf(key));
    const found = itemOf(object, key);
    if (found !== undefined) return found;
    return typeof key === 'string' ? this.#attribute(object, key) : new Undefined(`an item ${textOf(key)}`);
  }

  readonly #look = (value: Value, key: string | number): Value => this.#entry(value, key);

  lookPath(value: Value, path: Value): Value {
    if (typeof path !== 'string') return this.#entry(value, path);
    const parts = path.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : part));
    return parts.reduce<Value>((found, part) => this.#entry(found, part), value);
  }

  filter(name: string, value: Value, args: readonly Value[], named: ReadonlyMap<string, Value>): Value {
    this.count(1);
    const filter = Object.hasOwn(FILTERS, name) ? FILTERS[name] : undefined;
    if (filter === undefined) throw new TemplateError(`there is no filter "${name}"`);
    return filter(value, args, named, this);
  }

  test(name: string): Test {
    const test = Object.hasOwn(TESTS, name) ? TESTS[name] : undefined;
    if (test === undefined) throw new TemplateError(`there is no test "${name}"`);
    return test;
  }

  #filtered(filter: Expression, text: string, scope: Scope): Value {
    const inner = new Scope(scope);
    inner.names.set(BLOCK_TEXT, text);
    return this.#evaluate(filter, inner);
  }

  // Bounds

  count(steps: number): void {
    this.#steps += steps;
    if (this.#steps < this.#nextLook) return;
    this.#nextLook = this.#steps + 64;
    const { steps: most, milliseconds } = this.#limits;
    if (this.#steps > most || Date.now() > this.#deadline) {
      throw new TemplateError(`it did not end within ${most} steps and ${milliseconds / 1000} s`);
    }
  }

  #boundText(length: number): void {
    if (length > this.#limits.characters)
      throw new TemplateError(`it made a text of more than ${this.#limits.characters} characters`);
  }
}

const COMPARISONS: Readonly<Record<string, (a: Value, b: Value) => boolean>> = {
  '==': equal,
  '!=': (a, b) => !equal(a, b),
  '<': (a, b) => compare(a, b) < 0,
  '<=': (a, b) => compare(a, b) <= 0,
  '>': (a, b) => compare(a, b) > 0,
  '>=': (a, b) => compare(a, b) >= 0,
  in: (a, b) => contains(b, a),
  'not in': (a, b) => !contains(b, a),
};

/** What is undefined has no fields. */
function refuse(object: Value, name: string): void {
  if (object instanceof Undefined) throw new TemplateError(`${object.what} is undefined, and has no "${name}"`);
}

/** None where the entry is that, else nothing. */
function lost(isThere: boolean, name: string): Value {
  return isThere ? null : new Undefined(`"${name}"`);
}
