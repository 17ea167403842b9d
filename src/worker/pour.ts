/** From a stream into a file, piece by piece. */
import type { GrowingFile } from '../platform/browserStorage.ts';
import { SftError } from '../platform/errors.ts';
import type { CallOptions, Transfer } from './api.ts';

/** Appends a stream to a file. Throws `IO` when it breaks, and the signal's reason when that is aborted. */
export async function pour(
  stream: ReadableStream<Uint8Array>,
  target: GrowingFile,
  { what, total }: Pick<Transfer, 'what' | 'total'>,
  { signal, onProgress }: CallOptions,
): Promise<void> {
  const reader = stream.getReader();
  try {
    for (;;) {
      signal?.throwIfAborted();
      onProgress?.({ what, done: target.size, total });
      const { done, value } = await reader.read();
      if (done) return;
      await target.append(value);
    }
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof SftError) throw cause;
    throw new SftError('IO', `${what}: could not be read further than ${target.size} bytes`, {
      hint: 'try again; of a model, what has come stays',
      cause,
    });
  } finally {
    await reader.cancel().catch(() => {});
  }
}
