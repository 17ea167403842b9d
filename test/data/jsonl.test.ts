import { describe, expect, it } from 'vitest';
import { readRecords } from '../../src/data/records.ts';
import { rangeSource } from '../../src/platform/sources.ts';
import { collect, source } from './fixtures.ts';

const MARK = new Uint8Array([0xef, 0xbb, 0xbf]);

function bytes(...parts: (string | Uint8Array)[]): Uint8Array {
  return new Uint8Array(
    parts.flatMap((part) => [...(typeof part === 'string' ? new TextEncoder().encode(part) : part)]),
  );
}

describe('JSON Lines', () => {
  it('takes LF, CRLF, blank lines, a byte order mark and a last line without an end', async () => {
    const records = await collect(readRecords(source(bytes(MARK, '{"a":1}\r\n\n  \n{"a":2}\r\n{"a":"ü"}'))));
    expect(records).toEqual([
      { value: { a: 1 }, line: 1 },
      { value: { a: 2 }, line: 4 },
      { value: { a: 'ü' }, line: 5 },
    ]);
  });

  it('splits only at line feeds', async () => {
    const records = await collect(readRecords(source('{"a":"x\u2028y\u0085z"}\n')));
    expect(records).toEqual([{ value: { a: 'x\u2028y\u0085z' }, line: 1 }]);
  });

  it('joins lines and characters that chunks cut', async () => {
    const long = '€'.repeat(700_000); // 2.1 MB: begins, fills and ends inside chunks of one MiB
    const records = await collect(readRecords(source(`{"a":"${long}"}\n{"a":"${'é'.repeat(600_000)}"}\n{"b":1}`)));
    expect(records.map(({ line }) => line)).toEqual([1, 2, 3]);
    expect((records[0]!.value as { a: string }).a).toBe(long);
    expect(records[2]!.value).toEqual({ b: 1 });
  });

  it('names the line that is no JSON', async () => {
    await expect(collect(readRecords(source('{"a":1}\n\n{"a":\n')))).rejects.toMatchObject({
      code: 'DATA',
      message: expect.stringMatching(/^train\.jsonl:3: expected a JSON object, got invalid JSON/),
    });
  });

  it('names the line that has a null byte', async () => {
    await expect(collect(readRecords(source('{"a":1}\n{"a":"\0"}\n')))).rejects.toThrow(
      'train.jsonl:2: expected text, got a null byte',
    );
  });

  it('names the line that is no UTF-8', async () => {
    const broken = bytes('{"a":1}\n{"a":"', new Uint8Array([0xff]), '"}\n');
    await expect(collect(readRecords(source(broken)))).rejects.toThrow('train.jsonl:2: expected UTF-8 text');
    await expect(collect(readRecords(source(new Uint8Array([0xff, 0xfe, 0x7b, 0x00]))))).rejects.toThrow('got UTF-16');
  });

  it('refuses a line without an end before it fills the memory', async () => {
    let read = 0;
    const chunk = new Uint8Array(2 ** 20).fill(0x61);
    const endless = rangeSource('big.jsonl', 2 ** 40, async (_, length) => {
      read += length;
      return chunk.subarray(0, length);
    });
    await expect(collect(readRecords(endless))).rejects.toThrow('big.jsonl:1: expected a row of at most 64 MiB');
    expect(read).toBeLessThan(70 * 2 ** 20);
  });
});

describe('JSON arrays', () => {
  it('gives elements with the lines on which they begin', async () => {
    const text = '\n[\n  {"a": "[,{\\"", "b": [1, {"c": 2}]},\n  {"a": 2}, {"a": 3},\n\n  4\n]\n';
    const records = await collect(readRecords(source(text, 'train.json')));
    expect(records.map(({ line }) => line)).toEqual([3, 4, 4, 6]);
    expect(records.map(({ value }) => value)).toEqual([{ a: '[,{"', b: [1, { c: 2 }] }, { a: 2 }, { a: 3 }, 4]);
  });

  it('takes JSON Lines in a .json file, and only lines in a .jsonl file', async () => {
    expect(await collect(readRecords(source('{"a":1}\n{"a":2}\n', 'train.json')))).toHaveLength(2);
    expect(await collect(readRecords(source('[1]\n[2]\n')))).toEqual([
      { value: [1], line: 1 },
      { value: [2], line: 2 },
    ]);
  });

  it.each([
    ['[\n{"a": 1},\n{"a": oops}\n]', 3],
    ['[\n{"a": 1},\n,{"a": 2}\n]', 3],
    ['[\n{"a": 1}\n', 3],
    ['[{"a": 1}]\n{"a": 2}', 2],
    ['[{"a": 1}]\n[{"a": 2}]', 2],
  ])('says where an array is broken: %j', async (text, line) => {
    const error: unknown = await collect(readRecords(source(text, 'train.json'))).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: 'DATA',
      message: expect.stringMatching(`^train\\.json:${line}: .*invalid JSON: .*$`),
    });
  });
});
