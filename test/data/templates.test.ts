/**
 * What is trained by all templates of a collection that lies beside a checkout (`shared/data/templates`); skipped where it
 * does not. Special tokens are those that the templates spell.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { maskRow } from '../../src/data/mask.ts';
import type { ChatRow, Message } from '../../src/data/rows.ts';
import { ChatTemplate } from '../../src/data/template.ts';
import { SPECIAL_NAMES, tokenizerFor } from './templateTokenizer.ts';

const file = fileURLToPath(new URL('../../../shared/data/templates/hf-jinja.json', import.meta.url));
const templates = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>) : {};
const conversations = JSON.parse(readFileSync(new URL('golden/conversations.json', import.meta.url), 'utf8')) as Record<
  string,
  { messages: Message[]; tools?: unknown[] }
>;

describe.skipIf(!existsSync(file))('what is trained', () => {
  it.each(Object.keys(templates))('%s', (name) => {
    const tokenizer = tokenizerFor(templates[name]!);
    const template = new ChatTemplate(templates[name]!, name, SPECIAL_NAMES);
    for (const [conversation, chat] of Object.entries(conversations)) {
      const row: ChatRow = { kind: 'chat', file: conversation, line: 1, ...chat };
      let text: string;
      try {
        text = template.render(chat).text;
      } catch {
        continue; // the template does not take such conversations
      }
      const { spans } = maskRow(row, { tokenizer, template, trainOn: 'assistant' });
      const trained = spans.map(([start, end]) => text.slice(start, end));
      const answers = row.messages.filter(({ role }) => role === 'assistant').map(({ content }) => content ?? '');
      for (const answer of answers.map((content) => content.split('</think>').at(-1)!.trim())) {
        if (answer !== '' && text.includes(answer))
          expect(
            trained.some((part) => part.includes(answer)),
            `${conversation}: ${answer}`,
          ).toBe(true);
      }
      for (const { role, content } of row.messages) {
        const said = (content ?? '').trim();
        if (role === 'assistant' || said === '' || answers.some((answer) => answer.includes(said))) continue;
        expect(
          trained.some((part) => part.includes(said)),
          `${conversation}: ${said}`,
        ).toBe(false);
      }
      if (template.marksGeneration) continue;
      const special = tokenizer.findSpecialTokens(text);
      for (const [, end] of spans) {
        const next = special.find(([start]) => start >= end);
        const stops = special.some(([, stopEnd]) => stopEnd === end) || !next || text.slice(end, next[0]).trim() !== '';
        expect(stops, `${conversation}: ${text.slice(end - 30, end)}⟧${text.slice(end, end + 40)}`).toBe(true);
      }
    }
  });
});
