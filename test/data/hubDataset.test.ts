/** Which files of a data set on a hub hold which rows. */
import { describe, expect, it, test } from 'vitest';
import { chooseFiles, type DatasetSplit, parseDatasetName } from '../../src/data/hubDataset.ts';

const choose = (text: string, paths: string[], readme: string | null = null, split: DatasetSplit = 'train') =>
  chooseFiles(parseDatasetName(text)!, paths, readme, split);
const files = (...args: Parameters<typeof choose>) => choose(...args).files;
const card = (yaml: string) => `---\nlicense: mit\n${yaml}\n---\n# Data`;

describe('names', () => {
  it.each([
    ['openai/gsm8k', 'openai/gsm8k', [], 'main'],
    ['openai/gsm8k/socratic', 'openai/gsm8k', ['socratic'], 'main'],
    ['org/set-v1.5/en/test@v1.0', 'org/set-v1.5', ['en', 'test'], 'v1.0'],
    ['org/set@refs/convert/parquet', 'org/set', [], 'refs/convert/parquet'],
  ])('%s', (text, id, parts, revision) => {
    expect(parseDatasetName(text)).toEqual({ id, parts, revision });
  });

  it.each([
    'rows.jsonl',
    'data/train.jsonl',
    'data/processed/train.csv.gz',
    'gsm8k',
    '/data/raw',
    '../up/here',
    'a/b/../c',
    'a/b/c/d/e',
    'org/set@',
    'C:/data',
    'a//b',
  ])('%s is a path', (text) => {
    expect(parseDatasetName(text)).toBeNull();
  });
});

describe('without a word in the README', () => {
  const SHARDS = [
    'data/train-00000-of-00002-ab.parquet',
    'data/train-00001-of-00002-cd.parquet',
    'data/test-00000-of-00001.parquet',
  ];

  test('the names of files and folders say the split', () => {
    expect(files('o/n', [...SHARDS, 'README.md', '.gitattributes'])).toEqual(SHARDS.slice(0, 2));
    expect(choose('o/n', SHARDS, null, 'test')).toEqual({ label: 'split test', files: [SHARDS[2]], warnings: [] });
    const loose = ['my_train.jsonl', 'dev.jsonl', 'Test Data/a.jsonl', 'test/b.jsonl', 'LICENSE', 'dataset_infos.json'];
    expect(files('o/n', loose)).toEqual(['my_train.jsonl']);
    expect(files('o/n', loose, null, 'validation')).toEqual(['dev.jsonl']);
    expect(files('o/n', loose, null, 'test')).toEqual(['Test Data/a.jsonl', 'test/b.jsonl']);
  });

  test('all are training rows where no name says anything', () => {
    expect(choose('o/n', ['b.jsonl', 'a.jsonl', 'data-00000-of-00001.jsonl'])).toEqual({
      label: 'split train',
      files: ['a.jsonl', 'b.jsonl', 'data-00000-of-00001.jsonl'],
      warnings: [],
    });
    expect(files('o/n', ['book.txt', 'README.md'])).toEqual(['book.txt']);
  });

  test('what is left out is said', () => {
    const { files: found, warnings } = choose('o/n', [
      'train.csv',
      'train.parquet',
      'more.csv',
      'train.jsonl.zst',
      'notes.txt',
    ]);
    expect(found).toEqual(['train.parquet']);
    expect(warnings).toEqual([
      'o/n: left out, as the rows of split train are there as parquet too: train.csv',
      'o/n: left out, as their names say no split: more.csv',
      'o/n: left out, as they are no rows that can be read: notes.txt, train.jsonl.zst',
    ]);
  });

  test('several splits or configs that fit are the choice of a person', () => {
    const chat = ['data/train_sft-00000-of-00001.parquet', 'data/train_gen-00000-of-00001.parquet'];
    expect(() => choose('o/n', chat)).toThrow(
      'o/n: expected one split of train rows, got several: train_gen, train_sft',
    );
    expect(files('o/n/train_sft', chat)).toEqual([chat[0]]);
    const folders = ['en/train.jsonl', 'de/train.jsonl', 'de/test.jsonl'];
    expect(() => choose('o/n', folders)).toThrow('o/n: expected one of its configs (de, en), got none');
    expect(() => choose('o/n/fr', folders)).toThrow('(de, en), got "fr"');
    expect(choose('o/n/de', folders, null, 'test')).toMatchObject({
      label: 'config de, split test',
      files: ['de/test.jsonl'],
    });
    expect(files('o/n/de/test', folders)).toEqual(['de/test.jsonl']);
    // The branch with which the hub helps data sets that are a script.
    expect(files('o/n/en@refs/convert/parquet', ['en/train/0000.parquet', 'de/train/0000.parquet'])).toEqual([
      'en/train/0000.parquet',
    ]);
    // A folder beside rows is no config.
    expect(files('o/n', ['train.jsonl', 'extra/a.jsonl', 'other/b.jsonl'])).toEqual(['train.jsonl']);
    expect(files('o/n/extra', ['train.jsonl', 'extra/a.jsonl'])).toEqual(['extra/a.jsonl']);
  });

  test('what is not there is said with what is', () => {
    expect(() => choose('o/n', ['test.jsonl'])).toThrow('o/n: expected one split of train rows, got the splits test');
    expect(() => choose('o/n/odd', ['train.jsonl'])).toThrow(
      'o/n: expected a config or split that it has, got odd; it has the splits train',
    );
    expect(() => choose('o/n', ['a.arrow', 'README.md', '.gitattributes'])).toThrow(
      'o/n: expected files of rows, the data set has a.arrow, README.md',
    );
    expect(() => choose('o/n', ['.gitattributes'])).toThrow('the data set has nothing');
    expect(() => choose('o/n', ['n.py', 'dummy.zip'])).toThrow(
      expect.objectContaining({ code: 'DATA', hint: expect.stringContaining('o/n@refs/convert/parquet') }),
    );
  });
});

