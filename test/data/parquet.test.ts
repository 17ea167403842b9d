/** The files were written by pyarrow, without statistics and schema of its own. */
import { describe, expect, it } from 'vitest';
import { readRecords } from '../../src/data/records.ts';
import { readRows } from '../../src/data/rows.ts';
import { collect, source } from './fixtures.ts';

/** question, answer, id (int64: 1, 2^60, 3); snappy, two row groups of two rows and one. */
const SNAPPY =
  'UEFSMRUEFSAVJEwVBBUAEgAAEDwEAAAAMSsxPwQAAAAyKzI/FQAVEhUWLBUEFRAVBhUGHAAAAAkgAgAAAAQBAQMCFQQVFBUYTBUEFQASAAAK' +
  'JAEAAAAyAQAAADQVABUSFRYsFQQVEBUGFQYcAAAACSACAAAABAEBAwIVBBUgFSRMFQQVABIAABA8AQAAAAAAAAAAAAAAAAAAEBUAFRIVFiwV' +
  'BBUQFQYVBhwAAAAJIAIAAAAEAQEDAhUEFRgVHEwVAhUAEgAADCwIAAAAR3LDvMOfZT8VABUSFRYsFQIVEBUGFQYcAAAACSACAAAAAgEBAgAV' +
  'BBUQFRRMFQIVABIAAAgcBAAAAPCfmIAVABUSFRYsFQIVEBUGFQYcAAAACSACAAAAAgEBAgAVBBUQFRRMFQIVABIAAAgcAwAAAAAAAAAVABUS' +
  'FRYsFQIVEBUGFQYcAAAACSACAAAAAgEBAgAVBBlMNQAYBnNjaGVtYRUGABUMJQIYCHF1ZXN0aW9uJQBMHAAAABUMJQIYBmFuc3dlciUATBwA' +
  'AAAVBCUCGAJpZAAWBhksGTwmABwVDBk1AAYQGRgIcXVlc3Rpb24VAhYEFnQWfCZIJggpLBUEFQAVAgAVABUQFQIAPBYQGQYZJgAEAAAAJgAc' +
  'FQwZNQAGEBkYBmFuc3dlchUCFgQWaBZwJrgBJoQBKSwVBBUAFQIAFQAVEBUCADwWBBkGGSYABAAAACYAHBUEGTUABhAZGAJpZBUCFgQWdBZ8' +
  'JrQCJvQBKSwVBBUAFQIAFQAVEBUCADwpBhkmAAQAAAAW0AIWBCYIFugCABk8JgAcFQwZNQAGEBkYCHF1ZXN0aW9uFQIWAhZsFnQmqAMm8AIp' +
  'LBUEFQAVAgAVABUQFQIAPBYQGQYZJgACAAAAJgAcFQwZNQAGEBkYBmFuc3dlchUCFgIWZBZsJpQEJuQDKSwVBBUAFQIAFQAVEBUCADwWCBkG' +
  'GSYAAgAAACYAHBUEGTUABhAZGAJpZBUCFgIWZBZsJoAFJtAEKSwVBBUAFQIAFQAVEBUCADwpBhkmAAIAAAAWtAIWAibwAhbMAgAoIHBhcnF1' +
  'ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGTwcAAAcAAAcAAAA8wEAAFBBUjE=';
/** messages: a list of structs; not compressed. */
const MESSAGES =
  'UEFSMRUEFSoVKkwVBBUAEgAABAAAAHVzZXIJAAAAYXNzaXN0YW50FQAVHhUeLBUEFRAVBhUGHAAAAAIAAAADAgIAAAAEBAEDAhUEFRQVFEwV' +
  'BBUAEgAAAQAAAFEBAAAAQRUAFR4VHiwVBBUQFQYVBhwAAAACAAAAAwICAAAABAQBAwIVBBlsNQAYBnNjaGVtYRUCADUCGAhtZXNzYWdlcxUC' +
  'FQZMPAAAADUEGARsaXN0FQIANQIYB2VsZW1lbnQVBAAVDCUCGARyb2xlJQBMHAAAABUMJQIYB2NvbnRlbnQlAEwcAAAAFgIZHBksJgAcFQwZ' +
  'NQAGEBlICG1lc3NhZ2VzBGxpc3QHZWxlbWVudARyb2xlFQAWBBaKARaKASZOJggpLBUEFQAVAgAVABUQFQIAPBYaGSYCAhlWAAAAAAQAAAAm' +
  'ABwVDBk1AAYQGUgIbWVzc2FnZXMEbGlzdAdlbGVtZW50B2NvbnRlbnQVABYEFnQWdCbCASaSASksFQQVABUCABUAFRAVAgA8FgQZJgICGVYA' +
  'AAAABAAAABb+ARYCJggW/gEAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAuMRksHAAAHAAAAE8BAABQQVIx';
