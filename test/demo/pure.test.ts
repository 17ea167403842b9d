/** What the page works out before it asks the engine for anything. */
import { describe, expect, test } from 'vitest';
import { changeOf, configOf, defaultNumber, settingsIn, withKeys } from '../../demo/src/state/config.ts';
import { formatOf } from '../../demo/src/state/pasted.ts';
import { formatRecipe, localName, parseRecipe, readModel } from '../../demo/src/state/recipe.ts';
import { spellTokens } from '../../demo/src/state/spelling.ts';
import { inPageWords } from '../../demo/src/state/wording.ts';
import { bytes, duration, memory } from '../../demo/src/text.ts';
import type { StoredData, StoredModel } from '../../src/index.ts';

describe('recipes', () => {
  test.each([
    ['', ''],
    ['?model=embedded', 'data=sample'],
    ['?adapter=low-power', 'model=org/name&method=full&steps=3&rate=0.001'],
    ['', 'model=https://host:8080/a/folder/&method=qlora&rank=4&length=64&memory=1.5'],
    ['', 'set=train.seed:7&set=model.dtype:float32'],
  ])('%s#%s comes back as it was', (search, hash) => {
    expect(formatRecipe(parseRecipe(search, `#${hash}`), search)).toBe(hash);
  });

  test('the hash says more than the query', () => {
    expect(parseRecipe('?model=a/b', '').model).toBe('a/b');
    expect(parseRecipe('?model=a/b', '#model=c/d').model).toBe('c/d');
  });

  test('what makes no sense is left out', () => {
    const read = parseRecipe('', '#method=magic&steps=-1&rank=1.5&rate=2&adapter=x');
    expect(formatRecipe(read, '')).toBe('');
  });

  test.each([
    'logging.backend:trackio',
    'output_dir:x',
    'data.train_path:x',
    'model.name:x',
    'train.__proto__.x:1',
    '__proto__.x:1',
  ])('a link cannot set %s', (line) => {
    expect(parseRecipe('', `#set=${encodeURIComponent(line)}`).keys).toEqual({});
  });

  test('a folder of this computer stays on it', () => {
    expect(formatRecipe({ ...parseRecipe('', ''), model: localName('secret') }, '')).toBe('');
  });
});

test.each([
  [' org/name ', 'org/name'],
  ['', 'embedded'],
  ['https://huggingface.co/org/name', 'org/name'],
  ['https://huggingface.co/org/name/tree/main', 'org/name'],
  ['https://huggingface.co/org/name/resolve/main/', 'https://huggingface.co/org/name/resolve/main/'],
  ['https://example.com/org/name', 'https://example.com/org/name'],
])('the model %j is %s', (written, name) => {
  expect(readModel(written)).toBe(name);
});

test.each([
  ['models/x1: too large', 'Org/Name: too large'],
  ['data/1b-2c/processed/val.jsonl:7: no trained token', 'row 7 of those to check on the way: no trained token'],
  ['set HF_TOKEN to a token that may read it', 'enter below a token that may read it'],
  [
    'free some storage in the settings of the browser, or on the disk',
    'clear the storage at the end of this page, in the settings of the browser, or on the disk',
  ],
  ['look at a row with `webgpu-sft inspect --row 3`; set a longer one', 'set a longer one'],
])('%j is said here as %j', (said, told) => {
  expect(inPageWords(said, { path: 'models/x1', title: 'Org/Name' })).toBe(told);
});

describe('configurations', () => {
  const tiny = { path: 'models/tiny', parameters: 1e6, contextLength: 512 } as StoredModel;
  const large = { path: 'models/large', parameters: 1e9, contextLength: 8192 } as StoredModel;
  const data = {
    report: { splits: [{ split: 'train', path: 'a', rows: 1000 }] },
    paths: { train_path: 'a', val_path: null, test_path: null },
  } as unknown as StoredData;

  test('small models take many small steps at a high rate, others as is usual', () => {
    const recipe = parseRecipe('', '');
    expect(configOf(recipe, tiny, data, 'o')).toMatchObject({
      model: { name: 'models/tiny', max_seq_len: 512 },
      train: { max_steps: 120, learning_rate: 5e-3, effective_batch_size: 4, eval_strategy: 'no' },
    });
    expect(configOf(recipe, large, data, 'o')).toMatchObject({
      model: { max_seq_len: 1024 },
      train: { max_steps: 188, learning_rate: 2e-4, effective_batch_size: 16 },
    });
    expect(defaultNumber('steps', 'lora', large, 20)).toBe(30);
    expect(defaultNumber('rate', 'full', large, 20)).toBe(2e-5);
  });

  test('keys are set as in a file, and never on what all objects share', () => {
    const keys = { 'train.seed': '7', 'tuning.lora.target_modules': 'auto', 'tuning.constructor.x': '1' };
    const config = withKeys({ train: { max_steps: 1 } }, keys);
    expect(config).toMatchObject({ train: { max_steps: 1, seed: 7 }, tuning: { lora: { target_modules: 'auto' } } });
    expect(({}.constructor as { x?: unknown }).x).toBeUndefined();
  });

  test('hints become changes of the recipe', () => {
    const hint =
      'set train.batch_size: 8 and train.gradient_accumulation_steps: 2 and tuning.mode: qlora and tuning.lora.r: 8';
    expect(changeOf(settingsIn(hint), parseRecipe('', '#set=train.seed:7'))).toEqual({
      method: 'qlora',
      rank: 8,
      keys: { 'train.seed': '7', 'train.batch_size': '8', 'train.gradient_accumulation_steps': '2' },
    });
    expect(settingsIn('use a smaller model: no setting makes this one fit')).toEqual([]);
  });
});

describe('pasted text', () => {
  test.each([
    ['[{"a": 1}]', 'json'],
    ['{"a": 1}\n{"a": 2}', 'jsonl'],
    ['{"a": 1}', 'jsonl'],
    ['{\n  "a": 1\n}', 'json'],
    ['question,answer\nWho?,Me.', 'csv'],
    ['question\tanswer\nWho?\tMe.', 'tsv'],
    ['Well, this is a sentence. It goes on.', 'txt'],
    ['Once upon a time', 'txt'],
  ] as const)('%j is %s', (text, format) => {
    expect(formatOf(text)).toBe(format);
  });
});

describe('tokens', () => {
  test('of byte-level vocabularies', () => {
    expect(spellTokens(['<|user|>', 'Hello', 'Ġworld', 'Ċ', 'Ã¼', 'Ã'])).toEqual([
      '<|user|>',
      'Hello',
      ' world',
      '\n',
      'ü',
      '\uFFFD',
    ]);
  });

  test('of others', () => {
    expect(spellTokens(['<s>', '▁Hello', '▁wörld', '!'])).toEqual(['<s>', ' Hello', ' wörld', '!']);
  });
});

test('numbers are written as people write them', () => {
  expect([bytes(0), bytes(999), bytes(1_500), bytes(123_456_789)]).toEqual(['0 B', '999 B', '1.50 kB', '123 MB']);
  expect([memory(2 ** 20), memory(2 ** 30)]).toEqual(['1.0 MiB', '1.00 GiB']);
  expect([duration(4.4), duration(64), duration(3700)]).toEqual(['4 s', '1 min 4 s', '1 h 1 min']);
});
