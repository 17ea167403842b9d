/** Parses templates by the grammar of Jinja2 3.1, with loop controls and `{% generation %}` blocks. */
import { tokenize } from './lexer.ts';
import type { Arguments, Expression, Macro, Parameter, Statement, Target } from './nodes.ts';
import { BLOCK_TEXT } from './nodes.ts';
import { TokenReader } from './tokenReader.ts';

export interface Program {
  readonly body: readonly Statement[];
  /** Whether it has `{% generation %}` blocks. */
  readonly marksGeneration: boolean;
}

/** Throws `SyntaxError`, with the line. */
export function parse(source: string): Program {
  return new Parser(tokenize(source)).program();
}

const NO_ARGUMENTS: Arguments = { positional: [], named: [] };
const CONSTANTS: Readonly<Record<string, boolean | null>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
};
const COMPARISONS = new Set(['==', '!=', '<', '<=', '>', '>=']);
/** Names that end the expression before them. */
const WORDS = new Set(['else', 'or', 'and', 'is', 'in', 'not', 'if']);

class Parser extends TokenReader {
  private marksGeneration = false;
  /** The names that the macros around this place read. */
  private read: Set<string>[] = [];

  program(): Program {
    const body = this.statements([]);
    return { body, marksGeneration: this.marksGeneration };
  }

  // Statements

  /** Up to a block that begins with one of `ends`, whose name is left to be read; up to the end of the template without. */
  private statements(ends: readonly string[]): Statement[] {
    const body: Statement[] = [];
    for (let token = this.tokens[this.at]; token !== undefined; token = this.tokens[this.at]) {
      if (token.kind === 'text') {
        this.at += 1;
        body.push({ type: 'text', text: token.value });
      } else if (token.kind === 'print') {
        this.at += 1;
        body.push({ type: 'print', value: this.tuple() });
        this.expect('print_end');
      } else {
        this.at += 1;
        if (ends.includes(this.peek('name') ?? '')) return body;
        body.push(this.statement(this.expect('name')));
        this.expect('block_end');
      }
    }
    if (ends.length > 0) throw this.error(`expected {% ${ends.join(' %} or {% ')} %}`);
    return body;
  }

  /** The body of a block and the name that ends it. */
  private body(...ends: readonly string[]): Statement[] {
    this.expect('block_end');
    const body = this.statements(ends);
    if (ends.length === 1) this.expect('name');
    return body;
  }

  private statement(keyword: string): Statement {
    switch (keyword) {
      case 'for':
        return this.forLoop();
      case 'if':
        return this.conditional();
      case 'set':
        return this.set();
      case 'macro': {
        const name = this.expect('name');
        return { type: 'macro', macro: this.macro(name, 'endmacro') };
      }
      case 'call': {
        const parameters = this.peek('operator') === '(' ? this.parameters() : [];
        const call = this.expression();
        if (call.type !== 'call') throw this.error('expected a call in {% call %}');
        return { type: 'call', call, caller: this.macro('caller', 'endcall', parameters) };
      }
      case 'filter': {
        const filter = this.filterChain({ type: 'name', name: BLOCK_TEXT }, true);
        return { type: 'filter', filter, body: this.body('endfilter') };
      }
      case 'with':
        return this.with();
      case 'generation':
        this.marksGeneration = true;
        return { type: 'generation', body: this.body('endgeneration') };
      case 'block': {
        this.expect('name');
        const body = this.body('endblock');
        this.take('name');
        return { type: 'scope', body };
      }
      case 'print':
        return { type: 'print', value: this.tuple() };
      case 'break':
      case 'continue':
        return { type: keyword };
      default:
        throw this.error(`unknown tag "${keyword}"`);
    }
  }

