import { describe, expect, it } from 'vitest';
import { readRecords } from '../../src/data/records.ts';
import type { SftError } from '../../src/platform/errors.ts';
import { collect, source } from './fixtures.ts';

const records = (text: string | Uint8Array, name = 'train.csv') => collect(readRecords(source(text, name)));
const values = async (text: string, name?: string) => (await records(text, name)).map(({ value }) => value);

describe('CSV', () => {
  it('takes quotes, delimiters, line ends and doubled quotes in cells', async () => {
    const text = '\ufeffquestion,answer\r\n"a, ""b""\r\n\r\nc",d\r\n\r\ne,\r\n,"f"\n"",""';
    expect(await records(text)).toEqual([
      { value: { question: 'a, "b"\r\n\r\nc', answer: 'd' }, line: 2 },
      { value: { question: 'e', answer: '' }, line: 6 },
      { value: { question: '', answer: 'f' }, line: 7 },
      { value: { question: '', answer: '' }, line: 8 },
    ]);
  });

  it('keeps a quote inside of a cell, spaces, and names that objects have', async () => {
    expect(await values('a,__proto__\n 5" disk ,constructor\n')).toEqual([
      Object.fromEntries([
        ['a', ' 5" disk '],
        ['__proto__', 'constructor'],
      ]),
    ]);
  });

  it('takes tabs in .tsv, and semicolons and tabs in a .csv whose header has no comma', async () => {
    expect(await values('a\tb\n1,5\t"x\ty"\n', 'train.tsv')).toEqual([{ a: '1,5', b: 'x\ty' }]);
    expect(await values('a;b\n1,5;2\n')).toEqual([{ a: '1,5', b: '2' }]);
    expect(await values('a\tb\n1;5\t2\n')).toEqual([{ a: '1;5', b: '2' }]);
    expect(await values('text\na b\n')).toEqual([{ text: 'a b' }]);
  });

  it('joins cells and characters that blocks cut', async () => {
    const long = 'é\n'.repeat(700_000);
    expect(await values(`text,b\n"${long}",1\nx,2\n`)).toEqual([
      { text: long, b: '1' },
      { text: 'x', b: '2' },
    ]);
  });

  it.each([
    ['a,b\n1,2\n\n1,2,3\n', 'train.csv:4: expected 2 cells, got 3'],
    ['a,b\n"1\n2"\n', 'train.csv:2: expected 2 cells, got 1'],
    ['a,b\n1,2\n"1,2\n3,4\n', 'train.csv:3: expected a quote that closes the cell, got the end of the file'],
    ['a,b\n"1\n2"x,3\n', 'train.csv:3: expected "," after the quote that closes a cell, got "x,3"'],
    ['a,a\n1,2\n', 'train.csv:1: expected the names of the columns, got "a" twice'],
    ['\na,\n1,2\n', 'train.csv:2: expected the names of the columns, got no name for column 2'],
    ['a,b\n1,2\n1,\0\n', 'train.csv:3: expected text, got a null byte'],
  ])('says where it is broken: %j', async (text, message) => {
    await expect(records(text)).rejects.toMatchObject({ code: 'DATA', message });
  });

  it('names the line that is no UTF-8, and a file in UTF-16', async () => {
    const latin = Uint8Array.from('a,b\n1,2\n\xe9,3\n', (c) => c.charCodeAt(0));
    await expect(records(latin)).rejects.toThrow('train.csv:3: expected UTF-8 text');
    await expect(records(new Uint8Array([0xff, 0xfe, 0x61, 0]))).rejects.toThrow(
      'train.csv:1: expected UTF-8 text, got UTF-16',
    );
  });

  it('tells of every bad row and goes on', async () => {
    const problems: string[] = [];
    const tell = (problem: SftError) => problems.push(problem.message.slice(0, 30));
    const rows = await collect(readRecords(source('a,b\n1\n1,2\n"x"y,2\n3,4\n', 'train.csv'), tell));
    expect(rows.map(({ line }) => line)).toEqual([3, 5]);
    expect(problems).toEqual(['train.csv:2: expected 2 cells,', 'train.csv:4: expected "," afte']);
  });

  it('gives nothing for a header alone', async () => {
    expect(await records('a,b\n')).toEqual([]);
  });
});
