/** `process`, `style` and `render`, as they are typed. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
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
    expect(first.stderr).toContain('read 26 rows of data/raw: 25 × single-turn chat, 1 × text');
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
    { text: 'plain' },
  );

  test('injects and replaces the system prompt of every split, and leaves the originals', async () => {
    const cwd = project({ 'a.jsonl': rows.repeat(10) });
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
    const raw = lines({ messages: turns }, { prompt: 'p', completion: 'c' }, { text: 't' });
    const cwd = project({ 'a.jsonl': raw }, { data: { train_path: 'data/raw', val_path: null, style: 'S' } });
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