  private forLoop(): Statement {
    const target = this.target(false);
    if (this.expect('name') !== 'in') throw this.error('expected "in"');
    const items = this.tuple(false);
    const condition = this.takeName('if') ? this.expression() : null;
    const isRecursive = this.takeName('recursive');
    const body = this.body('endfor', 'else');
    const otherwise = this.expect('name') === 'else' ? this.body('endfor') : [];
    return { type: 'for', target, items, condition, isRecursive, body, otherwise };
  }

  private conditional(): Statement {
    const test = this.tuple(false);
    const then = this.body('endif', 'elif', 'else');
    const next = this.expect('name');
    const otherwise = next === 'elif' ? [this.conditional()] : next === 'else' ? this.body('endif') : [];
    return { type: 'if', test, then, otherwise };
  }

  private set(): Statement {
    const target = this.target(true);
    if (this.takeOperator('=')) return { type: 'set', target, value: this.tuple() };
    const operand: Expression = { type: 'name', name: BLOCK_TEXT };
    const filter = this.peek('operator') === '|' ? this.filterChain(operand, false) : null;
    return { type: 'set_block', target, filter, body: this.body('endset') };
  }

  private with(): Statement {
    const values: [Target, Expression][] = [];
    while (this.peek('block_end') === null) {
      const target = this.target(false);
      this.expect('operator', '=');
      values.push([target, this.expression()]);
      if (!this.takeOperator(',')) break;
    }
    return { type: 'with', values, body: this.body('endwith') };
  }

  private macro(name: string, end: string, parameters = this.parameters()): Macro {
    const read = new Set<string>();
    this.read.push(read);
    const body = this.body(end);
    this.read.pop();
    return { name, parameters, body, takes: { varargs: read.has('varargs'), kwargs: read.has('kwargs') } };
  }

  private parameters(): Parameter[] {
    const parameters: Parameter[] = [];
    this.expect('operator', '(');
    while (!this.takeOperator(')')) {
      if (parameters.length > 0) this.expect('operator', ',');
      if (this.takeOperator(')')) break;
      const name = this.expect('name');
      parameters.push({ name, fallback: this.takeOperator('=') ? this.expression() : null });
    }
    return parameters;
  }

  private target(allowsField: boolean): Target {
    const items: Target[] = [];
    let isTuple = false;
    do {
      if (items.length > 0 && this.peek('name') === null && this.peek('operator') !== '(') break;
      items.push(this.oneTarget(allowsField));
      isTuple ||= this.peek('operator') === ',';
    } while (this.takeOperator(','));
    return isTuple ? { type: 'targets', items } : items[0]!;
  }

  private oneTarget(allowsField: boolean): Target {
    if (this.takeOperator('(')) {
      const inner = this.target(allowsField);
      this.expect('operator', ')');
      return inner;
    }
    const name = this.expect('name');
    if (Object.hasOwn(CONSTANTS, name)) throw this.error(`cannot assign to "${name}"`);
    if (!allowsField || !this.takeOperator('.')) return { type: 'name', name };
    return { type: 'field', namespace: name, name: this.expect('name') };
  }

  // Expressions, from the loosest to the tightest

  /** An expression, or several with commas between. */
  private tuple(allowsIf = true): Expression {
    const one = (): Expression => (allowsIf ? this.expression() : this.or());
    const first = one();
    if (this.peek('operator') !== ',') return first;
    const items = [first];
    while (this.takeOperator(',')) {
      if (!this.startsExpression()) break;
      items.push(one());
    }
    return { type: 'tuple', items };
  }

  private startsExpression(): boolean {
    const token = this.tokens[this.at];
    if (token === undefined || token.kind === 'block_end' || token.kind === 'print_end') return false;
    if (token.kind === 'operator') return '([{+-'.includes(token.value);
    return token.kind !== 'name' || token.value === 'not' || !WORDS.has(token.value);
  }

  private expression(): Expression {
    let then = this.or();
    while (this.takeName('if')) {
      const test = this.or();
      then = { type: 'if', test, then, otherwise: this.takeName('else') ? this.expression() : null };
    }
    return then;
  }

