/** Documents are made here, as small as the formats allow. */
import { describe, expect, it, vi } from 'vitest';
import { readRecords } from '../../src/data/records.ts';
import { readRows } from '../../src/data/rows.ts';
import { collect, source } from './fixtures.ts';

const ascii = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const read = (content: string | Uint8Array, name: string) => collect(readRows(source(content, name)));

function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** A ZIP archive whose files are not compressed. */
function zip(files: Readonly<Record<string, string>>): Uint8Array {
  const bytes: number[] = [];
  const directory: number[] = [];
  const put = (list: number[], ...fields: [value: number, size: number][]) => {
    for (const [value, size] of fields) for (let i = 0; i < size; i++) list.push((value >>> (8 * i)) & 0xff);
  };
  for (const [name, text] of Object.entries(files)) {
    const content = new TextEncoder().encode(text);
    const offset = bytes.length;
    const common: [number, number][] = [
      [20, 2],
      [0, 2],
      [0, 2],
      [0, 4],
      [crc32(content), 4],
    ];
    const sizes: [number, number][] = [
      [content.length, 4],
      [content.length, 4],
      [name.length, 2],
      [0, 2],
    ];
    put(bytes, [0x04034b50, 4], ...common, ...sizes);
    bytes.push(...ascii(name), ...content);
    put(directory, [0x02014b50, 4], [20, 2], ...common, ...sizes, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]);
    directory.push(...ascii(name));
  }
  const end: number[] = [];
  const count = Object.keys(files).length;
  put(end, [0x06054b50, 4], [0, 4], [count, 2], [count, 2], [directory.length, 4], [bytes.length, 4], [0, 2]);
  return new Uint8Array([...bytes, ...directory, ...end]);
}

const OFFICE = 'http://schemas.openxmlformats.org';

function docx(...paragraphs: string[]): Uint8Array {
  const body = paragraphs.map((text) => `<w:p><w:r><w:t>${text}</w:t></w:r></w:p>`).join('');
  return zip({
    '[Content_Types].xml':
      `<Types xmlns="${OFFICE}/package/2006/content-types"><Default Extension="rels" ` +
      'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" ' +
      'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>',
    '_rels/.rels':
      `<Relationships xmlns="${OFFICE}/package/2006/relationships"><Relationship Id="r" ` +
      `Type="${OFFICE}/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>`,
    'word/document.xml': `<w:document xmlns:w="${OFFICE}/wordprocessingml/2006/main"><w:body>${body}</w:body></w:document>`,
  });
}

/** A PDF with a page for each list of lines. */
function pdf(pages: readonly (readonly string[])[], trailer = ''): Uint8Array {
  const objects = ['<</Type/Catalog/Pages 2 0 R>>', '', '<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>'];
  const kids = pages.map((lines) => {
    const stream = lines.map((line, i) => `BT /F 12 Tf 72 ${700 - 20 * i} Td (${line}) Tj ET`).join('\n');
    objects.push(`<</Length ${stream.length}>>\nstream\n${stream}\nendstream`);
    const resources = '/Resources<</Font<</F 3 0 R>>>>';
    objects.push(`<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]${resources}/Contents ${objects.length} 0 R>>`);
    return `${objects.length} 0 R`;
  });
  objects[1] = `<</Type/Pages/Kids[${kids.join(' ')}]/Count ${kids.length}>>`;
  let text = '%PDF-1.4\n';
  const offsets = objects.map((object, i) => {
    const offset = text.length;
    text += `${i + 1} 0 obj\n${object}\nendobj\n`;
    return `${String(offset).padStart(10, '0')} 00000 n \n`;
  });
  const start = text.length;
  const size = objects.length + 1;
  text += `xref\n0 ${size}\n0000000000 65535 f \n${offsets.join('')}`;
  return ascii(`${text}trailer\n<</Size ${size}/Root 1 0 R${trailer}>>\nstartxref\n${start}\n%%EOF\n`);
}

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
