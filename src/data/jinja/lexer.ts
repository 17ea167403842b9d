/**
 * Cuts a template into texts and tokens, as Jinja2 does with `trim_blocks` and `lstrip_blocks`, the options that
 * transformers renders chat templates with: the line end after a block tag goes, and so do spaces and tabs before one that
 * begins a line; `-` takes all white space on its side, `+` keeps what the options would take.
 */

import { SPACE, strip } from './spaces.ts';

export type TokenKind =
  | 'text'
  | 'block'
  | 'block_end'
  | 'print'
  | 'print_end'
  | 'name'
  | 'string'
  | 'integer'
  | 'float'
  | 'operator';

export interface Token {
  readonly kind: TokenKind;
  /** As written; of a string what it stands for. */
  readonly value: string;
  readonly line: number;
}

const OPEN = /\{\{|\{%|\{#/g;
const RAW = new RegExp(`\\{%([-+]?)[${SPACE}]*raw[${SPACE}]*(?:-%\\}[${SPACE}]*|%\\})`, 'y');
const END_RAW = new RegExp(`\\{%([-+]?)[${SPACE}]*endraw[${SPACE}]*(?:\\+%\\}|-%\\}[${SPACE}]*|%\\}\\n?)`, 'g');
const COMMENT_END = new RegExp(`\\+#\\}|-#\\}[${SPACE}]*|#\\}\\n?`, 'g');
const BLOCK_END = new RegExp(`\\+%\\}|-%\\}[${SPACE}]*|%\\}\\n?`, 'y');
const PRINT_END = new RegExp(`-\\}\\}[${SPACE}]*|\\}\\}`, 'y');
const SPACES = new RegExp(`[${SPACE}]+`, 'y');
const TOKEN =
  /(?<float>(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+))|(?<integer>0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*)|(?<name>[\p{L}\p{Nl}_][\p{L}\p{M}\p{N}_]*)|(?<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?<operator>\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,;])/isuy;
const CLOSING = new Map([
  ['(', ')'],
  ['[', ']'],
  ['{', '}'],
]);

/** Throws `SyntaxError`, with the line. */
export function tokenize(source: string): Token[] {
  return new Lexer(source).run();
}

class Lexer {
  private readonly source: string;
  private readonly tokens: Token[] = [];
  private at = 0;
  private line = 1;
  /** Whether what comes next begins a line. */
  private atLineStart = true;

  constructor(source: string) {
    this.source = source.replace(/\r\n?/g, '\n').replace(/\n$/, '');
  }

  run(): Token[] {
    while (this.at < this.source.length) {
      const start = this.at;
      OPEN.lastIndex = start;
      const open = OPEN.exec(this.source);
      if (open === null) {
        this.text(this.source.slice(start), '', false);
        break;
      }
      const sign = /[-+]/.exec(this.source[open.index + 2] ?? '')?.[0] ?? '';
      this.text(this.source.slice(start, open.index), sign, open[0] !== '{{');
      this.at = open.index;
      if (open[0] === '{#') this.comment();
      else if (open[0] === '{{') this.tag('print', PRINT_END, sign);
      else this.raw() || this.tag('block', BLOCK_END, sign);
    }
    return this.tokens;
  }

  /** A text before a tag, without the white space that the tag takes. */
  private text(whole: string, sign: string, takesIndent: boolean): void {
    let text = whole;
    if (sign === '-') text = strip(whole, 'end');
    else if (sign !== '+' && takesIndent) {
      const lineStart = whole.lastIndexOf('\n') + 1;
      if ((lineStart > 0 || this.atLineStart) && /^[ \t]*$/.test(whole.slice(lineStart)))
        text = whole.slice(0, lineStart);
    }
    if (text !== '') this.tokens.push({ kind: 'text', value: text, line: this.line });
    this.move(whole);
  }

  private comment(): void {
    COMMENT_END.lastIndex = this.at + 2;
    const end = COMMENT_END.exec(this.source);
    if (end === null) throw this.error('a comment has no end');
    this.move(this.source.slice(this.at, end.index + end[0].length));
  }

  /** What is between `{% raw %}` and `{% endraw %}` stays as it is. */
  private raw(): boolean {
    const begin = this.match(RAW);
    if (begin === null) return false;
    END_RAW.lastIndex = this.at;
    const end = END_RAW.exec(this.source);
    if (end === null) throw this.error('{% raw %} has no end');
    this.text(this.source.slice(this.at, end.index), end[1] ?? '', true);
    this.move(end[0]);
    return true;
  }

  private tag(kind: 'print' | 'block', end: RegExp, sign: string): void {
    this.tokens.push({ kind, value: '', line: this.line });
    this.move(this.source.slice(this.at, this.at + 2 + sign.length));
    const open: string[] = [];
    for (;;) {
      const closed = open.length === 0 ? this.match(end) : null;
      if (closed !== null) {
        this.tokens.push({ kind: `${kind}_end`, value: '', line: this.line });
        return;
      }
      if (this.match(SPACES) !== null) continue;
      TOKEN.lastIndex = this.at;
      const found = TOKEN.exec(this.source);
      if (found === null)
        throw this.error(
          this.at < this.source.length ? `unexpected ${JSON.stringify(this.source[this.at])}` : 'a tag has no end',
        );
      const [value] = found;
      const [type] = Object.entries(found.groups!).find(([, text]) => text !== undefined)!;
      if (type === 'operator' && CLOSING.has(value)) open.push(CLOSING.get(value)!);
      else if (/^[)\]}]$/.test(value) && open.pop() !== value) throw this.error(`unexpected "${value}"`);
      this.tokens.push({
        kind: type as TokenKind,
        value: type === 'string' ? unescaped(value.slice(1, -1)) : value,
        line: this.line,
      });
      this.move(value);
    }
  }

  private match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.source);
    if (found !== null) this.move(found[0]);
    return found;
  }

  private move(passed: string): void {
    this.at += passed.length;
    this.line += passed.split('\n').length - 1;
    if (passed !== '') this.atLineStart = passed.endsWith('\n');
  }

  private error(message: string): SyntaxError {
    return new SyntaxError(`line ${this.line}: ${message}`);
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  b: '\b',
  f: '\f',
  v: '\v',
  a: '\x07',
  '\\': '\\',
  "'": "'",
  '"': '"',
  '\n': '',
};

/** Python's escapes; a backslash before anything else stays. */
function unescaped(text: string): string {
  return text.replace(
    /\\(?:([0-7]{1,3})|x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([\s\S]))/g,
    (whole, octal?: string, x?: string, u?: string, long?: string, letter?: string) => {
      if (letter !== undefined) return ESCAPES[letter] ?? whole;
      return String.fromCodePoint(
        octal === undefined ? Number.parseInt((x ?? u ?? long)!, 16) : Number.parseInt(octal, 8),
      );
    },
  );
}
