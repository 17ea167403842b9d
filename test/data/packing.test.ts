import { describe, expect, it } from 'vitest';
import { createCursor } from '../../src/data/batches.ts';
import { loadDataset } from '../../src/data/dataset.ts';
import { flattenBatch } from '../../src/data/flatten.ts';
import { inspectSequence } from '../../src/data/inspect.ts';
import type { LabelledTokens } from '../../src/data/labels.ts';
import { packingReport, packLengths, packRows } from '../../src/data/packing.ts';
import { randomStream } from '../../src/platform/random.ts';
import { jsonl, template, tokenizer } from './fixtures.ts';

const total = (lengths: readonly number[]) => lengths.reduce((sum, length) => sum + length, 0);

/** Random row sets of 0 to 300 rows: of all lengths, of mostly short rows, of few different lengths, of equal rows. */
function* randomSets(): Generator<{ lengths: number[]; maxSeqLen: number }> {
  for (let set = 0; set < 200; set++) {
    const next = randomStream(11, set);
    const maxSeqLen = 1 + (next() % 2 ** (set % 13));
    const most = Math.max(1, Math.floor(maxSeqLen / (1 + (next() % 6))));
    const step = 1 + (next() % most);
    const length = () => Math.min(most, Math.ceil((1 + (next() % most)) / step) * step);
    yield { lengths: Array.from({ length: next() % 300 }, length), maxSeqLen };
  }
}

/** Best-fit decreasing as it is defined: all open sequences are looked at for each row. */
function simple(lengths: readonly number[], maxSeqLen: number): number {
  const spaces: number[] = [];
  for (const length of lengths.toSorted((a, b) => b - a)) {
    const fitting = spaces.filter((space) => space >= length);
    if (fitting.length === 0) spaces.push(maxSeqLen - length);
    else spaces[spaces.indexOf(Math.min(...fitting))]! -= length;
  }
  return spaces.length;
}

describe('packLengths', () => {
  it('loses and doubles no row, keeps to the length, and says the same each time', () => {
    for (const { lengths, maxSeqLen } of randomSets()) {
      const sequences = packLengths(lengths, maxSeqLen);
      expect(sequences.flat().toSorted((a, b) => a - b)).toEqual(lengths.map((_, index) => index));
      for (const rows of sequences) {
        expect(total(rows.map((row) => lengths[row]!))).toBeLessThanOrEqual(maxSeqLen);
        expect(rows).toEqual(rows.toSorted((a, b) => a - b));
      }
      const firsts = sequences.map(([first]) => first!);
      expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
      expect(packLengths(lengths, maxSeqLen)).toEqual(sequences);
    }
  });

  it('is best-fit decreasing', () => {
    for (const { lengths, maxSeqLen } of randomSets()) {
      expect(packLengths(lengths, maxSeqLen).length).toBe(simple(lengths, maxSeqLen));
    }
    expect(packLengths([6, 7, 3, 4], 10)).toEqual([
      [0, 3],
      [1, 2],
    ]);
  });

  it('leaves rows that do not pack in their order', () => {
    expect(packLengths([6, 9, 7, 8], 10)).toEqual([[0], [1], [2], [3]]);
  });

  it('packs 200 000 rows in seconds', () => {
    const next = randomStream(5, 0);
    const lengths = Array.from({ length: 200_000 }, () => 20 + (next() % 400));
    const started = performance.now();
    const sequences = packLengths(lengths, 2048);
    expect(performance.now() - started).toBeLessThan(5000);
    expect(total(lengths) / (sequences.length * 2048)).toBeGreaterThan(0.999);
  });

  it('refuses a row that is too long: nothing is cut', () => {
    expect(() => packLengths([3, 12, 11], 10)).toThrow('row 1: expected at most 10 tokens, got 12');
  });
});

