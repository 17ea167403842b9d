import { describe, expect, it, vi } from 'vitest';
import { readRecords } from '../../src/data/records.ts';
import { readRows } from '../../src/data/rows.ts';
import { collect, source } from './fixtures.ts';
import { docx, pdf, zip } from './madeDocuments.ts';

const read = (content: string | Uint8Array, name: string) => collect(readRows(source(content, name)));

describe('documents', () => {
  const row = { kind: 'text', line: 1 };

  it('makes one row of a text file, with the name of the file as its source', async () => {
    const file = 'books/one/Grüße.txt';
    const text = ' # A\r\n\r\nb\n';
    expect(await read(`\ufeff${text}`, file)).toEqual([{ ...row, file, text, source: 'Grüße.txt' }]);
    expect(await read('# A\n', 'a.md')).toEqual([{ ...row, file: 'a.md', text: '# A\n', source: 'a.md' }]);
  });

  it('reads the paragraphs of a DOCX', async () => {
    const file = 'a.docx';
    expect(await read(docx('Grüße &amp; 😀', 'Two'), file)).toEqual([
      { ...row, file, text: 'Grüße & 😀\n\nTwo', source: file },
    ]);
  });

  it('reads the pages of a PDF, and says nothing while it does', async () => {
    const log = vi.spyOn(console, 'log');
    const warn = vi.spyOn(console, 'warn');
    const file = 'a.pdf';
    expect(await read(pdf([['One two', 'three'], [], ['Four']]), file)).toEqual([
      { ...row, file, text: 'One two\nthree\n\nFour', source: file },
    ]);
    expect([...log.mock.calls, ...warn.mock.calls]).toEqual([]);
  });

  const encrypted = `/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<${'00'.repeat(32)}>/U<${'00'.repeat(32)}>>>`;

  it.each([
    ['a.txt', '', 'a.txt: expected text, got an empty file'],
    ['a.md', ' \n', 'a.md: expected text, got an empty file'],
    ['a.txt', 'a\nb\0', 'a.txt:2: expected text, got a null byte'],
    ['a.txt', new Uint8Array([0x61, 0x0a, 0x0a, 0xe9, 0x0a]), 'a.txt:3: expected UTF-8 text, got bytes that are not'],
    ['a.docx', docx(), 'a.docx: expected text, got a document without any'],
    ['a.docx', docx(' '), 'a.docx: expected text, got a document without any'],
    ['a.docx', 'text', /^a\.docx: expected a DOCX document, got one that cannot be read: /],
    ['a.docx', zip({ 'a.txt': 'a' }), /^a\.docx: expected a DOCX document, got one that cannot be read: /],
    ['a.pdf', pdf([[], []]), 'a.pdf: expected text, got 2 pages without any'],
    ['a.pdf', pdf([['One']], encrypted), 'a.pdf: expected a PDF that can be opened, got one with a password'],
    ['a.pdf', 'text', /^a\.pdf: expected a PDF, got one that cannot be read: /],
    ['a.pdf', '', /^a\.pdf: expected a PDF, got one that cannot be read: /],
  ])('refuses %s: %#', async (name, content, message) => {
    const error: unknown = await collect(readRecords(source(content, name))).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: 'DATA',
      message: typeof message === 'string' ? message : expect.stringMatching(message),
    });
  });
});
