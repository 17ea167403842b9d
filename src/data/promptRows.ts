/** What a row asks and what it expects: the text before the last assistant turn, and that turn's content. */
import { SftError } from '../platform/errors.ts';
import { type ChatRow, type Row, whereOf } from './rows.ts';
import type { ChatTemplate } from './template.ts';
import type { Tokenizer } from './tokenizer.ts';

/** A row as a question with its answer. */
export interface PromptRow {
  /** The row's number in its data, from 0. */
  readonly row: number;
  /** `file:line`. */
  readonly where: string;
  /** As rendered, with the generation prompt. */
  readonly prompt: string;
  /** Token ids of the prompt. */
  readonly ids: readonly number[];
  /** The last message of the user; of a prompt/completion row the prompt. */
  readonly source: string;
  readonly reference: string;
}

/**
 * The text before the last assistant turn with the generation prompt, and that turn's content (as rendered where it only calls tools).
 * Prompt/completion rows are that already; a text row is all target. Throws `TEMPLATE`.
 */
export function splitRow(row: Row, template: ChatTemplate | null): { input: string; target: string } {
  if (row.kind === 'text') return { input: '', target: row.text };
  if (row.kind === 'prompt_completion') return { input: row.prompt, target: row.completion };
  if (template === null) {
    throw new SftError(
      'TEMPLATE',
      `${whereOf(row)}: expected a chat template for a chat row, got none with the model`,
      { hint: 'name one in model.chat_template, or put one into chat_templates/default.jinja' },
    );
  }
  return splitChat(row, template);
}

function splitChat(row: ChatRow, template: ChatTemplate): { input: string; target: string } {
  const { messages, tools } = row;
  const where = whereOf(row);
  const last = messages.findLastIndex(({ role }) => role === 'assistant');
  const input = template.render({ messages: messages.slice(0, last), tools, addGenerationPrompt: true, where }).text;
  const content = messages[last]?.content ?? null;
  if (content !== null) return { input, target: content };
  const { text } = template.render({ messages: messages.slice(0, last + 1), tools, where });
  return { input, target: text.startsWith(input) ? text.slice(input.length) : '' };
}

/** Throws `DATA` for a text row, which asks nothing, and `TEMPLATE`. */
export function promptRow(
  row: Row,
  number: number,
  { tokenizer, template }: { readonly tokenizer: Tokenizer; readonly template: ChatTemplate | null },
): PromptRow {
  const where = whereOf(row);
  if (row.kind === 'text') {
    throw new SftError('DATA', `${where}: expected a row with an answer to compare with, got plain text`, {
      hint: 'text has a loss only: set eval.metrics: [loss]',
    });
  }
  const { input: prompt, target: reference } = splitRow(row, template);
  const ids = row.kind === 'chat' ? tokenizer.encode(prompt).ids : rawPromptIds(prompt, tokenizer);
  return { row: number, where, prompt, ids, source: sourceOf(row), reference };
}

function sourceOf(row: Exclude<Row, { kind: 'text' }>): string {
  if (row.kind === 'prompt_completion') return row.prompt;
  const last = row.messages.findLastIndex(({ role }) => role === 'assistant');
  return row.messages.slice(0, last).findLast(({ role }) => role === 'user')?.content ?? '';
}

/** Token ids of raw text that is to go on: as rows of raw text begin. */
export function rawPromptIds(text: string, tokenizer: Tokenizer): number[] {
  const { ids } = tokenizer.encode(text, { addSpecialTokens: true });
  return ids.length > 1 && ids.at(-1) === tokenizer.eosTokenId ? ids.slice(0, -1) : ids;
}
