/**
 * The interpreter of @huggingface/jinja with bounds, and with Python's meaning where the library's differs:
 *
 * - values print as Python prints them (`True`, `None`, `{'a': 1}`), also through `~` and `|string`;
 * - a text plus what is no text is an error, as in Python (the library would print `[object Map]`);
 * - `strip`, `lstrip` and `rstrip` take characters; `dict(…)` exists; loops run over texts and over undefined names;
 * - `{% break %}` and `{% continue %}` keep what the iteration has printed.
 */

import { Environment, Interpreter } from '@huggingface/jinja';

export type Node = NonNullable<Parameters<Interpreter['evaluate']>[0]>;
type Value = ReturnType<Interpreter['evaluate']>;

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

/** The macro whose call blocks stand for `{% generation %}` blocks. */
export const GENERATION = '__generation__';

/** A list of statements that the interpreter prints itself. */
interface Block extends Node {
  readonly type: 'Block' | 'LoopBody';
  readonly body: readonly Node[];
}

/**
 * Wraps every list of statements of a parsed template in a `Block` (of a loop: in a `LoopBody`). Changes it in place.
 */
export function withOwnBlocks(node: Node): Node {
  const fields = node as Node & Record<string, unknown>;
  for (const [name, value] of Object.entries(fields)) {
    if (isNode(value)) withOwnBlocks(value);
    if (!Array.isArray(value)) continue;
    for (const item of value) if (isNode(item)) withOwnBlocks(item);
    if (value.length === 0 || (name !== 'body' && name !== 'alternate' && name !== 'defaultBlock')) continue;
    const type = node.type === 'For' && name === 'body' ? 'LoopBody' : 'Block';
    // The library looks for names only in nodes of its own classes.
    fields[name] = [Object.assign(Object.create(Object.getPrototypeOf(node) as object), { type, body: value })];
  }
  return node;
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value;
}

/** `{% break %}` or `{% continue %}` on its way to its loop, with what was printed since the iteration began. */
class LoopExit extends Error {
  printed = '';
  readonly kind: 'Break' | 'Continue';

  constructor(kind: 'Break' | 'Continue') {
    super(`{% ${kind.toLowerCase()} %} outside of a loop`);
    this.kind = kind;
  }
}

/** Statements that print nothing; their value is no None to be printed. */
const SILENT = new Set(['Set', 'Macro', 'Comment']);

/** `open` and `close` are printed around what generation blocks print. */
export class OwnInterpreter extends Interpreter {
  readonly #open: string;
  readonly #close: string;
  readonly #limits: Limits;
  readonly #deadline: number;
  /** The scopes of loops that a `{% break %}` has ended. */
  readonly #ended = new WeakSet<Environment>();
  /** The expressions that loops run over: each item counts as a step. */
  readonly #iterables = new WeakSet<Node>();
  #steps = 0;
  #nextLook = 0;

  constructor(environment: Environment, open: string, close: string, limits: Limits) {
    super(environment);
    this.#limits = limits;
    this.#deadline = Date.now() + limits.milliseconds;
    this.#open = open;
    this.#close = close;
  }

  override evaluate(node: Node | undefined, environment: Environment): Value {
    this.#count(1);
    const value = (node && this.#own(node, environment)) ?? super.evaluate(node, environment);
    const { value: inner } = value;
    const { characters, items } = this.#limits;
    if (typeof inner === 'string' && inner.length > characters)
      throw new Error(`it made a text of more than ${characters} characters`);
    if (Array.isArray(inner) && inner.length > items) throw new Error(`it made a list of more than ${items} items`);
    return node !== undefined && this.#iterables.has(node) ? this.#items(value) : value;
  }

  #count(steps: number): void {
    this.#steps += steps;
    if (this.#steps < this.#nextLook) return;
    this.#nextLook = this.#steps + 16;
    const { steps: most, milliseconds } = this.#limits;
    if (this.#steps > most || Date.now() > this.#deadline) {
      throw new Error(`it did not end within ${most} steps and ${milliseconds / 1000} s`);
    }
  }

  /** The nodes that mean something else here than in the library. */
  #own(node: Node, environment: Environment): Value | undefined {
    switch (node.type) {
      case 'Value':
        return (node as ValueNode).value;
      case 'For':
        this.#iterables.add(iterableOf(node as For));
        return undefined;
      case 'Break':
      case 'Continue':
        throw new LoopExit(node.type);
      case 'Block':
        return this.#text(this.#print(node as Block, environment));
      case 'LoopBody':
        return this.#loopBody(node as Block, environment);
      case 'CallStatement':
        return this.#generation(node as CallStatement, environment);
      case 'CallExpression':
        return this.#call(node as Call, environment);
      case 'BinaryExpression':
        return this.#join(node as Binary, environment);
      case 'FilterExpression': {
        const { operand, filter } = node as Filter;
        return filter.value === 'string' ? this.#text(pythonText(this.evaluate(operand, environment))) : undefined;
      }
      default:
        return undefined;
    }
  }

