/** Random sets of raw files, from `process` to micro-batches: each row comes through once, or is counted. */
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BatchOptions, createCursor } from '../../src/data/batches.ts';
import type { Dataset } from '../../src/data/dataset.ts';
import { flattenBatch } from '../../src/data/flatten.ts';
import { countTrained, type LabelledTokens } from '../../src/data/labels.ts';
import { packRows, type Sequence } from '../../src/data/packing.ts';
import { SPLITS, type Split } from '../../src/data/split.ts';
import { randomStream } from '../../src/platform/random.ts';
import type { Config } from '../../src/train/config.ts';
import { parseConfig } from '../../src/train/configCheck.ts';
import { shapeFor } from '../../src/train/engine.ts';
import { openRows } from '../../src/train/openRows.ts';
import { processRows } from '../../src/train/process.ts';
import { template, tokenizer } from '../data/fixtures.ts';

const text = { tokenizer, template: template() };

/** Words of one to three tokens, line ends and what CSV has to quote. */
const WORDS = ['the', 'answer', '12', 'Grüße', '\n', '"so"', 'a, b', '😀', 'return', 'x'];

interface RandomSet {
  readonly files: Readonly<Record<string, Uint8Array>>;
  /** What each raw row teaches: a number of its own, shared only by rows that are equal. */
  readonly marks: readonly string[];
  readonly config: Config;
  readonly dropDuplicates: boolean;
  readonly batch: Pick<BatchOptions, 'batchSize' | 'gradientAccumulationSteps' | 'seed'>;
}

/** Any number below `n`. */
type Below = (n: number) => number;

const turns = (question: string, answer: string, roles: readonly string[], [role, said]: readonly [string, string]) =>
  roles.map((name, i) => ({ [role]: name, [said]: i % 2 === 0 ? question : answer }));

/** A row of each shape, from a question and an answer. CSV holds those that are flat. */
const FLAT = [
  (question: string, answer: string) => ({ question, answer }),
  (user: string, assistant: string) => ({ system: 'Be brief.', user, assistant }),
  (instruction: string, output: string) => ({ instruction, input: 'the input', output }),
  (prompt: string, completion: string) => ({ prompt, completion }),
  (question: string, answer: string) => ({ text: `${question} ${answer}` }),
] as const;
const NESTED = [
  (question: string, answer: string) => ({
    messages: turns(question, answer, ['user', 'assistant', 'user', 'assistant'], ['role', 'content']),
  }),
  (question: string, answer: string) => ({
    conversations: turns(question, answer, ['human', 'gpt'], ['from', 'value']),
  }),
] as const;

function csv(rows: readonly FlatRow[], separator: string): string {
  const names = Object.keys(rows[0]!);
  const cells = [names, ...rows.map((row) => names.map((name) => String(row[name])))];
  return cells.map((line) => `${line.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(separator)}\n`).join('');
}

type FlatRow = Readonly<Record<string, unknown>>;

function parquet(rows: readonly FlatRow[]): Uint8Array {
  const columnData = Object.keys(rows[0]!).map((name) => ({ name, data: rows.map((row) => row[name]) }));
  return new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 7 }));
}

