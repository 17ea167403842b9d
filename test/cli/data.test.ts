/** `process`, `style` and `render`, as they are typed. */
import type { ChildProcess } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { makeTinyModel, sums } from '../fixtures.ts';
import { listFiles, runCli, useCli } from './cli.ts';

const folder = useCli();
const at = (...parts: string[]) => join(folder(), ...parts);
const read = (cwd: string, path: string) =>
  readFileSync(join(cwd, path), 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);

beforeAll(async () => {
  await makeTinyModel(at('model'));
});

let made = 0;
/** A folder with a config and raw files. */
function project(raw: Readonly<Record<string, string>>, config: Record<string, unknown> = {}): string {
  made += 1;
  const cwd = at(`project${made}`);
  mkdirSync(join(cwd, 'data/raw'), { recursive: true });
  for (const [name, text] of Object.entries(raw)) writeFileSync(join(cwd, 'data/raw', name), text);
  writeFileSync(join(cwd, 'run.yaml'), stringify({ model: { name: at('model') }, ...config }));
  return cwd;
}

const lines = (...rows: unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

describe('process', () => {
  test('shares every row out, the same for the same seed', async () => {
    const cwd = project({ 'a.jsonl': sums(25), 'b.json': JSON.stringify([{ text: 'only text', source: 'b' }]) });
    const files = () => ['train', 'val', 'test'].map((split) => read(cwd, `data/processed/${split}.jsonl`));
    const first = await runCli(['process', 'run.yaml'], { cwd });
    expect(first.stderr).toContain('read 26 rows of data/raw: 25 × qa, 1 × text');
    expect(first).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^train +21 +data\/processed\/train\.jsonl\nval/),
    });
    const splits = files();
    expect(splits.map(({ length }) => length)).toEqual([21, 3, 2]);
    const all = splits.flat().map((row) => JSON.stringify(row));
    expect(new Set(all).size).toBe(26);
    expect(all).toContain('{"system":"","user":"What is 0 + 0?","assistant":"It is 0."}');
    expect(all).toContain('{"text":"only text","source":"b"}');

    await runCli(['process', 'run.yaml'], { cwd });
    expect(files()).toEqual(splits);
    await runCli(['process', 'run.yaml', '--set', 'train.seed=1'], { cwd });
    expect(files()).not.toEqual(splits);
    expect(readdirSync(join(cwd, 'data/processed')).sort()).toEqual(['test.jsonl', 'train.jsonl', 'val.jsonl']);
  });

  test('names empty rows and duplicates across splits, and leaves those out on request', async () => {
    const same = { question: 'Same?', answer: 'Same.' };
    const cwd = project({
      'a.jsonl': lines({ ...same, source: 'x' }, { question: 'Empty?', answer: ' ' }, same, same, same),
    });
    const { stderr, stdout } = await runCli(['process', 'run.yaml', '--json', '--set', 'data.split=[0.4,0.4,0.2]'], {
      cwd,
    });
    const report = JSON.parse(stdout);
    expect(report.empty).toEqual({ count: 1, first: ['data/raw/a.jsonl:2'] });
    expect(stderr).toContain('1 row with an empty question or answer, kept: data/raw/a.jsonl:2\n');
    expect(report.rows).toBe(5);
    const train = read(cwd, 'data/processed/train.jsonl').filter(({ user }) => user === 'Same?').length;
    expect(report.duplicates).toMatchObject({ count: 4 - train, dropped: false });
    expect(stderr).toContain(`${4 - train} rows of val and test that an earlier split has too`);

    const args = ['process', 'run.yaml', '--json', '--drop-duplicates', '--set', 'data.split=[0.4,0.4,0.2]'];
    const dropped = JSON.parse((await runCli(args, { cwd })).stdout);
    expect(dropped.duplicates).toMatchObject({ count: 4 - train, dropped: true });
    const left = dropped.splits.reduce((sum: number, { rows }: { rows: number }) => sum + rows, 0);
    expect(left).toBe(5 - (4 - train));
  });

  test('a split without rows has no file, and a former one goes', async () => {
    const cwd = project({ 'a.jsonl': sums(20) });
    await runCli(['process', 'run.yaml'], { cwd });
    const { code } = await runCli(['process', 'run.yaml', '--set', 'data.split=[0.9,0.1,0]'], { cwd });
    expect(code).toBe(0);
    expect(readdirSync(join(cwd, 'data/processed')).sort()).toEqual(['train.jsonl', 'val.jsonl']);
  });

  test('columns and format are those of the raw files, also when the results are read', async () => {
    const raw = Array.from({ length: 10 }, (_, i) => ({ Frage: `F${i}`, Antwort: `A${i}`, Quelle: 'q' }));
    const columns = { instruction: 'Frage', output: 'Antwort', source: 'Quelle' };
    const cwd = project({ 'a.jsonl': lines(...raw) }, { data: { format: 'alpaca', columns } });
    expect((await runCli(['process', 'run.yaml'], { cwd })).code).toBe(0);
    const [row] = read(cwd, 'data/processed/val.jsonl');
    expect(row).toEqual({ system: '', user: expect.stringMatching(/^F/), assistant: expect.any(String), source: 'q' });
    expect((await runCli(['render', 'run.yaml', '--split', 'val'], { cwd })).stderr).toBe('');
    expect(read(cwd, 'data/rendered/val.jsonl')).toEqual([{ input: expect.any(String), target: row!.assistant }]);
  });

  test('names rows that are too long for the model, with the style that they get', async () => {
    const long = { question: 'Why?', answer: 'the text is the answer '.repeat(30) };
    const config = { model: { name: at('model'), max_seq_len: 64 } };
    const cwd = project({ 'a.jsonl': lines({ question: 'a', answer: 'b' }, long) }, config);
    const report = async (...args: string[]) =>
      JSON.parse((await runCli(['process', 'run.yaml', '--json', ...args], { cwd })).stdout);
    expect(await report()).toMatchObject({
      shapes: { qa: 2 },
      tooLong: { count: 1, first: ['data/raw/a.jsonl:2'] },
      notMeasured: null,
    });
    expect(await report('--set', `data.style=${'Be brief. '.repeat(30)}`)).toMatchObject({ tooLong: { count: 2 } });
    expect(read(cwd, 'data/processed/train.jsonl')[0]).toHaveProperty('system', '');
    const { stderr } = await runCli(['process', 'run.yaml'], { cwd });
    expect(stderr).toContain('1 row with more tokens than model.max_seq_len, kept (');
    const unknown = await report('--set', 'model.name=nowhere');
    expect(unknown).toMatchObject({ tooLong: null, notMeasured: expect.stringContaining('nowhere') });
  });

  test('documents become chunks, which stay what they are when they are trained', async () => {
    const book = Array.from({ length: 40 }, (_, i) => `The answer is ${i}. How are you today?`).join('\n\n');
    const config = {
      model: { name: at('model'), max_seq_len: 64 },
      data: { format: 'documents', documents: { overlap_tokens: 8 } },
    };
    const cwd = project({ 'book.txt': book, 'notes.md': '# Notes\n\nI am fine.', 'qa.jsonl': sums(10) }, config);
    const { code, stderr } = await runCli(['process', 'run.yaml'], { cwd });
    const splits = ['train', 'val', 'test'].map((split) => read(cwd, `data/processed/${split}.jsonl`));
    const rows = splits.flat();
    const chunks = rows.filter(({ source }) => source === 'book.txt').map(({ text }) => String(text));
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringContaining(
        `read 12 rows of data/raw: 10 × qa, 2 × documents; documents make ${chunks.length + 1} chunks, ${rows.length} rows in all\n`,
      ),
    });
    expect(chunks.length).toBeGreaterThan(5);
    expect(splits[0]!.length).toBe(Math.round(rows.length * 0.8));
    expect(rows).toContainEqual({ text: '# Notes\n\nI am fine.', source: 'notes.md' });
    const inText = chunks.map((chunk) => book.indexOf(chunk));
    expect(inText.every((place) => place >= 0)).toBe(true);
    const ofTrain = inText.slice(0, splits[0]!.filter(({ source }) => source === 'book.txt').length);
    expect(ofTrain).toEqual(ofTrain.toSorted((a, b) => a - b));

    const inspected = (await runCli(['inspect', 'run.yaml', '--json'], { cwd })).stdout.trimEnd().split('\n');
    expect(inspected.length).toBe(splits[0]!.length);
    const first = splits[0]!.findIndex(({ source }) => source === 'book.txt');
    const seen = JSON.parse(inspected[first]!) as { text: string; truncated: boolean };
    expect(seen).toMatchObject({ text: `${String(splits[0]![first]!.text)}<|im_end|>`, truncated: false });
  });

  test('a model without a chat template takes chat_templates/default.jinja, where there is one', async () => {
    const cwd = project({ 'a.jsonl': sums(1) }, { data: { train_path: 'data/raw/a.jsonl' } });
    cpSync(at('model'), join(cwd, 'bare'), { recursive: true });
    rmSync(join(cwd, 'bare/chat_template.jinja'));
    const args = ['inspect', 'run.yaml', '--json', '--set', 'model.name=bare'];
    const none = await runCli(args, { cwd });
    expect(none.code).toBe(2);
    expect(none.stderr).toMatch(/^error\[TEMPLATE\]: .*expected a chat template for a chat row, got none/);
    expect(none.stderr).toContain('chat_templates/default.jinja');

    mkdirSync(join(cwd, 'chat_templates'));
    cpSync(new URL('../../assets/default.jinja', import.meta.url), join(cwd, 'chat_templates/default.jinja'));
    const { text, spans } = JSON.parse((await runCli(args, { cwd })).stdout) as { text: string; spans: number[][] };
    expect(text).toBe('<|begin|>### User:\nWhat is 0 + 0?\n\n### Assistant:\nIt is 0.<|im_end|>\n\n');
    expect(spans.map(([start, end]) => text.slice(start, end))).toEqual(['It is 0.<|im_end|>']);
    // The model's own comes first.
    expect((await runCli(args.slice(0, 3), { cwd })).stdout).toContain('<|im_start|>user');
  });

  test('a prompt template makes the rows, once', async () => {
    const config = { data: { prompt_template: 'System: Count.\nUser: {question}\nAssistant: So: {answer}\n' } };
    const cwd = project({ 'a.jsonl': sums(10) }, config);
    const { stderr } = await runCli(['process', 'run.yaml'], { cwd });
    expect(stderr).toContain('read 10 rows of data/raw: 10 × prompt_template\n');
    const [row] = read(cwd, 'data/processed/val.jsonl');
    expect(row).toEqual({
      system: 'Count.',
      user: expect.stringMatching(/^What/),
      assistant: expect.stringMatching(/^So: It/),
    });
    const target = row!.assistant;
    await runCli(['render', 'run.yaml', '--split', 'val'], { cwd });
    expect(read(cwd, 'data/rendered/val.jsonl')).toMatchObject([{ target }]);
    const raw = ['inspect', 'run.yaml', '--json', '--set', 'data.train_path=data/raw/a.jsonl'];
    expect((await runCli(raw, { cwd })).stdout).toContain('<|im_start|>assistant\\nSo: It is 0.<|im_end|>');
  });

  test('rows of different kinds say where they come from, so that they can be told apart again', async () => {
    const raw = {
      'a.jsonl': sums(8),
      'b.jsonl': lines({ prompt: 'P', completion: 'C' }, { prompt: 'Q', completion: 'D' }),
    };
    const cwd = project(raw, { data: { split: [1, 0, 0] } });
    expect((await runCli(['process', 'run.yaml'], { cwd })).code).toBe(0);
    const rows = read(cwd, 'data/processed/train.jsonl');
    expect(rows.map(({ source }) => source)).toEqual([...Array(8).fill('a.jsonl'), 'b.jsonl', 'b.jsonl']);
    expect((await runCli(['inspect', 'run.yaml', '--row', '9', '--json'], { cwd })).code).toBe(0);
  });

  test('needs no config and no model', async () => {
    const cwd = project({ 'a.jsonl': sums(10) });
    const { code, stdout } = await runCli(['process', '--set', 'data.raw_path=data/raw/a.jsonl', '--quiet'], { cwd });
    expect({ code, rows: stdout.match(/\d+/g) }).toEqual({ code: 0, rows: ['8', '1', '1'] });
  });

  test.each<[string, Record<string, string>, Record<string, unknown>, RegExp]>([
    ['a bad row', { 'a.jsonl': `${sums(30)}{"question": 1}\n` }, {}, /^error\[DATA\]: data\/raw\/a\.jsonl:31: /],
    ['no raw files', {}, {}, /^error\[DATA\]: .*data\/raw/],
    ['a missing raw path', {}, { raw_path: 'nowhere' }, /^error\[DATA\]: data\.raw_path: nowhere/],
    ['results in the raw folder', { 'a.jsonl': sums(9) }, { raw_path: 'data' }, /^error\[CONFIG\]: data\.train_path: /],
    ['rows for no file', { 'a.jsonl': sums(10) }, { test_path: null }, /^error\[CONFIG\]: data\.test_path: .* 1 rows/],
    [
      'two splits in one file',
      { 'a.jsonl': sums(10) },
      { val_path: 'x.jsonl', test_path: './x.jsonl' },
      /^error\[CONFIG\]: data\.test_path: /,
    ],
  ])('%s: nothing is written', async (_name, raw, data, says) => {
    const cwd = project(raw, { data });
    const before = listFiles(cwd);
    const { code, stderr } = await runCli(['process', 'run.yaml'], { cwd });
    expect(stderr).toMatch(says);
    expect(stderr.trimEnd().split('\n').at(-1)).toMatch(/^(hint|error)/);
    expect({ code, files: listFiles(cwd) }).toEqual({ code: 2, files: before });
  });

  test('stopped or killed: nothing, or all of it', async () => {
    const cwd = project({ 'a.jsonl': sums(20_000) });
    const stopAt = async (signal: NodeJS.Signals, milliseconds: number) => {
      let timer: NodeJS.Timeout | undefined;
      const args = ['process', 'run.yaml'];
      const onStart = (child: ChildProcess) => {
        timer = setTimeout(() => child.kill(signal), milliseconds);
      };
      return runCli(args, { cwd, onStart }).finally(() => clearTimeout(timer));
    };
    const splits = () => listFiles(cwd).filter((path) => /processed\/\w+\.jsonl /.test(path)).length;
    for (const milliseconds of [400, 600, 900]) {
      await stopAt('SIGKILL', milliseconds);
      expect([0, 3]).toContain(splits());
      rmSync(join(cwd, 'data/processed'), { recursive: true, force: true });
      const { code, stderr } = await stopAt('SIGINT', milliseconds);
      if (code === 130 && stderr !== '')
        expect(stderr).toContain('error[INTERRUPTED]: stopped before the end; nothing was');
      expect([0, 3]).toContain(splits());
      rmSync(join(cwd, 'data/processed'), { recursive: true, force: true });
    }
    expect((await runCli(['process', 'run.yaml'], { cwd })).code).toBe(0);
    expect(splits()).toBe(3);
  });

  test('a folder in the place of a split is not replaced', async () => {
    const cwd = project({ 'a.jsonl': sums(10) }, { data: { train_path: 'mine' } });
    mkdirSync(join(cwd, 'mine'));
    writeFileSync(join(cwd, 'mine/rows.jsonl'), sums(3));
    const before = listFiles(cwd);
    const { code, stderr } = await runCli(['process', 'run.yaml'], { cwd });
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(/^error\[CONFIG\]: data\.train_path: /),
    });
    expect(listFiles(cwd)).toEqual(before);
  });

  test('a failure after a success keeps the former splits', async () => {
    const cwd = project({ 'a.jsonl': sums(10) });
    await runCli(['process', 'run.yaml'], { cwd });
    writeFileSync(join(cwd, 'data/raw/b.jsonl'), '{"a": \n');
    const before = listFiles(cwd);
    expect((await runCli(['process', 'run.yaml'], { cwd })).code).toBe(2);
    expect(listFiles(cwd)).toEqual(before);
  });
});

