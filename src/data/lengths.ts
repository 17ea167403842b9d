/**
 * Finds rows with too many tokens in data that is too large to be tokenised for that alone.
 *
 * A token has at least one byte of text, so that most rows are short enough at first sight. For the others the tokens of
 * single words, each looked up once, add up to a count that is some percent too large at most; rows that it leaves in doubt
 * are tokenised. After many of those the count decides alone, corrected by what it was wrong by until then.
 */

import type { ChatRow, Row } from './rows.ts';
import { whereOf } from './rows.ts';
import type { ChatTemplate } from './template.ts';
import { type TokenizeOptions, tokenizeRow } from './tokenize.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Pieces that tokenizers hardly ever join; none has more than 12 letters, which V8 would keep with the text around them. */
const PIECE = / ?[A-Za-z]{1,11}| ?\d{1,3}| ?[^\s\dA-Za-z]{1,2}|\s{1,12}/g;
const PIECE_LETTERS = 12;
const MOST_KNOWN = 2 ** 17;
/** Tokens of rows in doubt that are tokenised: a few seconds. */
const MOST_EXACT = 2 ** 19;
/** What joints can add to a count: tokens, and a share. */
const SLACK = { tokens: 8, share: 0.02 };
/** UTF-8 bytes that a UTF-16 unit may have. */
const MOST_BYTES = 3;
const NOT_ASCII = /[^\0-\x7f]/;

export class LengthMeter {
  readonly #most: number;
  readonly #tokenizer: Tokenizer;
  readonly #template: ChatTemplate | null;
  readonly #exact: TokenizeOptions;
  /** Tokens of a piece within a text. */
  readonly #known = new Map<string, number>();
  /** Tokens around the contents of a conversation, by its roles. */
  readonly #frames = new Map<string, number>();
  readonly #lineEnd: number;
  readonly #rawFrame: number;
  #doubtful = { counted: 0, tokens: 0 };

  /** `most`: tokens of a row that is not too long. */
  constructor(text: { tokenizer: Tokenizer; template: ChatTemplate | null }, most: number) {
    this.#most = most;
    this.#tokenizer = text.tokenizer;
    this.#template = text.template;
    this.#exact = { ...text, trainOn: 'all', truncation: 'keep_start', maxSeqLen: Number.POSITIVE_INFINITY };
    this.#lineEnd = this.#tokens('\n');
    this.#rawFrame = this.#tokenizer.encode('', { addSpecialTokens: true }).ids.length + 1;
  }

  /** Whether the row has more than `most` tokens as it is trained. Throws `TEMPLATE` where a template does not take it. */
  isTooLong(row: Row): boolean {
    const { frame, texts } = this.#partsOf(row);
    if (frame === null) return this.#lengthOf(row) > this.#most;
    const bytes = texts.reduce((sum, text) => sum + (NOT_ASCII.test(text) ? MOST_BYTES : 1) * text.length, 0);
    if (bytes + frame <= this.#most) return false;
    const counted = this.#count(texts, 2 * this.#most) + frame;
    if (counted + SLACK.tokens + SLACK.share * counted <= this.#most) return false;
    if (counted >= 2 * this.#most) return true;
    const { counted: countedBefore, tokens } = this.#doubtful;
    if (tokens > MOST_EXACT) return (counted * tokens) / countedBefore > this.#most;
    const length = this.#lengthOf(row);
    this.#doubtful = { counted: countedBefore + counted, tokens: tokens + length };
    return length > this.#most;
  }

  /** What a row holds besides its frame, whose tokens are null where only rendering tells. */
  #partsOf(row: Row): { frame: number | null; texts: readonly string[] } {
    if (row.kind === 'text') return { frame: this.#rawFrame, texts: [row.text] };
    if (row.kind === 'prompt_completion') return { frame: this.#rawFrame, texts: [row.prompt, row.completion] };
    const isPlain = !row.tools && row.messages.every((message) => Object.keys(message).length === 2);
    return {
      frame: isPlain ? this.#frameOf(row) : null,
      texts: row.messages.map(({ content }) => content ?? ''),
    };
  }

  #frameOf(row: ChatRow): number {
    const roles = row.messages.map(({ role }) => role).join();
    let frame = this.#frames.get(roles);
    if (frame === undefined) {
      const messages = row.messages.map(({ role }) => ({ role, content: 'a' }));
      frame = this.#tokens(this.#template?.render({ messages, where: whereOf(row) }).text ?? '');
      this.#frames.set(roles, frame);
    }
    return frame;
  }

  /** Stops where `enough` is reached. */
  #count(texts: readonly string[], enough: number): number {
    let count = 0;
    for (const text of texts) {
      // So many letters are more pieces than enough.
      for (const piece of text.slice(0, PIECE_LETTERS * enough).match(PIECE) ?? []) {
        let tokens = this.#known.get(piece);
        if (tokens === undefined) {
          // In the middle of a text, where no tokenizer puts a space before it.
          tokens = piece.trim() === '' ? this.#tokens(piece) : this.#tokens(`\n${piece}`) - this.#lineEnd;
          if (this.#known.size < MOST_KNOWN) this.#known.set(piece, tokens);
        }
        count += tokens;
        if (count >= enough) return count;
      }
    }
    return count;
  }

  #lengthOf(row: Row): number {
    const tokenized = tokenizeRow(row, 0, this.#exact);
    return 'dropped' in tokenized ? 0 : tokenized.inputIds.length;
  }

  #tokens(text: string): number {
    return this.#tokenizer.encode(text).ids.length;
  }
}
