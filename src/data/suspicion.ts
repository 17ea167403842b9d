/** What is probably wrong with a row that can be trained on: worth a look, and never an error. */

import type { Message, Row } from './rows.ts';
import type { Tokenizer } from './tokenizer.ts';
import { isEmptyAnswer, isEmptyQuestion } from './writeRows.ts';

/** Each with the words that complete "3 rows …". */
export const SUSPICIONS = {
  empty_question: 'with an empty question',
  empty_answer: 'with an empty answer',
  answer_in_prompt: 'whose answer stands in the prompt, word for word',
  no_last_answer: 'without an answer at the end',
  no_end_of_turn: 'that do not end where the model stops',
  special_tokens: 'with special tokens of the model in their text, as of a template that was applied before',
  broken_characters: 'with characters that were lost in a conversion (U+FFFD), or null characters',
} as const;

/** One kind of thing that is probably wrong with a row. */
export type Suspicion = keyof typeof SUSPICIONS;

/** Letters of an answer; a single one stands in many prompts. */
const SHORTEST_ANSWER = 2;

/** What there is to say of a row; whether it ends where the model stops only its tokens can tell (`no_end_of_turn`). */
export function suspicionsOf(row: Row, tokenizer: Tokenizer): Suspicion[] {
  const { prompt, answer, texts } = partsOf(row);
  const found: Record<Suspicion, boolean> = {
    empty_question: row.kind === 'chat' && row.messages.some(isEmptyQuestion),
    empty_answer: isEmptyAnswer(row),
    answer_in_prompt: holdsWords(prompt, answer.trim()),
    no_last_answer: row.kind === 'chat' && row.messages.at(-1)?.role !== 'assistant',
    no_end_of_turn: false,
    special_tokens: texts.some((text) => tokenizer.findSpecialTokens(text).length > 0),
    broken_characters: texts.some((text) => /[\0\ufffd]/.test(text)),
  };
  return (Object.keys(found) as Suspicion[]).filter((name) => found[name]);
}

/** The last answer, what comes before it, and every text of the row. */
function partsOf(row: Row): { prompt: string; answer: string; texts: readonly string[] } {
  if (row.kind === 'text') return { prompt: '', answer: '', texts: [row.text] };
  if (row.kind === 'prompt_completion') {
    return { prompt: row.prompt, answer: row.completion, texts: [row.prompt, row.completion] };
  }
  const textOf = ({ content }: Message): string => content ?? '';
  const last = row.messages.findLastIndex(({ role }) => role === 'assistant');
  return {
    prompt: row.messages.slice(0, last).map(textOf).join('\n'),
    answer: textOf(row.messages[last]!),
    texts: row.messages.map(textOf),
  };
}

const LETTER = /[\p{L}\p{N}]/u;

/** Whether `words` stand in a text, and not as a part of longer ones. */
function holdsWords(text: string, words: string): boolean {
  if (words.length < SHORTEST_ANSWER) return false;
  for (let at = text.indexOf(words); at !== -1; at = text.indexOf(words, at + 1)) {
    const [before, after] = [text[at - 1] ?? '', text[at + words.length] ?? ''];
    if (!(LETTER.test(before) && LETTER.test(words[0]!)) && !(LETTER.test(after) && LETTER.test(words.at(-1)!)))
      return true;
  }
  return false;
}