describe('the configs of a README', () => {
  const PATHS = [
    'README.md',
    'main/train-0.parquet',
    'main/test-0.parquet',
    'socratic/train-0.parquet',
    'other/all.parquet',
  ];
  const TWO = card(`configs:
- config_name: main
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: [main/test-*]
- config_name: socratic
  data_dir: socratic
`);

  test('decide, and one has to be chosen', () => {
    expect(() => choose('o/n', PATHS, TWO)).toThrow('o/n: expected one of its configs (main, socratic), got none');
    expect(choose('o/n/main', PATHS, TWO)).toEqual({
      label: 'config main, split train',
      files: ['main/train-0.parquet'],
      warnings: [],
    });
    expect(files('o/n/main', PATHS, TWO, 'test')).toEqual(['main/test-0.parquet']);
    expect(files('o/n/socratic', PATHS, TWO)).toEqual(['socratic/train-0.parquet']);
    expect(() => choose('o/n/main', PATHS, TWO, 'validation')).toThrow(
      'o/n/main: expected one split of validation rows, got the splits train, test',
    );
  });

  test('but for one that is marked, called default, or alone', () => {
    expect(files('o/n', PATHS, TWO.replace('data_dir: socratic', 'data_dir: socratic\n  default: true'))).toEqual([
      'socratic/train-0.parquet',
    ]);
    expect(files('o/n', PATHS, TWO.replace('config_name: main', 'config_name: default'))).toEqual([
      'main/train-0.parquet',
    ]);
    const alone = card('configs: [{config_name: x, data_files: {train: "**/train-?.parquet", whole: other/*}}]');
    expect(choose('o/n', PATHS, alone)).toMatchObject({
      label: 'split train',
      files: ['main/train-0.parquet', 'socratic/train-0.parquet'],
    });
    expect(files('o/n/whole', PATHS, alone)).toEqual(['other/all.parquet']);
  });

  test('patterns are those of a shell', () => {
    const matching = (pattern: string, paths: string[]) =>
      files('o/n', [...paths, 'z.jsonl'], card(`configs: [{config_name: a, data_files: ${JSON.stringify(pattern)}}]`));
    expect(matching('a/*.jsonl', ['a/x.jsonl', 'a/b/x.jsonl', 'xa/x.jsonl'])).toEqual(['a/x.jsonl']);
    expect(matching('**/x.jsonl', ['x.jsonl', 'a/b/x.jsonl', 'a/yx.jsonl'])).toEqual(['a/b/x.jsonl', 'x.jsonl']);
    expect(matching('x[0-1].jsonl', ['x0.jsonl', 'x2.jsonl'])).toEqual(['x0.jsonl']);
    expect(matching('./x(+).jsonl', ['x(+).jsonl', 'x.jsonl'])).toEqual(['x(+).jsonl']);
    expect(() => matching('none/*', ['x.jsonl'])).toThrow('got no split with files that can be read');
  });

  test('a README that cannot be read, or says nothing of it, changes nothing', () => {
    for (const readme of [
      '# Title',
      card(': : ['),
      card('configs: all'),
      card('configs: [1, {data_files: x}]'),
      '---\n',
    ]) {
      expect(files('o/n', ['train.jsonl'], readme), readme).toEqual(['train.jsonl']);
    }
  });
});
