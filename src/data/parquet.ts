/** Parquet files (https://parquet.apache.org), one row group at a time; the columns of a row become an object. */

import type { AsyncBuffer, Compressors, FileMetaData } from 'hyparquet';
import { SftError } from '../platform/errors.ts';
import { bytesSource } from '../platform/sources.ts';
import type { ReadableSource } from '../platform/types.ts';
import { isGzip, readWholeBytes } from './bytes.ts';
import type { DataRecord } from './jsonl.ts';

/** What hyparquet itself decompresses, and what the package beside it does. */
const OWN_CODECS: readonly string[] = ['UNCOMPRESSED', 'SNAPPY'];
const MORE_CODECS: readonly string[] = ['GZIP', 'BROTLI', 'ZSTD', 'LZ4', 'LZ4_RAW'];

/**
 * Yields the rows of a `.parquet` source; `line` is the number of the row, from 1. Integers of 64 bits become numbers, or
 * strings where a number would round them. Throws `DATA`.
 */
export async function* readParquet(source: ReadableSource): AsyncGenerator<DataRecord> {
  const { parquetMetadataAsync, parquetReadObjects } = await import('hyparquet');
  const file = toAsyncBuffer(isGzip(source) ? bytesSource(source.name, await readWholeBytes(source)) : source);
  const metadata = await orBroken(source, parquetMetadataAsync(file));
  const compressors = await compressorsFor(source, metadata);
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const rows = await orBroken(source, parquetReadObjects({ file, metadata, rowStart, rowEnd, ...compressors }));
    for (const [i, row] of rows.entries()) yield { value: toJson(row), line: rowStart + i + 1 };
    rowStart = rowEnd;
  }
}

function toAsyncBuffer(source: ReadableSource): AsyncBuffer {
  return {
    byteLength: source.size,
    async slice(start, end = source.size) {
      const bytes = await source.read(start, end - start);
      return bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;
    },
  };
}

async function orBroken<T>({ name }: ReadableSource, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (cause instanceof SftError && cause.code !== 'IO') throw cause;
    const reason = (cause as Error).message;
    throw new SftError('DATA', `${name}: expected a Parquet file, got one that cannot be read: ${reason}`, {
      hint: 'copy or download the file again',
      cause,
    });
  }
}

/** What the columns of a file need besides hyparquet; loaded only then. */
async function compressorsFor(
  { name }: ReadableSource,
  { row_groups }: FileMetaData,
): Promise<{ readonly compressors?: Compressors }> {
  const columns = row_groups.flatMap((group) => group.columns.flatMap(({ meta_data: column }) => column ?? []));
  const others = columns.filter(({ codec }) => !OWN_CODECS.includes(codec));
  const unknown = others.find(({ codec }) => !MORE_CODECS.includes(codec));
  if (unknown) {
    const got = `${unknown.codec} in "${unknown.path_in_schema.join('.')}"`;
    throw new SftError('DATA', `${name}: expected columns compressed with ${MORE_CODECS.join(', ')}, got ${got}`, {
      hint: "write the file again, as in pandas' to_parquet(…, compression='zstd')",
    });
  }
  return others.length === 0 ? {} : { compressors: (await import('hyparquet-compressors')).compressors };
}

/** The value as JSON would have it. */
function toJson(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value ?? null;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, toJson(field)]));
}
