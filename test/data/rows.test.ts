import { describe, expect, it } from 'vitest';
import { parsePromptTemplate } from '../../src/data/promptTemplate.ts';
import type { Row, RowOptions } from '../../src/data/rows.ts';
import { readRows, toRow } from '../../src/data/rows.ts';
import { SftError } from '../../src/platform/errors.ts';
import { collect, jsonl, source } from './fixtures.ts';

const place = { file: 'train.jsonl', line: 7 };
const row = (value: unknown, options?: RowOptions): Row => toRow(value, place, options);
const turns = (value: unknown, options?: RowOptions) => {
  const got = row(value, options);
  return got.kind === 'chat' ? got.messages.map(({ role, content }) => `${role}: ${content}`) : got.kind;
};

function complaint(value: unknown, options?: RowOptions): SftError {
  try {
    row(value, options);
  } catch (error) {
    if (error instanceof SftError) return error;
  }
  throw new Error('expected a complaint');
}

const question = { role: 'user', content: 'Q' };
const answer = { role: 'assistant', content: 'A' };

describe('shapes', () => {
  it.each([
    ['messages', { messages: [question, answer] }, ['user: Q', 'assistant: A']],
    ['SFT-Play', { system: 'S', user: 'Q', assistant: 'A' }, ['system: S', 'user: Q', 'assistant: A']],
    ['SFT-Play without system', { system: '', user: 'Q', assistant: 'A' }, ['user: Q', 'assistant: A']],
    ['question and answer', { question: 'Q', answer: 'A', source: 'book' }, ['user: Q', 'assistant: A']],
    ['Alpaca', { instruction: 'Add', input: '1 2', output: '3' }, ['user: Add\n\n1 2', 'assistant: 3']],
    ['Alpaca without input', { instruction: 'Say', input: '', output: 'A' }, ['user: Say', 'assistant: A']],
    [
      'ShareGPT',
      {
        system: 'S',
        conversations: [
          { from: 'human', value: 'Q' },
          { from: 'gpt', value: 'A' },
        ],
      },
      ['system: S', 'user: Q', 'assistant: A'],
    ],
  ])('%s becomes a chat', (_, value, expected) => {
    expect(turns(value)).toEqual(expected);
  });

  it('keeps prompt/completion and text raw', () => {
    expect(row({ prompt: 'P', completion: 'C' })).toEqual({
      ...place,
      kind: 'prompt_completion',
      prompt: 'P',
      completion: 'C',
    });
    expect(row({ text: 'T', source: 'a.txt' })).toEqual({ ...place, kind: 'text', text: 'T', source: 'a.txt' });
  });

  it('keeps tools, tool calls and reasoning for the template', () => {
    const call = { type: 'function', function: { name: 'f', arguments: {} } };
    const messages = [
      question,
      { role: 'assistant', tool_calls: [call] },
      { role: 'tool', content: '1', name: 'f' },
      { ...answer, reasoning_content: 'R' },
    ];
    const got = row({ messages, tools: [{ type: 'function' }], source: 'x', id: 5 });
    expect(got).toEqual({
      ...place,
      kind: 'chat',
      source: 'x',
      tools: [{ type: 'function' }],
      messages: [question, { role: 'assistant', content: null, tool_calls: [call] }, messages[2], messages[3]],
    });
  });

  it('joins text parts', () => {
    const content = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ];
    expect(turns({ messages: [{ role: 'user', content }, answer] })).toEqual(['user: ab', 'assistant: A']);
  });

  it('is told apart by keys; where they fit two shapes, data.format or data.columns says which', () => {
    const both = { question: 'Q', answer: 'A', text: 'T' };
    const { message, hint } = complaint(both);
    expect(message).toBe(
      'train.jsonl:7: expected a row of one shape, got keys that fit qa and text: "question", "answer", "text"',
    );
    expect(hint).toBe('set data.format: qa or data.format: text');
    expect(row(both, { format: 'qa' }).kind).toBe('chat');
    expect(row(both, { format: 'text' })).toMatchObject({ kind: 'text', text: 'T' });
    expect(row({ ...both, body: 'B' }, { columns: { text: 'body' } })).toMatchObject({ kind: 'text', text: 'B' });
    expect(row({ messages: null, text: 'T' })).toMatchObject({ kind: 'text', text: 'T' });
  });
});

