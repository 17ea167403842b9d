/** Documents as small as the formats allow. */

const ascii = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** A ZIP archive whose files are not compressed. */
export function zip(files: Readonly<Record<string, string>>): Uint8Array {
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

/** A Word document of these paragraphs. */
export function docx(...paragraphs: string[]): Uint8Array {
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
export function pdf(pages: readonly (readonly string[])[], trailer = ''): Uint8Array {
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
