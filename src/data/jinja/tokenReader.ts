/** What a parser does with tokens. */
import type { Token, TokenKind } from './lexer.ts';

export class TokenReader {
  protected readonly tokens: readonly Token[];
  protected at = 0;

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens;
  }

  /** The value of the next token when it is of this kind. */
  protected peek(kind: TokenKind): string | null {
    const token = this.tokens[this.at];
    return token?.kind === kind ? token.value : null;
  }

  /** Whether the token after the next one is this operator or name. */
  protected follows(kind: TokenKind, value: string): boolean {
    const token = this.tokens[this.at + 1];
    return token?.kind === kind && token.value === value;
  }

  protected take(kind: TokenKind): string | null {
    const value = this.peek(kind);
    if (value !== null) this.at += 1;
    return value;
  }

  protected takeOperator(operator: string): boolean {
    if (this.peek('operator') !== operator) return false;
    this.at += 1;
    return true;
  }

  protected takeName(name: string): boolean {
    if (this.peek('name') !== name) return false;
    this.at += 1;
    return true;
  }

  protected expect(kind: TokenKind, wanted?: string): string {
    const value = this.peek(kind);
    if (value === null || (wanted !== undefined && value !== wanted)) {
      const token = this.tokens[this.at];
      const got = token === undefined ? 'the end of the template' : JSON.stringify(token.value || token.kind);
      throw this.error(`expected ${wanted ?? kind}, got ${got}`);
    }
    this.at += 1;
    return value;
  }

  protected error(message: string): SyntaxError {
    const { line } = this.tokens[Math.min(this.at, this.tokens.length - 1)] ?? { line: 1 };
    return new SyntaxError(`line ${line}: ${message}`);
  }
}
