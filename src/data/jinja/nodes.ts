/** The parts of a parsed template. */

export type Expression =
  | { readonly type: 'constant'; readonly value: string | boolean | null }
  | { readonly type: 'integer' | 'float'; readonly value: number }
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'list' | 'tuple'; readonly items: readonly Expression[] }
  | { readonly type: 'dict'; readonly entries: readonly (readonly [Expression, Expression])[] }
  | { readonly type: 'attribute'; readonly object: Expression; readonly name: string }
  | { readonly type: 'item'; readonly object: Expression; readonly key: Expression }
  | {
      readonly type: 'slice';
      readonly start: Expression | null;
      readonly stop: Expression | null;
      readonly step: Expression | null;
    }
  | { readonly type: 'call'; readonly callee: Expression; readonly args: Arguments }
  | { readonly type: 'filter'; readonly operand: Expression; readonly name: string; readonly args: Arguments }
  | { readonly type: 'test'; readonly operand: Expression; readonly name: string; readonly args: Arguments }
  | { readonly type: 'not' | 'negative' | 'positive'; readonly operand: Expression }
  | { readonly type: 'and' | 'or'; readonly left: Expression; readonly right: Expression }
  | { readonly type: 'binary'; readonly operator: string; readonly left: Expression; readonly right: Expression }
  | {
      readonly type: 'compare';
      readonly first: Expression;
      readonly rest: readonly (readonly [operator: string, operand: Expression])[];
    }
  | {
      readonly type: 'if';
      readonly test: Expression;
      readonly then: Expression;
      readonly otherwise: Expression | null;
    };

export interface Arguments {
  /** `spread`: `*list`. */
  readonly positional: readonly { readonly value: Expression; readonly spread: boolean }[];
  /** A name of null: `**dict`. */
  readonly named: readonly { readonly name: string | null; readonly value: Expression }[];
}

/** What is assigned to: a name, a field of a namespace, or several of them. */
export type Target =
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'field'; readonly namespace: string; readonly name: string }
  | { readonly type: 'targets'; readonly items: readonly Target[] };

export interface Parameter {
  readonly name: string;
  readonly fallback: Expression | null;
}

export interface Macro {
  readonly name: string;
  readonly parameters: readonly Parameter[];
  readonly body: readonly Statement[];
  /** Whether it takes more arguments than it names: it reads `varargs`, `kwargs`. */
  readonly takes: { readonly varargs: boolean; readonly kwargs: boolean };
}

export type Statement =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'print'; readonly value: Expression }
  | {
      readonly type: 'for';
      readonly target: Target;
      readonly items: Expression;
      readonly condition: Expression | null;
      readonly isRecursive: boolean;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  | {
      readonly type: 'if';
      readonly test: Expression;
      readonly then: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  | { readonly type: 'set'; readonly target: Target; readonly value: Expression }
  | {
      readonly type: 'set_block';
      readonly target: Target;
      readonly filter: Expression | null;
      readonly body: readonly Statement[];
    }
  | { readonly type: 'macro'; readonly macro: Macro }
  | { readonly type: 'call'; readonly call: Expression; readonly caller: Macro }
  | { readonly type: 'filter'; readonly filter: Expression; readonly body: readonly Statement[] }
  | {
      readonly type: 'with';
      readonly values: readonly (readonly [Target, Expression])[];
      readonly body: readonly Statement[];
    }
  | { readonly type: 'generation' | 'scope'; readonly body: readonly Statement[] }
  | { readonly type: 'break' | 'continue' };

/** The name under which the operand of a `{% filter %}` or of a filtered `{% set %}` block stands in its expression. */
export const BLOCK_TEXT = '\0';