describe('columns and style', () => {
  it('renames columns, which then decide the shape', () => {
    const value = { question: 'x', answer: 'y', Frage: 'Q', Antwort: 'A' };
    expect(turns(value, { columns: { user: 'Frage', assistant: 'Antwort' } })).toEqual(['user: Q', 'assistant: A']);
    expect(row({ body: 'T' }, { columns: { text: 'body' } })).toMatchObject({ kind: 'text', text: 'T' });
  });

  it('misses a column by name, but not an optional one', () => {
    const options = { columns: { user: 'Frage', assistant: 'Antwort', system: 'Rolle' } };
    expect(turns({ Frage: 'Q', Antwort: 'A' }, options)).toEqual(['user: Q', 'assistant: A']);
    expect(complaint({ Frage: 'Q', answer: 'A' }, options).message).toBe(
      'train.jsonl:7: expected the column "Antwort", got "Frage", "answer"',
    );
  });

  it('puts the style in place of the system text', () => {
    expect(turns({ user: 'Q', assistant: 'A' }, { style: 'Be kind.' })).toEqual([
      'system: Be kind.',
      'user: Q',
      'assistant: A',
    ]);
    const messages = [{ role: 'system', content: 'old' }, question, answer];
    expect(turns({ messages }, { style: 'new' })).toEqual(['system: new', 'user: Q', 'assistant: A']);
    expect(row({ text: 'T' }, { style: 'new' })).toMatchObject({ text: 'T' });
  });
});

describe('complaints', () => {
  it.each([
    ['no object', [1], 'expected a JSON object, got a list'],
    ['unknown keys', { prompt: 'P', reply: 'R' }, 'expected a row of a known shape, got the keys "prompt", "reply"'],
    ['no keys', {}, 'expected a row of a known shape, got the keys none'],
    [
      'unknown role',
      { messages: [question, { role: 'bot', content: 'A' }] },
      'expected messages[1] to have a known role, got the string "bot"',
    ],
    ['no role', { messages: [{ content: 'A' }] }, 'expected messages[0] to have a known role, got nothing'],
    ['no assistant turn', { messages: [question] }, 'expected at least one assistant turn, got the roles user'],
    ['no messages', { messages: [] }, 'expected at least one assistant turn, got no messages'],
    [
      'messages of another type',
      { messages: 'hi' },
      'expected "messages" to be a list of messages, got the string "hi"',
    ],
    ['message of another type', { messages: ['hi'] }, 'expected messages[0] to be an object, got the string "hi"'],
    [
      'content of another type',
      { messages: [question, { role: 'assistant', content: 5 }] },
      'expected the content of messages[1] to be a string, got the number 5',
    ],
    [
      'content missing',
      { conversations: [{ from: 'human' }] },
      'expected the content of conversations[0] to be a string, got null',
    ],
    ['answer of another type', { question: 'Q', answer: 5 }, 'expected "answer" to be a string, got the number 5'],
    [
      'tools of another type',
      { messages: [question, answer], tools: 'f' },
      'expected "tools" to be a list, got the string "f"',
    ],
  ])('%s', (_, value, message) => {
    const error = complaint(value);
    expect(error.code).toBe('DATA');
    expect(error.message).toBe(`train.jsonl:7: ${message}`);
  });

  it('a forced shape that the row has not', () => {
    expect(complaint({ text: 'T' }, { format: 'qa' }).message).toBe(
      'train.jsonl:7: expected "question", "answer", got "text"',
    );
  });
});

describe('files', () => {
  it('numbers rows by line', async () => {
    const rows = await collect(readRows(source('\n{"text": "a"}\n\n{"text": "b"}\n')));
    expect(rows.map(({ file, line }) => `${file}:${line}`)).toEqual(['train.jsonl:2', 'train.jsonl:4']);
  });

  it('stops at the first bad row', async () => {
    await expect(collect(readRows(jsonl({ text: 'a' }, { txt: 'b' })))).rejects.toThrow(
      'train.jsonl:2: expected a row',
    );
  });

  it.each(['', '\n \n', '[]'])('refuses a file without rows: %j', async (content) => {
    await expect(collect(readRows(source(content, 'empty.json')))).rejects.toThrow(
      'empty.json: expected at least one row, got none',
    );
  });
});

it('a text as long as a book is no row, but a document', async () => {
  const book = () => source('x'.repeat((64 << 20) + 1), 'book.txt');
  await expect(collect(readRows(book()))).rejects.toMatchObject({
    message: 'book.txt:1: expected a text of at most 64 MiB in a row, got a longer one',
    hint: expect.stringContaining('data.format: documents'),
  });
  await expect(collect(readRows(book(), { format: 'documents' }))).resolves.toHaveLength(1);
});

