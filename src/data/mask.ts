/**
 * What a row says as text, and which parts of that text are trained.
 *
 * Where the chat template has `{% generation %}` blocks, they decide. Else an assistant's content is trained, with its
 * reasoning and tool calls as rendered, and the stop token that closes it: the first special token after it, white
 * space between included. Prompt/completion and text rows are raw text and the end-of-sequence token, with no template.
 */

import { SftError } from '../platform/errors.ts';
import type { Span } from './labels.ts';
import { mergeSpans } from './labels.ts';
import { locateTurns, promptLength } from './locate.ts';
import type { ChatRow, PromptCompletionRow, Row, TextRow } from './rows.ts';
import { whereOf } from './rows.ts';
import type { ChatTemplate } from './template.ts';
import type { Tokenizer } from './tokenizer.ts';

/** `data.train_on`. */
export type TrainOn = 'assistant' | 'last_assistant' | 'completion' | 'all';

export interface MaskOptions {
  readonly tokenizer: Tokenizer;
  /** Needed by chat rows only. */
  readonly template: ChatTemplate | null;
  readonly trainOn: TrainOn;
}

export interface MaskedText {
  readonly text: string;
  /** What is trained, in UTF-16 offsets of `text`: ascending, apart, not empty. */
  readonly spans: Span[];
  /** Raw text gets what the tokenizer puts around it (BOS); a chat template has written that itself. */
  readonly addSpecialTokens: boolean;
}

/** Renders a row and finds what is trained. Throws `TEMPLATE` when a template raises or is missing. */
export function maskRow(row: Row, options: MaskOptions): MaskedText {
  switch (row.kind) {
    case 'chat':
      return maskChat(row, options);
    case 'prompt_completion':
      return maskPromptCompletion(row, options);
    case 'text':
      return maskText(row, options);
  }
}

function maskText(row: TextRow, { tokenizer }: MaskOptions): MaskedText {
  const text = withEnd(row.text, tokenizer);
  return { text, spans: mergeSpans([[0, text.length]]), addSpecialTokens: true };
}

function maskPromptCompletion(row: PromptCompletionRow, { tokenizer, trainOn }: MaskOptions): MaskedText {
  const text = withEnd(row.prompt + row.completion, tokenizer);
  const start = trainOn === 'all' ? 0 : row.prompt.length;
  return { text, spans: mergeSpans([[start, text.length]]), addSpecialTokens: true };
}

function withEnd(text: string, tokenizer: Tokenizer): string {
  const end = tokenizer.namedTokens.eos_token ?? '';
  return text.endsWith(end) ? text : text + end;
}

function maskChat(row: ChatRow, { tokenizer, template, trainOn }: MaskOptions): MaskedText {
  const where = whereOf(row);
  if (template === null) {
    throw new SftError('TEMPLATE', `${where}: expected a chat template for a chat row, got none with the model`, {
      hint: 'name one in model.chat_template, put one into chat_templates/default.jinja, or use prompt/completion rows',
    });
  }
  const { messages, tools } = row;
  const { text, generation } = template.render({ messages, tools, where });
  const masked = (spans: readonly Span[]): MaskedText => ({ text, spans: mergeSpans(spans), addSpecialTokens: false });
  if (trainOn === 'all') return masked([[0, text.length]]);

  const context = { template, messages, tools, where, text };
  const last = messages.findLastIndex(({ role }) => role === 'assistant');
  const prompt = trainOn === 'assistant' ? null : promptLength(context, last);
  if (trainOn === 'completion' && prompt !== null) return masked([[prompt, text.length]]);

  if (template.marksGeneration && trainOn === 'assistant') return masked(generation);
  if (template.marksGeneration) {
    // A block may begin with the header that the prompt ends with, so it counts when it ends after the prompt.
    const ofLast = generation.filter(([, end], index) =>
      prompt === null ? index === generation.length - 1 : end > prompt,
    );
    return masked(trainOn === 'completion' ? toEnd(ofLast, text) : ofLast);
  }
  const turns = locateTurns(context, tokenizer.findSpecialTokens(text)).filter(({ spans }) => spans.length > 0);
  const chosen = trainOn === 'assistant' ? turns : turns.filter(({ index }) => index === last);
  const spans = chosen.flatMap((turn) => turn.spans);
  return masked(trainOn === 'completion' ? toEnd(spans, text) : spans);
}

function toEnd(spans: readonly Span[], text: string): Span[] {
  const first = spans[0];
  return first === undefined ? [] : [[first[0], text.length]];
}
