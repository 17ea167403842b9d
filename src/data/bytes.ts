/**
 * The bytes of a data file in blocks of about one MiB, so that a file may be larger than memory.
 *
 * A file whose name ends in `.gz` is decompressed on the way; nothing that reads it needs to know.
 */

import { SftError } from '../platform/errors.ts';
import type { ReadableSource } from '../platform/types.ts';

const BLOCK_BYTES = 1 << 20;
/** What is held in memory at once: a file of a format that does not stream. */
const MAX_WHOLE_BYTES = 256 << 20;

const GZIP = /\.gz$/i;

/** Whether the name says that the file is compressed. */
export function isGzip({ name }: Pick<ReadableSource, 'name'>): boolean {
  return GZIP.test(withoutQuery(name));
}

/** The ending that says what a file is, in small letters and without the dot: `jsonl` for `rows.jsonl.gz`. */
export function extensionOf({ name }: Pick<ReadableSource, 'name'>): string {
  return /\.([^./\\]+)$/.exec(withoutQuery(name).replace(GZIP, ''))?.[1]?.toLowerCase() ?? '';
}

/** The name of a file without its folders. */
export function fileNameOf(path: string): string {
  return path.split(/[\\/]/).at(-1)!;
}

/** An address without what follows its path; a path of a disk as it is. */
function withoutQuery(name: string): string {
  return name.replace(/^(https?:\/\/[^?#]*).*$/i, '$1');
}

/** Yields all bytes in order, in blocks of one MiB (the last is smaller). Throws `DATA` where gzip data is broken. */
export function readBlocks(source: ReadableSource): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  return isGzip(source) ? decompressed(source) : plain(source);
}

/** All bytes of a file, decompressed. Throws `DATA` where that is more than is held in memory. */
export async function readWholeBytes(source: ReadableSource): Promise<Uint8Array<ArrayBuffer>> {
  if (!isGzip(source)) {
    if (source.size > MAX_WHOLE_BYTES) throw tooLarge(source);
    return source.read(0, source.size);
  }
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const block of readBlocks(source)) {
    parts.push(block);
    size += block.length;
    if (size > MAX_WHOLE_BYTES) throw tooLarge(source);
  }
  return concatenate(parts, size);
}

/** Joins byte arrays whose lengths add up to `length`. */
export function concatenate(parts: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of UTF-8 bytes, or null where they are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

/** The first bytes of a text file without a byte order mark. Throws `DATA` for UTF-16. */
export function withoutMark<T extends Uint8Array>(bytes: T, { name }: Pick<ReadableSource, 'name'>): T {
  const [a, b, c] = bytes;
  if (a === 0xef && b === 0xbb && c === 0xbf) return bytes.subarray(3) as T;
  if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff)) {
    throw new SftError('DATA', `${name}:1: expected UTF-8 text, got UTF-16`, { hint: 'save the file as UTF-8' });
  }
  return bytes;
}

export function notUtf8(where: string): SftError {
  return new SftError('DATA', `${where}: expected UTF-8 text, got bytes that are not`, {
    hint: 'save the file as UTF-8',
  });
}

function tooLarge({ name, size }: ReadableSource): SftError {
  const [most, got] = [MAX_WHOLE_BYTES, Math.max(size, MAX_WHOLE_BYTES + 1)].map((bytes) => Math.ceil(bytes / 2 ** 20));
  return new SftError('DATA', `${name}: expected a file of at most ${most} MiB, got ${got} MiB or more`, {
    hint: 'files of this format are read whole; write rows as JSON Lines, CSV or Parquet, or split the file',
  });
}

async function* plain(source: ReadableSource): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let offset = 0; offset < source.size; offset += BLOCK_BYTES) {
    yield await source.read(offset, Math.min(BLOCK_BYTES, source.size - offset));
  }
}

/** Decompressors give small pieces; they are put together, as every block costs. */
async function* decompressed(source: ReadableSource): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const blocks = plain(source);
  const compressed = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const { value, done } = await blocks.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
  const reader = compressed.pipeThrough(new DecompressionStream('gzip')).getReader();
  let held: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { value, done } = await reader.read().catch((cause: unknown) => {
        if (cause instanceof SftError) throw cause;
        throw new SftError('DATA', `${source.name}: expected gzip data, got data that is broken or cut off`, {
          hint: 'copy or download the file again; a file that is not compressed must not end in .gz',
          cause,
        });
      });
      if (done) break;
      held.push(value);
      size += value.length;
      if (size < BLOCK_BYTES) continue;
      yield concatenate(held, size);
      held = [];
      size = 0;
    }
    if (size > 0) yield concatenate(held, size);
  } finally {
    await reader.cancel().catch(() => {});
  }
}
