/** Packing against TRL's `bfd`: the same number of sequences. Needs WEBGPU_SFT_ORACLE_PYTHON: a Python with trl and datasets. */
import { expect, it } from 'vitest';
import { packLengths } from '../../src/data/packing.ts';
import { randomStream } from '../../src/platform/random.ts';
import { python, runPython } from './python.ts';

/** Uniform, mostly short and few different lengths, for several lengths of sequences. */
const cases = Array.from({ length: 36 }, (_, number) => {
  const next = randomStream(23, number);
  const max_seq_len = [64, 512, 1000, 2048][number % 4]!;
  const draw = () => next() / 2 ** 32;
  const length = [
    () => draw() * max_seq_len,
    () => draw() ** 3 * max_seq_len,
    () => (Math.floor(draw() * 5) * max_seq_len) / 7,
  ][number % 3]!;
  const count = 20 + (next() % 2500);
  return { max_seq_len, lengths: Array.from({ length: count }, () => 1 + Math.floor(length())) };
});

it.skipIf(!python)('packs rows into as many sequences as TRL', () => {
  const expected = runPython<number[]>('packing.py', [], cases);
  const got = cases.map(({ lengths, max_seq_len }) => packLengths(lengths, max_seq_len).length);
  expect(got).toEqual(expected);
  const rows = cases.reduce((sum, { lengths }) => sum + lengths.length, 0);
  const sum = got.reduce((total, count) => total + count, 0);
  console.log(`packing: ${rows} rows in ${cases.length} sets, ${sum} sequences, as many as TRL in each set`);
});
