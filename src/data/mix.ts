/** A mix of documents and other rows, in which documents have a given share. */

import { SftError } from '../platform/errors.ts';
import { shuffled } from '../platform/random.ts';

/** Keeps these random numbers apart from those of the epochs' orders and of the splits. */
const MIX_STREAM = 2 ** 41;

/**
 * Which rows a mix keeps, one flag for each row: all of the smaller side, and of the larger one a random sample of the
 * size that makes documents `ratio` of all. A pure function of its arguments. Throws `DATA` where one side has to be there
 * and is not.
 */
export function mixedRows(isDocument: readonly boolean[], ratio: number, seed: number): boolean[] {
  const documents = [...isDocument.keys()].filter((index) => isDocument[index]);
  const others = [...isDocument.keys()].filter((index) => !isDocument[index]);
  expectRows('document', documents, ratio, ratio);
  expectRows('other', others, 1 - ratio, ratio);
  const kept = new Set([
    ...sample(documents, ratio === 1 ? Infinity : (others.length * ratio) / (1 - ratio), seed, MIX_STREAM),
    ...sample(others, ratio === 0 ? Infinity : (documents.length * (1 - ratio)) / ratio, seed, MIX_STREAM + 1),
  ]);
  return Array.from(isDocument.keys(), (index) => kept.has(index));
}

function expectRows(side: string, rows: readonly number[], share: number, ratio: number): void {
  if (share === 0 || rows.length > 0) return;
  throw new SftError('DATA', `data.documents.mix_ratio: expected ${side} rows for a share of ${ratio}, got none`, {
    hint: 'put documents and chat rows into the folder that data.train_path names, or leave mix_ratio out',
  });
}

/** `count` of the items, rounded and at least one unless it is 0; all where there are no more. */
function sample(items: readonly number[], count: number, seed: number, stream: number): readonly number[] {
  const wanted = count === 0 ? 0 : Math.max(1, Math.round(count));
  if (items.length <= wanted) return items;
  return Array.from(shuffled(items.length, seed, stream).subarray(0, wanted), (place) => items[place]!);
}
