/** The chat templates that TRL carries: texts, what their generation blocks mark, and what is trained without the blocks. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Span } from '../../src/data/labels.ts';
import { mergeSpans } from '../../src/data/labels.ts';
import { maskRow } from '../../src/data/mask.ts';
import type { ChatRow, Message } from '../../src/data/rows.ts';
import { ChatTemplate } from '../../src/data/template.ts';
import { SPECIAL_NAMES, tokenizerFor } from '../data/templateTokenizer.ts';
import { python, runPython } from './python.ts';

interface Made {
  template: string;
  cases: Record<string, { text: string | null; spans: Span[] }>;
}

const conversations = JSON.parse(
  readFileSync(new URL('../data/golden/conversations.json', import.meta.url), 'utf8'),
) as Record<string, { messages: Message[]; tools?: unknown[] }>;

describe.skipIf(!python)('templates of TRL', () => {
  let made: Record<string, Made>;

  beforeAll(() => {
    made = runPython<Record<string, Made>>('training_templates.py', []);
  });

  it('render as in transformers, and their blocks mark the same', () => {
    let texts = 0;
    let marked = 0;
    for (const [name, { template, cases }] of Object.entries(made)) {
      const parsed = new ChatTemplate(template, name, SPECIAL_NAMES);
      for (const [conversation, { text, spans }] of Object.entries(cases)) {
        const where = `${name} / ${conversation}`;
        texts += 1;
        if (text === null) {
          expect(() => parsed.render(conversations[conversation]!), where).toThrow();
          continue;
        }
        const rendered = parsed.render(conversations[conversation]!);
        expect(rendered.text, where).toBe(text);
        expect(mergeSpans(rendered.generation), where).toEqual(mergeSpans(spans));
        marked += spans.length;
      }
    }
    expect(marked).toBeGreaterThan(300);
    console.log(`${texts} texts of ${Object.keys(made).length} templates and ${marked} marked spans are the same`);
  });

  it('without the blocks, what is trained lies within what TRL marks', () => {
    let turns = 0;
    for (const [name, { template, cases }] of Object.entries(made)) {
      const marks = made[`${name}_training`];
      if (marks === undefined) continue;
      const tokenizer = tokenizerFor(template);
      const parsed = new ChatTemplate(template, name, SPECIAL_NAMES);
      for (const [conversation, { text }] of Object.entries(cases)) {
        // Where training templates write another text, their marks are of that.
        if (text === null || marks.cases[conversation]!.text !== text || conversation === 'words') continue;
        const row: ChatRow = { kind: 'chat', file: conversation, line: 1, ...conversations[conversation]! };
        const { spans } = maskRow(row, { tokenizer, template: parsed, trainOn: 'assistant' });
        const wanted = mergeSpans(marks.cases[conversation]!.spans);
        const where = `${name} / ${conversation}: ${JSON.stringify(spans.map(([a, b]) => text.slice(a, b)))}`;
        // Gemma stops where a tool's answer begins; TRL leaves that token out.
        const stop = '<|tool_response>';
        for (const [start, last] of spans)
          expect(
            wanted.some(([a, b]) => a <= start && (text.endsWith(stop, last) ? last - stop.length : last) <= b),
            where,
          ).toBe(true);
        turns += spans.length;
      }
    }
    expect(turns).toBeGreaterThan(200);
    console.log(`${turns} turns are trained within TRL's marks`);
  });
});
