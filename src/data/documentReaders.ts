/** Documents that people have: plain text, Markdown, DOCX and PDF. A file is one row, `{text, source: its name}`. */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';
import { decodeUtf8, fileNameOf, readWholeBytes, withoutMark } from './bytes.ts';
import type { DataRecord } from './jsonl.ts';
import { readLines, refuseNullByte, textOf } from './lines.ts';

/** The text of a document by pages; a format without pages has one. Throws `DATA`. */
export type PagesReader = (source: ReadableSource) => Promise<readonly string[]>;

/** A reader of rows that joins the pages, with a blank line between two. Throws `DATA` where there is no text. */
export function oneRow(pagesOf: PagesReader): (source: ReadableSource) => AsyncGenerator<DataRecord, void, undefined> {
  return async function* (source) {
    const pages = await pagesOf(source);
    const text = pages.filter((page) => page.trim() !== '').join('\n\n');
    if (text.trim() === '') throw noText(source, 'got an empty file', 'leave the file out');
    yield { value: { text, source: fileNameOf(source.name) }, line: 1 };
  };
}

export const textPages: PagesReader = async (source) => {
  const bytes = withoutMark(await readWholeBytes(source), source);
  const text = decodeUtf8(bytes);
  // A second reading, line by line, finds the place of what is wrong.
  if (text === null) for await (const line of readLines(source)) textOf(line, source);
  return [refuseNullByte(text ?? '', source, 1)];
};

export const docxPages: PagesReader = async (source) => {
  const { default: mammoth } = await import('mammoth');
  const bytes = await readWholeBytes(source);
  // In a page mammoth takes an ArrayBuffer, on Node anything that it calls a buffer.
  const input = { arrayBuffer: bytes.slice().buffer, buffer: bytes } as unknown as { arrayBuffer: ArrayBuffer };
  const { value } = await mammoth.extractRawText(input).catch((cause: Error) => {
    throw new SftError(
      'DATA',
      `${source.name}: expected a DOCX document, got one that cannot be read: ${cause.message.split(/ ?[:?] /, 1)[0]}`,
      {
        hint: 'open it in a word processor and save it as .docx, without a password',
        cause,
      },
    );
  });
  if (value.trim() === '') throw noText(source, 'got a document without any', 'pictures and drawings are not read');
  return [value.trimEnd()];
};

export const pdfPages: PagesReader = async (source) => {
  const { extractText, getDocumentProxy } = await import('unpdf');
  const bytes = await readWholeBytes(source);
  const pdf = await getDocumentProxy(bytes, { verbosity: 0 }).catch((cause: Error) => {
    if (cause.name === 'PasswordException') {
      throw new SftError('DATA', `${source.name}: expected a PDF that can be opened, got one with a password`, {
        hint: 'save it without the password',
        cause,
      });
    }
    throw new SftError('DATA', `${source.name}: expected a PDF, got one that cannot be read: ${cause.message}`, {
      hint: 'copy or download the file again',
      cause,
    });
  });
  try {
    const { text } = await extractText(pdf, { mergePages: false });
    if (text.every((page) => page.trim() === '')) {
      throw noText(
        source,
        `got ${text.length} ${text.length === 1 ? 'page' : 'pages'} without any`,
        'the pages are pictures: run OCR over the file first',
      );
    }
    return text;
  } finally {
    await pdf.destroy();
  }
};

function noText({ name }: ReadableSource, got: string, hint: string): SftError {
  return new SftError('DATA', `${name}: expected text, ${got}`, { hint });
}
