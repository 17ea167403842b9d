/**
 * Reading, tokenising and packing of rows, each against Hugging Face's libraries on the same files. Word problems of GSM8K
 * where they are, else made ones. The embedded tokenizer, and that of Qwen2.5 where `npm run test:oracle` has fetched it.
 *
 * Speed is by CPU second of the whole process, threads included: other load hardly moves it.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { tokenizersFolder } from '../scripts/tokenizers.mjs';
import { packLengths } from '../src/data/packing.ts';
import { readRecords } from '../src/data/records.ts';
import { type Row, readRows } from '../src/data/rows.ts';
import { loadChatTemplate } from '../src/data/template.ts';
import { tokenizeRow } from '../src/data/tokenize.ts';
import { loadTokenizer } from '../src/data/tokenizer.ts';
import { openFile, openFolder } from '../src/platform/node.ts';
import { randomStream } from '../src/platform/random.ts';
import { median, type Result } from './measure.ts';
import { Reference, type Timing } from './reference.ts';

const GSM8K = '../shared/data/gsm8k/train.jsonl';
/** Rows are read so many times over, that a reading takes some tenths of a second. */
const COPIES = 4;
const MAX_LENGTH = 1024;
const ROUNDS = 3;

interface Problem {
  readonly question: string;
  readonly answer: string;
}

async function problems(): Promise<Problem[]> {
  if (existsSync(GSM8K)) {
    const lines = (await readFile(GSM8K, 'utf8')).trimEnd().split('\n');
    return lines.map((line) => JSON.parse(line) as Problem);
  }
  const next = randomStream(1, 0);
  const words = Array.from({ length: 4000 }, () => next().toString(36).replaceAll(/\d/g, ''));
  const text = (most: number) =>
    Array.from({ length: most / 2 + (next() % most) }, () => words[Math.min(next() % 4000, next() % 4000)]!).join(' ');
  return Array.from({ length: 7000 }, () => ({
    question: `${text(45)}?`,
    answer: `${text(50)}\n#### ${next() % 1000}`,
  }));
}

async function timed(run: () => number | Promise<number>): Promise<Timing> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const count = await run();
  const { user, system } = process.cpuUsage(cpu);
  return { count, cpu: (user + system) / 1e6, clock: (performance.now() - start) / 1000 };
}

/** Both sides in turn, once to warm up. Without a reference, ours alone. */
async function compare(
  name: string,
  what: 'rows' | 'tokens',
  ours: () => number | Promise<number>,
  reference: (() => Promise<Timing>) | null,
  note: string,
): Promise<Result> {
  const pairs: [Timing, Timing | null][] = [];
  for (let round = 0; round <= ROUNDS; round++) pairs.push([await timed(ours), reference && (await reference())]);
  const [[first, theirs]] = pairs as [[Timing, Timing | null]];
  if (theirs && theirs.count !== first.count) {
    throw new Error(`${name}: ${first.count} ${what} here and ${theirs.count} there: not the same work`);
  }
  const measured = pairs.slice(1);
  const ratio = (by: 'cpu' | 'clock') => median(measured.flatMap(([a, b]) => (b ? b[by] / a[by] : [])));
  const speed = (timings: readonly (Timing | null)[]) => median(timings.flatMap((t) => (t ? t.count / t.cpu : [])));
  return {
    name,
    ours: speed(measured.map(([a]) => a)),
    reference: reference && speed(measured.map(([, b]) => b)),
    ratio: reference && ratio('cpu'),
    unit: `${what} per CPU second`,
    note: reference
      ? `reference: ${note}; by the clock ${ratio('clock').toFixed(2)}`
      : 'no reference: npm run test:oracle makes its Python',
  };
}

async function count(rows: AsyncIterable<unknown>): Promise<number> {
  let number = 0;
  for await (const _ of rows) number += 1;
  return number;
}

export async function* benchData(): AsyncGenerator<Result> {
  const reference = Reference.open();
  const folder = await mkdtemp(join(tmpdir(), 'sft-bench-'));
  const ask = (...task: (string | number)[]) => (reference ? () => reference.ask(...task) : null);
  try {
    const once = await problems();
    const jsonl = (list: readonly Problem[]) => list.map((row) => `${JSON.stringify(row)}\n`).join('');
    const cell = (text: string) => `"${text.replaceAll('"', '""')}"`;
    const many = Array.from({ length: COPIES }, () => once).flat();
    const columns = (['question', 'answer'] as const).map((name) => ({ name, data: many.map((row) => row[name]) }));
    const files = {
      json: jsonl(many),
      csv: `question,answer\n${many.map(({ question, answer }) => `${cell(question)},${cell(answer)}\n`).join('')}`,
      parquet: new Uint8Array(parquetWriteBuffer({ columnData: columns })),
    };
    for (const [kind, content] of Object.entries(files)) {
      const path = join(folder, kind === 'json' ? 'rows.jsonl' : `rows.${kind}`);
      await writeFile(path, content);
      const read = (reader: typeof readRecords | typeof readRows) => async () => {
        const source = await openFile(path);
        try {
          return await count(reader(source));
        } finally {
          await source.close();
        }
      };
      yield await compare(`read ${kind}`, 'rows', read(readRecords), ask('read', path, kind), 'datasets, streaming');
      const chats = ask('read', path, kind, 1);
      yield await compare(`read ${kind}, into chats`, 'rows', read(readRows), chats, 'datasets, streaming, map');
    }

    const path = join(folder, 'once.jsonl');
    await writeFile(path, jsonl(once));
    const models = { 'tiny-llama': 'assets/tiny-llama', 'Qwen2.5': join(tokenizersFolder, 'qwen2_5') };
    for (const [model, where] of Object.entries(models)) if (existsSync(where)) yield* benchTokens(model, where, path);

    const next = randomStream(2, 0);
    const lengths = Array.from({ length: 20_000 }, () => 20 + (next() % 400));
    const lengthsPath = join(folder, 'lengths.json');
    await writeFile(lengthsPath, JSON.stringify(lengths));
    const pack = () => packLengths(lengths, MAX_LENGTH).flat().length;
    yield await compare('pack', 'rows', pack, ask('pack', lengthsPath, MAX_LENGTH), 'TRL pack_dataset, bfd');
  } finally {
    reference?.close();
    await rm(folder, { recursive: true });
  }

  async function* benchTokens(model: string, where: string, path: string): AsyncGenerator<Result> {
    const modelFolder = await openFolder(where);
    const tokenizer = await loadTokenizer(modelFolder);
    const template = await loadChatTemplate(modelFolder, tokenizer.namedTokens);
    const source = await openFile(path);
    const rows: Row[] = [];
    for await (const row of readRows(source)) rows.push(row);
    await source.close();
    const texts = rows.map((row) => (row.kind === 'chat' ? row.messages : []).map(({ content }) => content).join('\n'));
    const bare = () => texts.reduce((sum, text) => sum + tokenizer.encode(text).ids.length, 0);
    yield await compare(`tokenise ${model}`, 'tokens', bare, ask('tokenize', path, where), 'tokenizers, encode_batch');

    const options = { tokenizer, template, trainOn: 'assistant', maxSeqLen: 1 << 20, truncation: 'error' } as const;
    const chat = () => {
      return rows.reduce((sum, row, number) => {
        const result = tokenizeRow(row, number, options);
        return sum + ('inputIds' in result ? result.inputIds.length : 0);
      }, 0);
    };
    const note = 'datasets map, apply_chat_template of prompt and row';
    yield await compare(`tokenise ${model}, template and mask`, 'tokens', chat, ask('chat', path, where), note);
  }
}