  private or(): Expression {
    let left = this.and();
    while (this.takeName('or')) left = { type: 'or', left, right: this.and() };
    return left;
  }

  private and(): Expression {
    let left = this.not();
    while (this.takeName('and')) left = { type: 'and', left, right: this.not() };
    return left;
  }

  private not(): Expression {
    return this.takeName('not') ? { type: 'not', operand: this.not() } : this.comparison();
  }

  private comparison(): Expression {
    const first = this.sum();
    const rest: [string, Expression][] = [];
    for (;;) {
      const operator = this.peek('operator');
      if (operator !== null && COMPARISONS.has(operator)) {
        this.at += 1;
        rest.push([operator, this.sum()]);
      } else if (this.takeName('in')) {
        rest.push(['in', this.sum()]);
      } else if (this.peek('name') === 'not' && this.follows('name', 'in')) {
        this.at += 2;
        rest.push(['not in', this.sum()]);
      } else {
        return rest.length === 0 ? first : { type: 'compare', first, rest };
      }
    }
  }

  private readonly sum = (): Expression => this.binary(['+', '-'], this.concatenation);
  private readonly concatenation = (): Expression => this.binary(['~'], this.product);
  private readonly product = (): Expression => this.binary(['*', '/', '//', '%'], this.power);
  private readonly power = (): Expression => this.binary(['**'], () => this.unary(true));

  private binary(operators: readonly string[], operand: () => Expression): Expression {
    let left = operand();
    for (
      let operator = this.peek('operator');
      operator !== null && operators.includes(operator);
      operator = this.peek('operator')
    ) {
      this.at += 1;
      left = { type: 'binary', operator, left, right: operand() };
    }
    return left;
  }

  private unary(takesFilters: boolean): Expression {
    let node: Expression;
    if (this.takeOperator('-')) node = { type: 'negative', operand: this.unary(false) };
    else if (this.takeOperator('+')) node = { type: 'positive', operand: this.unary(false) };
    else node = this.primary();
    node = this.postfix(node);
    return takesFilters ? this.filtersAndTests(node) : node;
  }

  private primary(): Expression {
    const token = this.tokens[this.at];
    this.at += 1;
    switch (token?.kind) {
      case 'name':
        if (Object.hasOwn(CONSTANTS, token.value)) return { type: 'constant', value: CONSTANTS[token.value]! };
        for (const names of this.read) names.add(token.value);
        return { type: 'name', name: token.value };
      case 'string': {
        let { value } = token;
        for (let next = this.take('string'); next !== null; next = this.take('string')) value += next;
        return { type: 'constant', value };
      }
      case 'integer':
        return { type: 'integer', value: Number(token.value.replaceAll('_', '')) };
      case 'float':
        return { type: 'float', value: Number(token.value.replaceAll('_', '')) };
      case 'operator':
        if (token.value === '(') return this.parenthesis();
        if (token.value === '[') return { type: 'list', items: this.items(']') };
        if (token.value === '{') return this.dict();
    }
    this.at -= 1;
    throw this.error(`unexpected ${token === undefined ? 'end of the template' : JSON.stringify(token.value)}`);
  }

  private parenthesis(): Expression {
    if (this.takeOperator(')')) return { type: 'tuple', items: [] };
    const inner = this.tuple();
    this.expect('operator', ')');
    return inner;
  }

  private items(close: string): Expression[] {
    const items: Expression[] = [];
    while (!this.takeOperator(close)) {
      if (items.length > 0) this.expect('operator', ',');
      if (this.takeOperator(close)) break;
      items.push(this.expression());
    }
    return items;
  }

  private dict(): Expression {
    const entries: [Expression, Expression][] = [];
    while (!this.takeOperator('}')) {
      if (entries.length > 0) this.expect('operator', ',');
      if (this.takeOperator('}')) break;
      const key = this.expression();
      this.expect('operator', ':');
      entries.push([key, this.expression()]);
    }
    return { type: 'dict', entries };
  }