describe('packed rows', () => {
  const row = (length: number): LabelledTokens => {
    const inputIds = Int32Array.from({ length }, (_, t) => 100 * length + t);
    return { inputIds, labels: inputIds };
  };
  const rows = Array.from({ length: 57 }, (_, index) => row(3 + ((index * 7) % 29)));

  it('the report says how full the sequences are', () => {
    const report = packingReport(packRows([row(6), row(7), row(3)], 10), 10);
    expect(report).toEqual({ sequences: 2, tokens: 16, efficiency: 0.8 });
  });

  it('an epoch of batches has every row once; a cursor that goes on gives the same batches', () => {
    const sequences = packRows(rows, 64);
    const order = {
      rows: sequences.length,
      batchSize: 2,
      gradientAccumulationSteps: 2,
      shuffle: true,
      seed: 3,
      packedTo: 64,
    };
    const whole = createCursor(order);
    const steps = Array.from({ length: 2 * whole.stepsPerEpoch }, () => whole.next());
    for (const epoch of [0, 1]) {
      const seen = steps.filter((step) => step.epoch === epoch).flatMap(({ microBatches }) => microBatches.flat());
      expect(new Set(seen.flatMap((sequence) => sequences[sequence]!))).toEqual(new Set(rows));
      expect(seen.length).toBe(sequences.length);
    }
    for (let stop = 1; stop < steps.length; stop++) {
      const before = createCursor(order);
      for (let step = 0; step < stop; step++) before.next();
      const state = JSON.parse(JSON.stringify(before.state()));
      expect(packRows(rows, 64)).toEqual(sequences);
      const after = createCursor(order, state);
      expect(steps.slice(stop).map(() => after.next())).toEqual(steps.slice(stop));
    }
  });

  it('a cursor over other sequences is refused', () => {
    const order = { rows: 9, batchSize: 2, gradientAccumulationSteps: 2, shuffle: true, seed: 3 };
    const { packed_to: _, ...unpacked } = createCursor(order).state();
    expect(() => createCursor({ ...order, packedTo: 64 }, unpacked)).toThrow('expected packed_to null');
    const packed = createCursor({ ...order, packedTo: 64 }).state();
    expect(() => createCursor({ ...order, packedTo: 65 }, packed)).toThrow('expected packed_to 64');
    expect(() => createCursor(order, packed)).toThrow('expected packed_to 64 as in the checkpoint, got null');
  });

  it('is shown as the micro-batch has it', async () => {
    const turns = ['Hello', 'the text', 'What is 12 + 30?', 'fine, thanks', 'Grüße'];
    const chats = turns.map((user, index) => ({ user, assistant: turns.slice(0, index + 1).join(' ') }));
    const { rows } = await loadDataset([jsonl(...chats)], {
      tokenizer,
      template: template(),
      trainOn: 'all',
      maxSeqLen: 120,
      truncation: 'error',
    });
    const sequences = packRows(rows, 120);
    const shown = sequences.map((sequence, number) => inspectSequence(number, sequence));
    expect(shown.flatMap((sequence) => sequence.rows).toSorted()).toEqual([0, 1, 2, 3, 4]);
    expect(Math.max(...sequences.map(({ length }) => length))).toBeGreaterThan(1);
    for (const [number, { sequence, input_ids, labels, position_ids, document_starts, ...rest }] of shown.entries()) {
      const batch = flattenBatch(sequences[number]!, input_ids.length, input_ids.length);
      expect(sequence).toBe(number);
      expect(input_ids).toEqual([...batch.ids]);
      expect(position_ids).toEqual([...batch.positions]);
      expect(document_starts).toEqual([...new Set(batch.documentStart)]);
      expect(document_starts.length).toBe(rest.rows.length);
      // Position t - 1 predicts token t.
      const trained = labels.flatMap((label, t) => (label === -100 ? [] : [[t - 1, label]]));
      expect(trained).toEqual(
        Array.from(batch.trainedRows.subarray(0, batch.trained), (t, r) => [t, batch.targets[r]]),
      );
    }
  });
});