describe('style', () => {
  const rows = lines(
    { system: 'Old.', user: 'a', assistant: 'b' },
    {
      messages: [
        { role: 'user', content: 'c' },
        { role: 'assistant', content: 'd' },
        { role: 'user', content: 'e' },
        { role: 'assistant', content: 'f' },
      ],
    },
  );
  const texts = lines({ text: 'plain', source: 'a' });

  test('injects and replaces the system prompt of every split, and leaves the originals', async () => {
    const cwd = project({ 'a.jsonl': rows.repeat(10), 'b.jsonl': texts.repeat(10) });
    await runCli(['process', 'run.yaml'], { cwd });
    const before = listFiles(join(cwd, 'data/processed'));
    const { code, stdout, stderr } = await runCli(['style', 'run.yaml', '--style', 'Be brief.'], { cwd });
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('10 rows without roles') });
    expect(stdout).toContain('data/processed_with_style/train.jsonl: 24 rows of data/processed/train.jsonl\n');
    expect(listFiles(join(cwd, 'data/processed'))).toEqual(before);
    for (const split of ['train', 'val', 'test']) {
      const plain = read(cwd, `data/processed/${split}.jsonl`);
      const styled = plain.map((row) => {
        if ('user' in row) return { ...row, system: 'Be brief.' };
        if (!('messages' in row)) return row;
        return { messages: [{ role: 'system', content: 'Be brief.' }, ...(row.messages as unknown[])] };
      });
      expect(read(cwd, `data/processed_with_style/${split}.jsonl`)).toEqual(styled);
    }
  });

  test('of one file, without a config', async () => {
    const cwd = project({ 'a.jsonl': rows });
    const args = ['style', '--style', 'Be brief.', '--in', 'data/raw/a.jsonl'];
    expect((await runCli(args, { cwd })).code).toBe(0);
    expect((await runCli([...args, '--out', 'other/b.jsonl'], { cwd })).code).toBe(0);
    for (const path of ['data/processed_with_style/a.jsonl', 'other/b.jsonl']) {
      expect(read(cwd, path)[0]).toEqual({ system: 'Be brief.', user: 'a', assistant: 'b' });
    }
  });

  test.each<[string, string[]]>([
    ['no style', ['--in', 'data/raw/a.jsonl']],
    ['out without in', ['--style', 'x', '--out', 'b.jsonl']],
    ['the original as the copy', ['--style', 'x', '--in', 'data/raw/a.jsonl', '--out', './data/raw/a.jsonl']],
  ])('%s is refused', async (_name, args) => {
    const cwd = project({ 'a.jsonl': rows });
    const before = listFiles(cwd);
    const { code, stderr } = await runCli(['style', ...args], { cwd });
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/^error\[ARGUMENT\]: .*\nhint: .*\n$/) });
    expect(listFiles(cwd)).toEqual(before);
  });
});