const WRITERS = {
  jsonl: (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
  json: (rows) => JSON.stringify(rows, null, 1),
  csv: (rows) => csv(rows, ','),
  tsv: (rows) => csv(rows, '\t'),
  parquet,
} satisfies Record<string, (rows: readonly FlatRow[]) => string | Uint8Array>;
const HOLD_LISTS: readonly (keyof typeof WRITERS)[] = ['jsonl', 'json'];

function randomSet(number: number, root: string): RandomSet {
  const draw = randomStream(23, number);
  const below: Below = (n) => draw() % n;
  const words = (most: number) => Array.from({ length: below(most + 1) }, () => WORDS[below(WORDS.length)]!).join(' ');
  const marks: string[] = [];
  const files: Record<string, Uint8Array> = {};
  for (let file = below(4); file >= 0; file--) {
    const kind = (Object.keys(WRITERS) as (keyof typeof WRITERS)[])[below(5)]!;
    const shapes = HOLD_LISTS.includes(kind) ? [...FLAT, ...NESTED] : FLAT;
    const shape = shapes[below(shapes.length)]!;
    let row = {};
    const rows = Array.from({ length: 1 + below(30) }, (_, index) => {
      if (index > 0 && below(8) === 0) marks.push(marks.at(-1)!);
      else {
        marks.push(`<${marks.length}>`);
        row = shape(`${marks.at(-1)} ${words(12)}`, below(10) === 0 ? '' : words(30));
      }
      return row;
    });
    const content = WRITERS[kind](rows);
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    const zipped = below(3) === 0;
    files[`${'abcd'[file]}/rows.${kind}${zipped ? '.gz' : ''}`] = zipped ? new Uint8Array(gzipSync(bytes)) : bytes;
  }
  const [train, val, test] = [1 + below(8), below(4), below(4)];
  const all = train + val + test;
  const path = (split: Split) => `${root}/processed/${split}.jsonl`;
  const config = parseConfig({
    model: { name: 'none', max_seq_len: 60 + below(100) },
    train: { seed: below(1000) },
    data: {
      raw_path: `${root}/raw`,
      train_path: path('train'),
      val_path: path('val'),
      test_path: path('test'),
      split: [train / all, val / all, test / all],
      truncation: (['keep_start', 'keep_end', 'drop'] as const)[below(3)]!,
    },
  });
  const batch = { batchSize: 1 + below(5), gradientAccumulationSteps: 1 + below(3), seed: below(1000) };
  return { files, marks, config, dropDuplicates: below(2) === 0, batch };
}

/** Numbers from 1 to `count`, as line numbers are. */
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
const sorted = <T extends number | string>(values: Iterable<T>) =>
  [...values].sort((a, b) => (a < b ? -1 : Number(a > b)));
const idsOf = (rows: readonly LabelledTokens[]) => rows.map(({ inputIds }) => inputIds.join());

/** What the lines of a split teach; nothing where it has no file. */
async function readMarks(path: string): Promise<string[]> {
  const content = await readFile(path, 'utf8').catch(() => '');
  return content.split('\n').flatMap((line) => /<\d+>/.exec(line)?.[0] ?? []);
}

/** Every line is a row that was kept or one that was told of, and what the configuration does to it. */
async function checkRows(config: Config, split: Split, marks: readonly string[]): Promise<Dataset> {
  const { max_seq_len: most } = config.model;
  const { truncation } = config.data;
  const whole = (await openRows({ ...config, model: { ...config.model, max_seq_len: 1e6 } }, split, text))!;
  expect(whole.report).toMatchObject({ kept: marks.length, dropped: [], truncated: 0 });
  const data = (await openRows(config, split, text))!;
  const dropped = data.report.dropped.map(({ where }) => Number(where.split(':').at(-1)));
  expect(sorted([...data.rows.map(({ line }) => line), ...dropped])).toEqual(upTo(marks.length));

  for (const { line, text: said, inputIds, labels, truncated } of data.rows) {
    const before = whole.rows[line - 1]!;
    expect(said).toContain(marks[line - 1]);
    expect(tokenizer.decode(before.inputIds).endsWith(said)).toBe(true);
    expect(truncated).toBe(before.inputIds.length > most);
    const start = truncation === 'keep_end' ? Math.max(0, before.inputIds.length - most) : 0;
    expect(inputIds).toEqual(before.inputIds.slice(start, start + most));
    expect(labels).toEqual(before.labels.slice(start, start + most));
  }
  for (const line of dropped) {
    const { inputIds, labels } = whole.rows[line - 1]!;
    expect(inputIds.length).toBeGreaterThan(most);
    const left = { inputIds, labels: truncation === 'keep_end' ? labels.slice(-most) : labels.slice(0, most) };
    if (truncation !== 'drop') expect(countTrained(left)).toBe(0);
  }
  return data;
}

/** Two epochs have each row twice, and a cursor that goes on from any step gives the same batches. */
function checkBatches(rows: Dataset['rows'], sequences: readonly Sequence[], options: BatchOptions): number {
  const whole = createCursor(options);
  const states = [whole.state()];
  const groups = Array.from({ length: 2 * whole.stepsPerEpoch }, () => {
    const group = whole.next();
    states.push(whole.state());
    return group;
  });
  for (const epoch of [0, 1]) {
    const trained: string[] = [];
    const ofEpoch = groups.filter((group) => group.epoch === epoch);
    for (const batch of ofEpoch.flatMap(({ microBatches }) => microBatches)) {
      const inBatch = batch.flatMap((index) => sequences[index]!);
      const tokens = inBatch.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
      const losses = inBatch.reduce((sum, row) => sum + countTrained(row), 0);
      const shape = shapeFor(tokens, losses);
      // However different the rows of a micro-batch are: that is why none are grouped by length.
      expect(shape.T).toBeLessThan(Math.max(33, 1.25 * tokens));
      const flat = flattenBatch(inBatch, shape.T, shape.R);
      expect(flat).toMatchObject({ tokens, trained: losses });
      for (let start = 0; start < tokens; start = flat.documentEnd[start]!) {
        trained.push(flat.ids.subarray(start, flat.documentEnd[start]).join());
      }
    }
    expect(sorted(trained)).toEqual(sorted(idsOf(rows)));
  }
  for (const [step, state] of states.entries()) {
    const after = createCursor(options, JSON.parse(JSON.stringify(state)));
    const [next = whole.next()] = groups.slice(step);
    expect(after.next()).toEqual(next);
    const last = groups.length - 1 - step;
    for (let skipped = 1; skipped < last; skipped++) after.next();
    if (last > 0) expect(after.next()).toEqual(groups.at(-1));
  }
  return groups.length;
}

describe('nothing is lost or doubled', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'sft-rows-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const seen = { rows: 0, duplicates: 0, leftOut: 0, dropped: 0, truncated: 0, packed: 0, steps: 0 };

  it.each(upTo(40))('random set %i', async (number) => {
    const root = join(folder, String(number));
    const { files, marks, config, dropDuplicates, batch } = randomSet(number, root);
    for (const [path, bytes] of Object.entries(files)) {
      await mkdir(dirname(join(root, 'raw', path)), { recursive: true });
      await writeFile(join(root, 'raw', path), bytes);
    }

    const { rows, duplicates, splits } = await processRows(config, { dropDuplicates });
    const written = await Promise.all(splits.map(({ path }) => readMarks(path!)));
    expect(rows).toBe(marks.length);
    expect(splits.map((split) => split.rows)).toEqual(written.map(({ length }) => length));
    const repeated = written.flatMap((ofSplit, i) =>
      ofSplit.filter((mark) => written.slice(0, i).flat().includes(mark)),
    );
    if (dropDuplicates) {
      expect(repeated).toEqual([]);
      expect(new Set(written.flat())).toEqual(new Set(marks));
      expect(written.flat().length + duplicates.count).toBe(marks.length);
    } else {
      expect(sorted(written.flat())).toEqual(sorted(marks));
      expect(duplicates.count).toBe(repeated.length);
    }

    for (const [index, split] of SPLITS.entries()) {
      if (written[index]!.length === 0) continue;
      const data = await checkRows(config, split, written[index]!);
      seen.dropped += data.report.dropped.length;
      seen.truncated += data.report.truncated;
      const packedTo = config.model.max_seq_len;
      const packed = packRows(data.rows, packedTo);
      seen.packed += data.rows.length - packed.length;
      for (const shuffle of [true, false]) {
        const options = { ...batch, shuffle };
        seen.steps += checkBatches(data.rows, packed, { ...options, rows: packed.length, packedTo });
        seen.steps += checkBatches(
          data.rows,
          data.rows.map((row) => [row]),
          { ...options, rows: data.rows.length },
        );
      }
    }
    seen.rows += rows;
    seen.duplicates += duplicates.count;
    if (dropDuplicates) seen.leftOut += duplicates.count;
  });

  it('all of that has happened', () => {
    expect(
      Object.values(seen).every((count) => count > 30),
      JSON.stringify(seen),
    ).toBe(true);
  });
});
