import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { dataFilesOf, readRecords } from '../../src/data/records.ts';
import { readRows } from '../../src/data/rows.ts';
import { collect, source } from './fixtures.ts';

const records = (content: string | Uint8Array, name: string) => collect(readRecords(source(content, name)));
const lines = Array.from({ length: 200_000 }, (_, i) => `{"text":"row ${i}"}\n`).join('');

describe('compressed files', () => {
  it.each([
    ['a.jsonl.gz', lines],
    ['a.json.gz', `[${lines.trimEnd().replaceAll('\n', ',\n')}]`],
    ['https://host/a.csv.GZ?download=true', `text\n${lines.replace(/^.*"(row \d+)".*$/gm, '$1')}`],
  ])('reads %s', async (name, text) => {
    const rows = await records(gzipSync(text), name);
    expect(rows).toHaveLength(200_000);
    expect(rows.at(-1)!.value).toEqual({ text: 'row 199999' });
  });

  it('reads a document and an empty file', async () => {
    expect(await records(gzipSync('# A\n'), 'books/a.md.gz')).toEqual([
      { value: { text: '# A\n', source: 'a.md.gz' }, line: 1 },
    ]);
    expect(await records(gzipSync(''), 'a.jsonl.gz')).toEqual([]);
  });

  it.each([
    ['is not compressed', new TextEncoder().encode(lines)],
    ['is cut off', gzipSync(lines).subarray(0, 5000)],
    ['is empty', new Uint8Array(0)],
  ])('refuses a file that %s', async (_, bytes) => {
    await expect(records(bytes, 'a.jsonl.gz')).rejects.toMatchObject({
      code: 'DATA',
      message: 'a.jsonl.gz: expected gzip data, got data that is broken or cut off',
    });
  });

  it('is read no further than rows are taken', async () => {
    for await (const { value } of readRecords(source(gzipSync(lines), 'a.jsonl.gz'))) {
      expect(value).toEqual({ text: 'row 0' });
      break;
    }
  });
});

describe('.json files that hold an object', () => {
  it.each([
    ['{"version": 1,\n "data": [\n  {"text": "a"},\n  {"text": "b"}\n]}', [3, 4]],
    ['{"rows":[{"text":"a"},{"text":"b"}]}', [1, 1]],
    ['\n{\n"train"\n:\n[{"text": "a"},\n\n{"text": "b"}], "note": {"data": []}}\n', [5, 7]],
    ['{"text": "a"}\n{"text": "b"}\n', [1, 2]],
  ])('gives the rows of %j', async (text, places) => {
    const rows = await records(text, 'train.json');
    expect(rows.map(({ value }) => value)).toEqual([{ text: 'a' }, { text: 'b' }]);
    expect(rows.map(({ line }) => line)).toEqual(places);
  });

  it('takes an object without such a list as one row', async () => {
    const row = { messages: [{ role: 'user', content: '{"data": [1]}' }], data: 'x' };
    expect(await records(`\n${JSON.stringify(row, null, 2)}`, 'train.json')).toEqual([{ value: row, line: 2 }]);
  });

  it.each([
    [
      '{"data": [{"text": "a"}],\n"train": []}',
      'train.json:1: expected one list of rows, got lists under "data" and "train"',
    ],
    ['{\n"data": [{"text": "a"},\n{"text": b}]}', /^train\.json:3: .*invalid JSON/],
    ['{\n"data": [{"text": "a"}\n', /^train\.json:3: .*invalid JSON: it does not end/],
    ['{\n"data": [{"text": "a"},]}', /^train\.json:2: .*invalid JSON: a comma with nothing/],
    ['[1}', /^train\.json:1: .*invalid JSON: the wrong closing bracket/],
    ['"text"', /^train\.json:1: .*invalid JSON: neither a list nor an object/],
  ])('says what is wrong with %j', async (text, message) => {
    await expect(records(text, 'train.json')).rejects.toThrow(message);
  });

  it('streams an array whose elements and characters blocks cut', async () => {
    const rows = Array.from({ length: 5 }, (_, i) => ({ text: `${i}[",{\\\u20ac`.repeat(100_000) }));
    expect((await records(JSON.stringify(rows, null, 1), 'a.json')).map(({ value }) => value)).toEqual(rows);
  });

  it('passes over an element that is no JSON where it is told to', async () => {
    const problems: string[] = [];
    const text = '[{"text": "a"},\n{"text": b},\n{"text": "c"}]';
    const rows = await collect(
      readRecords(source(text, 'a.json'), ({ message }) => problems.push(message.slice(0, 9))),
    );
    expect([rows.map(({ line }) => line), problems]).toEqual([[1, 3], ['a.json:2:']]);
  });
});

describe('formats', () => {
  it.each(['rows.xlsx', 'rows', 'folder.jsonl/rows', 'rows.gz', 'rows.constructor'])(
    'refuses %s by name',
    async (name) => {
      const error = await collect(readRows(source('{}', name))).catch((caught: unknown) => caught);
      expect(error).toMatchObject({
        code: 'DATA',
        message: expect.stringContaining(`${name}: expected a format that can`),
      });
      expect(error).toMatchObject({ hint: expect.stringMatching(/\.jsonl, .*\.parquet, .*\.pdf, each also as \.gz$/) });
    },
  );

  it('finds the data files of a folder', () => {
    const paths = ['.gitattributes', 'LICENSE', 'README.md', 'a.csv', 'b/.x/c.csv', 'b/c.jsonl.gz', 'd.PDF'];
    expect(dataFilesOf('data', paths)).toEqual(['a.csv', 'b/c.jsonl.gz', 'd.PDF']);
    expect(dataFilesOf('books', ['README.md', 'a.txt'])).toEqual(['README.md', 'a.txt']);
  });

  it('refuses a folder with a file that cannot be read, and one without files', () => {
    expect(() => dataFilesOf('data', ['a.jsonl', 'b/c.xlsx'])).toThrow(
      'data/b/c.xlsx: expected a format that can be read',
    );
    expect(() => dataFilesOf('data', ['.hidden'])).toThrow('data: expected files of rows, the folder has none');
  });
});