describe('render', () => {
  test('writes input and target', async () => {
    const turns = ['Hi', 'Hello', 'And?', 'Bye'].map((content, i) => ({ role: i % 2 ? 'assistant' : 'user', content }));
    const raw = {
      'a.jsonl': lines({ messages: turns }),
      'b.jsonl': lines({ prompt: 'p', completion: 'c' }),
      'c.txt': 't',
    };
    const cwd = project(raw, { data: { train_path: 'data/raw', val_path: null, style: 'S' } });
    const { code, stdout } = await runCli(['render', 'run.yaml'], { cwd });
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'data/rendered/train.jsonl: 3 rows of data/raw\n' });
    const turn = (role: string, text: string) => `<|im_start|>${role}\n${text}<|im_end|>\n`;
    expect(read(cwd, 'data/rendered/train.jsonl')).toEqual([
      {
        input: `${turn('system', 'S')}${turn('user', 'Hi')}${turn('assistant', 'Hello')}${turn('user', 'And?')}<|im_start|>assistant\n`,
        target: 'Bye',
      },
      { input: 'p', target: 'c' },
      { input: '', target: 't' },
    ]);
  });

  test('one split, which must be there', async () => {
    const cwd = project({ 'a.jsonl': sums(10) });
    await runCli(['process', 'run.yaml'], { cwd });
    expect((await runCli(['render', 'run.yaml', '--split', 'test'], { cwd })).code).toBe(0);
    expect(readdirSync(join(cwd, 'data/rendered'))).toEqual(['test.jsonl']);
    const { code, stderr } = await runCli(['render', 'run.yaml', '--split', 'val', '--set', 'data.val_path=null'], {
      cwd,
    });
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringContaining('data.val_path: expected a file of rows'),
    });
  });
});