describe('rows of one file', () => {
  const qa = { question: 'Q', answer: 'A' };
  const text = { text: 'T' };
  const raw = { prompt: 'P', completion: 'C' };

  it('are counted by what they are taken for', async () => {
    const shapes: string[] = [];
    const count = (options: RowOptions, ...rows: unknown[]) =>
      collect(readRows(jsonl(...rows), { ...options, onShape: (shape) => shapes.push(shape) }));
    await count({}, qa, { messages: [question, answer] }, { user: 'Q', assistant: 'A' });
    await count({ format: 'documents' }, text);
    await count({ promptTemplate: parsePromptTemplate('{question}') }, qa, text);
    expect(shapes).toEqual(['qa', 'messages', 'chat', 'documents', 'prompt_template', 'text']);
  });

  it('that fit two shapes are shown, two of them, and told of once', async () => {
    const both = { ...raw, ...text };
    const message = 'expected a row of one shape, got keys that fit prompt_completion and text: ';
    const keys = '"prompt", "completion", "text"';
    await expect(collect(readRows(jsonl(both, both, qa)))).rejects.toThrow(
      `train.jsonl:1: ${message}${keys}; on line 2 ${keys}`,
    );
    await expect(collect(readRows(jsonl(both)))).rejects.toThrow(`train.jsonl:1: ${message}${keys}`);
    const problems: string[] = [];
    await collect(readRows(jsonl(both, both, both), { onProblem: (problem) => problems.push(problem.message) }));
    expect(problems).toEqual([`train.jsonl:1: ${message}${keys}; on line 2 ${keys}`]);
  });

  it.each([
    ['a text', text, 'a text ("text") after a chat at train.jsonl:1 ("question", "answer")', /^set data\.format: doc/],
    [
      'a prompt and its completion',
      raw,
      'a prompt and its completion ("prompt", "completion") after a chat at train.jsonl:1 ("question", "answer")',
      /^write either kind/,
    ],
  ])('do not mix chats and %s', async (_, other, got, hint) => {
    const problems: SftError[] = [];
    const onProblem = (problem: SftError) => problems.push(problem);
    await collect(readRows(jsonl(qa, qa, other, other), { onProblem }));
    expect(problems.map(({ message }) => message)).toEqual([
      `train.jsonl:3: expected rows of one kind in a file, got ${got}`,
    ]);
    expect(problems[0]!.hint).toMatch(hint);
  });

  it('may mix what data.format: documents tells apart, and what process has put together', async () => {
    const kinds = async (options: RowOptions, ...rows: unknown[]) =>
      (await collect(readRows(jsonl(...rows), options))).map(({ kind }) => kind);
    expect(await kinds({ format: 'documents' }, qa, text)).toEqual(['chat', 'text']);
    const written = [qa, { ...text, source: 'a.txt' }, { ...raw, source: 'b.jsonl' }];
    expect(await kinds({}, ...written)).toEqual(['chat', 'text', 'prompt_completion']);
    await expect(kinds({ raw: true }, ...written)).rejects.toThrow('expected rows of one kind');
  });
});

describe('data.prompt_template', () => {
  const promptTemplate = parsePromptTemplate('System: Count.\nUser: {question}\nAssistant: {answer}\n');

  it('makes a chat of a raw row, and keeps its source', () => {
    const value = { question: 'Q\nUser: no turn', answer: 5, source: 'book', more: null };
    expect(turns(value, { promptTemplate })).toEqual(['system: Count.', 'user: Q\nUser: no turn', 'assistant: 5']);
    expect(row(value, { promptTemplate }).source).toBe('book');
    expect(turns(value, { promptTemplate, style: 'Be kind.' })[0]).toBe('system: Be kind.');
  });

  it('knows the columns of the file and those that data.columns names', () => {
    const columns = { question: 'Frage', answer: 'Antwort' };
    expect(turns({ Frage: 'Q', Antwort: 'A' }, { promptTemplate, columns })).toEqual([
      'system: Count.',
      'user: Q',
      'assistant: A',
    ]);
    const other = parsePromptTemplate('User: {Frage} {question}\nAssistant: {answer}');
    expect(turns({ Frage: 'Q', Antwort: 'A' }, { promptTemplate: other, columns })).toContain('user: Q Q');
  });

  it('leaves rows alone that process has written, but not those of a raw file', () => {
    const own = { system: '', user: 'Q', assistant: 'A' };
    const other = parsePromptTemplate('User: Say {user}\nAssistant: {assistant}');
    expect(turns(own, { promptTemplate: other })).toEqual(['user: Q', 'assistant: A']);
    expect(turns(own, { promptTemplate: other, raw: true })).toEqual(['user: Say Q', 'assistant: A']);
  });

  it('misses a column by name', () => {
    const { message, hint } = complaint({ question: 'Q', reply: 'A' }, { promptTemplate });
    expect(message).toBe('train.jsonl:7: expected the column "answer", got "question", "reply"');
    expect(hint).toContain('{answer}');
    expect(complaint({ question: 'Q', answer: null }, { promptTemplate }).message).toBe(
      'train.jsonl:7: expected "answer" to be a string, got null',
    );
    expect(complaint({ text: 'Q' }, { promptTemplate, format: 'qa' }).message).toBe(
      'train.jsonl:7: expected "question", "answer", got "text"',
    );
  });
});
