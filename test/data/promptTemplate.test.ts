import { describe, expect, it } from 'vitest';
import { fillPromptTemplate, parsePromptTemplate } from '../../src/data/promptTemplate.ts';

const fill = (text: string, row: Readonly<Record<string, string>> = {}) =>
  fillPromptTemplate(parsePromptTemplate(text), (column) => row[column] ?? `<${column}>`).map(
    ({ role, content }) => `${role}: ${content}`,
  );

describe('parsePromptTemplate', () => {
  it('cuts turns at lines that begin a role', () => {
    const text =
      '\nSystem: You are a math expert.\nBe brief.\n\nUser: {q}\nAssistant: {a}\nUser:And {r}?\nAssistant:\n{b}\n';
    expect(fill(text)).toEqual([
      'system: You are a math expert.\nBe brief.',
      'user: <q>',
      'assistant: <a>',
      'user: And <r>?',
      'assistant: <b>',
    ]);
    expect(parsePromptTemplate(text).columns).toEqual(['q', 'a', 'r', 'b']);
  });

  it('is a text where no line begins a role', () => {
    expect(fill('\n# {title}\n\n{body}\n')).toEqual(['null: # <title>\n\n<body>']);
  });

  it('has braces of its own, and columns with any name', () => {
    expect(fill('User: {{"q": "{ my column }"}}\nAssistant: {{{a}}}')).toEqual([
      'user: {"q": "<my column>"}',
      'assistant: {<a>}',
    ]);
  });

  it('keeps what a row has at its ends, and leaves an empty system turn out', () => {
    const row = { s: '', q: '  Q\n', a: 'Assistant: x' };
    expect(fill('System: {s}\nUser: {q} \nAssistant: {a}', row)).toEqual(['user:   Q\n', 'assistant: Assistant: x']);
  });

  it.each([
    ['no column', 'User: hi\nAssistant: ho', 'at least one {column}, got none'],
    ['the braces of another language', 'User: {{ question }}', 'at least one {column}, got none'],
    ['no answer', 'System: s\nUser: {q}', "a line that begins 'Assistant:', got none"],
    [
      'roles in small letters',
      'user: {q}\nassistant: {a}',
      "lines that begin 'System:', 'User:' or 'Assistant:', got \"user:\"",
    ],
    [
      'text before the first role',
      'Hello {x}\nUser: {q}\nAssistant: {a}',
      'a first line that begins a role, got "Hello {x}"',
    ],
    ['a brace that is not closed', 'User: {q\nAssistant: {a}', 'the name of a column between braces, got "{q"'],
    ['a brace that is not opened', 'User: q}\nAssistant: {a}', 'the name of a column between braces, got "}"'],
    ['no name', 'User: {}\nAssistant: {a}', 'the name of a column between braces, got "{}"'],
  ])('refuses %s', (_, text, expected) => {
    expect(() => parsePromptTemplate(text)).toThrow(`data.prompt_template: expected ${expected}`);
  });
});