/** answer: 2, 4, three smileys; by compression. */
const COMPRESSED = {
  gzip:
    'UEFSMRUEFTQVSkwVBhUAEgAAH4sIAAAAAAACA2NkYGAwYgQSJjxA4sP8GQ0wDAAWqrENGgAAABUAFRQVPCwVBhUQFQYVBhwAAAAfiwgAAAAAAAID' +
    'Y2JgYGBjZGJWYQAAkuXhVQoAAAAVBBksNQAYBnNjaGVtYRUCABUMJQIYBmFuc3dlciUATBwAAAAWBhkcGRwmABwVDBk1AAYQGRgGYW5zd2VyFQQW' +
    'BhaKARbIASZuJggpLBUEFQAVAgAVABUQFQIAPBYcGQYZJgAGAAAAFooBFgYmCBbIAQAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4x' +
    'GRwcAAAAmgAAAFBBUjE=',
  brotli:
    'UEFSMRUEFTQVOEwVBhUAEgAAGxkAAASacZ9n1AUAE5wNQJcRmKJKBcUCUt3fDhUAFRQVHCwVBhUQFQYVBhwAAACLBIACAAAABgECAyQAAxUEGSw1' +
    'ABgGc2NoZW1hFQIAFQwlAhgGYW5zd2VyJQBMHAAAABYGGRwZHCYAHBUMGTUABhAZGAZhbnN3ZXIVCBYGFooBFpYBJlwmCCksFQQVABUCABUAFRAV' +
    'AgA8FhwZBhkmAAYAAAAWigEWBiYIFpYBACggcGFycXVldC1jcHAtYXJyb3cgdmVyc2lvbiAyNi4wLjEZHBwAAACaAAAAUEFSMQ==',
  lz4:
    'UEFSMRUEFTQVNkwVBhUAEgAAUAEAAAAyBQDwAjQMAAAA8J+YgPCfmIDwn5iAFQAVFBUWLBUGFRAVBhUGHAAAAKACAAAABgECAyQAFQQZLDUAGAZz' +
    'Y2hlbWEVAgAVDCUCGAZhbnN3ZXIlAEwcAAAAFgYZHBkcJgAcFQwZNQAGEBkYBmFuc3dlchUOFgYWigEWjgEmWiYIKSwVBBUAFQIAFQAVEBUCADwW' +
    'HBkGGSYABgAAABaKARYGJggWjgEAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAuMRkcHAAAAJoAAABQQVIx',
  zstd:
    'UEFSMRUEFTQVRkwVBhUAEgAAKLUv/SAa0QAAAQAAADIBAAAANAwAAADwn5iA8J+YgPCfmIAVABUUFSYsFQYVEBUGFQYcAAAAKLUv/SAKUQAAAgAA' +
    'AAYBAgMkABUEGSw1ABgGc2NoZW1hFQIAFQwlAhgGYW5zd2VyJQBMHAAAABYGGRwZHCYAHBUMGTUABhAZGAZhbnN3ZXIVDBYGFooBFq4BJmomCCks' +
    'FQQVABUCABUAFRAVAgA8FhwZBhkmAAYAAAAWigEWBiYIFq4BACggcGFycXVldC1jcHAtYXJyb3cgdmVyc2lvbiAyNi4wLjEZHBwAAACaAAAAUEFS' +
    'MQ==',
} as const;

const parquet = (text: string) =>
  source(
    Uint8Array.from(atob(text), (c) => c.charCodeAt(0)),
    'train.parquet',
  );

describe('Parquet', () => {
  it('gives the rows of all row groups, by number, with integers that are exact', async () => {
    expect(await collect(readRecords(parquet(SNAPPY)))).toEqual([
      { value: { question: '1+1?', answer: '2', id: 1 }, line: 1 },
      { value: { question: '2+2?', answer: '4', id: '1152921504606846976' }, line: 2 },
      { value: { question: 'Grüße?', answer: '😀', id: 3 }, line: 3 },
    ]);
  });

  it('gives nested columns as rows have them', async () => {
    expect(await collect(readRows(parquet(MESSAGES)))).toEqual([
      {
        kind: 'chat',
        file: 'train.parquet',
        line: 1,
        messages: [
          { role: 'user', content: 'Q' },
          { role: 'assistant', content: 'A' },
        ],
      },
    ]);
  });

  it.each(Object.entries(COMPRESSED))('reads columns compressed with %s', async (_, file) => {
    const rows = await collect(readRecords(parquet(file)));
    expect(rows.map(({ value }) => value)).toEqual([{ answer: '2' }, { answer: '4' }, { answer: '😀😀😀' }]);
  });

  it('names a compression that is not read', async () => {
    // The column's codec, a zigzag varint in the metadata, made 3: LZO.
    const bytes = Uint8Array.from(atob(COMPRESSED.zstd), (c) => c.charCodeAt(0));
    const name = new TextDecoder('latin1').decode(bytes).lastIndexOf('answer');
    expect(bytes[name + 7]).toBe(2 * 6);
    bytes[name + 7] = 2 * 3;
    await expect(collect(readRecords(source(bytes, 'train.parquet')))).rejects.toMatchObject({
      code: 'DATA',
      message: 'train.parquet: expected columns compressed with GZIP, BROTLI, ZSTD, LZ4, LZ4_RAW, got LZO in "answer"',
    });
  });

  it.each([
    ['nothing', ''],
    ['text', '{"text": "this is no Parquet file"}'],
  ])('refuses %s', async (_, content) => {
    await expect(collect(readRecords(source(content, 'a.parquet')))).rejects.toMatchObject({
      code: 'DATA',
      message: expect.stringMatching(/^a\.parquet: expected a Parquet file, got one that cannot be read/),
    });
  });

  it('refuses a file that was cut off', async () => {
    const whole = Uint8Array.from(atob(SNAPPY), (c) => c.charCodeAt(0));
    await expect(collect(readRecords(source(whole.subarray(60), 'a.parquet')))).rejects.toMatchObject({ code: 'DATA' });
  });
});