  private postfix(operand: Expression): Expression {
    let node = operand;
    for (;;) {
      if (this.takeOperator('.')) {
        const index = this.take('integer');
        node =
          index === null
            ? { type: 'attribute', object: node, name: this.expect('name') }
            : { type: 'item', object: node, key: { type: 'integer', value: Number(index) } };
      } else if (this.takeOperator('[')) {
        node = { type: 'item', object: node, key: this.subscript() };
      } else if (this.takeOperator('(')) {
        node = { type: 'call', callee: node, args: this.arguments() };
      } else {
        return node;
      }
    }
  }

  private subscript(): Expression {
    const keys = [this.subscriptKey()];
    while (this.takeOperator(',')) keys.push(this.subscriptKey());
    this.expect('operator', ']');
    return keys.length === 1 ? keys[0]! : { type: 'tuple', items: keys };
  }

  private subscriptKey(): Expression {
    const part = (): Expression | null => (/^[:,\]]$/.test(this.peek('operator') ?? '') ? null : this.expression());
    const start = part();
    if (!this.takeOperator(':')) {
      if (start === null) throw this.error('expected an index');
      return start;
    }
    const stop = part();
    const step = this.takeOperator(':') ? part() : null;
    return { type: 'slice', start, stop, step };
  }

  /** After the opening parenthesis. */
  private arguments(): Arguments {
    const positional: { value: Expression; spread: boolean }[] = [];
    const named: { name: string | null; value: Expression }[] = [];
    while (!this.takeOperator(')')) {
      if (positional.length + named.length > 0) this.expect('operator', ',');
      if (this.takeOperator(')')) break;
      if (this.takeOperator('*')) positional.push({ value: this.expression(), spread: true });
      else if (this.takeOperator('**')) named.push({ name: null, value: this.expression() });
      else if (this.peek('name') !== null && this.follows('operator', '=')) {
        const name = this.expect('name');
        this.at += 1;
        named.push({ name, value: this.expression() });
      } else {
        if (named.length > 0) throw this.error('an argument without a name follows one with a name');
        positional.push({ value: this.expression(), spread: false });
      }
    }
    return { positional, named };
  }

  private filtersAndTests(operand: Expression): Expression {
    let node = operand;
    for (;;) {
      if (this.peek('operator') === '|') node = this.filterChain(node, false);
      else if (this.takeName('is')) node = this.test(node);
      // A call after a filter is of its result.
      else if (this.takeOperator('(')) node = { type: 'call', callee: node, args: this.arguments() };
      else return node;
    }
  }

  /** `| name(…) | name`; `begun`: the first bar is not written. */
  private filterChain(operand: Expression, begun: boolean): Expression {
    let node = operand;
    for (let first = begun; first || this.takeOperator('|'); first = false) {
      const name = this.dottedName();
      node = { type: 'filter', operand: node, name, args: this.takeOperator('(') ? this.arguments() : NO_ARGUMENTS };
    }
    return node;
  }

  private test(operand: Expression): Expression {
    const isNegated = this.takeName('not');
    const name = this.dottedName();
    let args = NO_ARGUMENTS;
    if (this.takeOperator('(')) args = this.arguments();
    else if (this.startsTestArgument())
      args = { positional: [{ value: this.postfix(this.primary()), spread: false }], named: [] };
    const test: Expression = { type: 'test', operand, name, args };
    return isNegated ? { type: 'not', operand: test } : test;
  }

  private startsTestArgument(): boolean {
    const token = this.tokens[this.at];
    if (token?.kind === 'operator') return token.value === '[' || token.value === '{';
    if (token?.kind === 'name') return !WORDS.has(token.value);
    return token?.kind === 'string' || token?.kind === 'integer' || token?.kind === 'float';
  }

  private dottedName(): string {
    let name = this.expect('name');
    while (this.takeOperator('.')) name += `.${this.expect('name')}`;
    return name;
  }
}