  #print({ body }: Block, environment: Environment): string {
    let printed = '';
    try {
      for (const node of body) {
        const value = this.evaluate(node, environment);
        if (!SILENT.has(node.type)) printed += pythonText(value);
      }
    } catch (exit) {
      if (exit instanceof LoopExit) exit.printed = printed + exit.printed;
      throw exit;
    }
    return printed;
  }

  #loopBody(body: Block, environment: Environment): Value {
    if (this.#ended.has(environment)) return super.evaluate({ type: 'Break' }, environment);
    try {
      return this.#text(this.#print(body, environment));
    } catch (exit) {
      if (!(exit instanceof LoopExit)) throw exit;
      if (exit.kind === 'Break') this.#ended.add(environment);
      return this.#text(exit.printed);
    }
  }

  /** What a loop runs over: the characters of a text, nothing for an undefined name, else as it is. */
  #items(value: Value): Value {
    const inner: unknown = value.value;
    if (Array.isArray(inner)) this.#count(inner.length);
    if (typeof inner !== 'string' && value.type !== 'UndefinedValue') return value;
    const characters =
      typeof inner === 'string' ? Array.from(inner, (character) => valueNode(this.#text(character))) : [];
    this.#count(characters.length);
    return super.evaluate({ type: 'ArrayLiteral', value: characters } as Node, this.global);
  }

  #generation(node: CallStatement, environment: Environment): Value | undefined {
    if (node.call.callee.value !== GENERATION) return undefined;
    const printed = node.body.map((block) => this.evaluate(block, new Environment(environment)).toString());
    return this.#text(this.#open + printed.join('') + this.#close);
  }

  /** `dict(a=1)`, and `text.strip('chars')`, whose argument the library ignores. */
  #call({ callee, args }: Call, environment: Environment): Value | undefined {
    if (
      callee.type === 'Identifier' &&
      callee.value === 'dict' &&
      args.every(({ type }) => type === 'KeywordArgumentExpression')
    ) {
      const entries = args.map(({ key, value }) => [valueNode(this.#text(key!.value)), value] as const);
      return super.evaluate({ type: 'ObjectLiteral', value: new Map(entries) } as Node, environment);
    }
    const name = callee.type === 'MemberExpression' && callee.computed !== true ? callee.property?.value : undefined;
    if ((name !== 'strip' && name !== 'lstrip' && name !== 'rstrip') || args.length !== 1) return undefined;
    const text = this.evaluate(callee.object, environment).value;
    const characters = this.evaluate(args[0], environment).value;
    if (typeof text !== 'string' || typeof characters !== 'string') return undefined;
    let [start, end] = [0, text.length];
    while (name !== 'rstrip' && start < end && characters.includes(text[start]!)) start += 1;
    while (name !== 'lstrip' && end > start && characters.includes(text[end - 1]!)) end -= 1;
    return this.#text(text.slice(start, end));
  }

  /** `+` and `~` of texts and others. */
  #join(node: Binary, environment: Environment): Value | undefined {
    const operator = node.operator.value;
    if (operator !== '+' && operator !== '~') return undefined;
    const left = this.evaluate(node.left, environment);
    const right = this.evaluate(node.right, environment);
    if (operator === '~') return this.#text(pythonText(left) + pythonText(right));
    const texts = [left, right].filter(({ type }) => type === 'StringValue').length;
    if (texts === 1) throw new Error(`a text can only be joined to a text, got ${left.type} + ${right.type}`);
    return super.evaluate({ ...node, left: valueNode(left), right: valueNode(right) } as Node, environment);
  }

  #text(value: string): Value {
    return super.evaluate({ type: 'StringLiteral', value } as Node, this.global);
  }
}

/** A value that stands where the library expects an expression. */
interface ValueNode extends Node {
  readonly value: Value;
}

function valueNode(value: Value): ValueNode {
  return { type: 'Value', value };
}

interface For extends Node {
  readonly iterable: Node & { readonly lhs?: Node };
}

/** `for x in items if …` holds its items one level deeper. */
function iterableOf({ iterable }: For): Node {
  return iterable.type === 'SelectExpression' ? iterable.lhs! : iterable;
}

interface CallStatement extends Node {
  readonly call: { readonly callee: { readonly value?: unknown } };
  readonly body: readonly Node[];
}

interface Named {
  readonly value: string;
}

interface Call extends Node {
  readonly callee: Node & {
    readonly value?: unknown;
    readonly computed?: boolean;
    readonly object?: Node;
    readonly property?: Named;
  };
  readonly args: readonly (Node & { readonly key?: Named; readonly value?: Node })[];
}

interface Binary extends Node {
  readonly operator: Named;
  readonly left: Node;
  readonly right: Node;
}

interface Filter extends Node {
  readonly operand: Node;
  readonly filter: { readonly value?: unknown };
}

/** Python's `str(value)`; undefined names are empty, as in Jinja2. */
function pythonText(value: Value): string {
  if (value.type === 'StringValue') return value.value as string;
  return value.type === 'UndefinedValue' ? '' : pythonRepr(value);
}

function pythonRepr(value: Value): string {
  switch (value.type) {
    case 'StringValue':
      return quote(value.value as string);
    case 'BooleanValue':
      return value.value === true ? 'True' : 'False';
    case 'NullValue':
      return 'None';
    case 'UndefinedValue':
      return 'Undefined';
    case 'ArrayValue':
      return `[${(value.value as Value[]).map(pythonRepr).join(', ')}]`;
    case 'TupleValue': {
      const items = (value.value as Value[]).map(pythonRepr);
      return items.length === 1 ? `(${items[0]},)` : `(${items.join(', ')})`;
    }
    case 'ObjectValue': {
      const entries = [...(value.value as Map<string, Value>)];
      return `{${entries.map(([key, item]) => `${quote(key)}: ${pythonRepr(item)}`).join(', ')}}`;
    }
    default:
      return value.toString();
  }
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Python's quotes, and its escapes of what cannot be seen. */
function quote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\\\p{Cc}\p{Cf}\p{Cn}\p{Z}]/gu, (character) => {
    if (character === ' ') return character;
    const code = character.codePointAt(0)!;
    const [letter, digits] = code < 0x100 ? ['x', 2] : code < 0x10000 ? ['u', 4] : ['U', 8];
    return ESCAPES[character] ?? `\\${letter}${code.toString(16).padStart(digits, '0')}`;
  });
  return mark + (mark === "'" ? escaped.replaceAll("'", "\\'") : escaped) + mark;
}
