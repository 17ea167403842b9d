/**
 * A data set of a hub by its name: which of its files hold the rows of a split. As in `datasets.load_dataset`: the `configs` of its README
 * decide, else the names of its files do. Where that leaves a choice, it is the person's.
 */
import { parse } from 'yaml';
import { SftError } from '../platform/errors.ts';
import { isHubId } from '../platform/hubConnection.ts';
import { extensionOf } from './bytes.ts';
import { isObject } from './files.ts';
import { isReadable } from './records.ts';

/** What a name says: `owner/name`, then a config or a split or both, then `@revision`. */
export interface DatasetName {
  readonly id: string;
  readonly parts: readonly string[];
  readonly revision: string;
}

export type DatasetSplit = 'train' | 'validation' | 'test';

export interface ChosenFiles {
  /** `config en, split train` as far as there is a choice. */
  readonly label: string;
  readonly files: readonly string[];
  /** Files of rows that are left out, and why. */
  readonly warnings: readonly string[];
}

/** The words that say what a file or folder holds, in the order in which they are looked for; those of `datasets`. */
const WORDS: Readonly<Record<DatasetSplit, readonly string[]>> = {
  train: ['train', 'training'],
  validation: ['validation', 'valid', 'dev', 'val'],
  test: ['test', 'testing', 'eval', 'evaluation'],
};

/** Formats of rows; where a split has its rows in several, the first one is taken. */
const FORMATS = ['parquet', 'jsonl', 'ndjson', 'json', 'csv', 'tsv'];

/** What describes a data set and looks like rows. */
const NO_ROWS = /(^|\/)(dataset_infos?|dataset_dict|state|config|package|tokenizer(_config)?)\.json$/;

/** The name of a file in a set of files: `train-00000-of-00004.parquet`. */
const SHARD = /([^/]+)-\d{5}-of-\d{5}[^/]*$/;

/** Splits by name, each with its files. */
type Splits = ReadonlyMap<string, readonly string[]>;

/** The data set that a text names, or null: what ends as a data file does, or has more parts, is a path. */
export function parseDatasetName(text: string): DatasetName | null {
  const at = text.indexOf('@');
  const [owner = '', name = '', ...parts] = (at === -1 ? text : text.slice(0, at)).split('/');
  const id = `${owner}/${name}`;
  const revision = at === -1 ? 'main' : text.slice(at + 1);
  if (!isHubId(id) || parts.length > 2 || revision === '' || isReadable(text)) return null;
  return parts.every((part) => /^\w[\w.+ -]*$/.test(part)) ? { id, parts, revision } : null;
}

/** Which files hold the rows that are asked for. `readme`: the text of its README.md, or null. Throws `DATA`. */
export function chooseFiles(
  name: DatasetName,
  paths: readonly string[],
  readme: string | null,
  wanted: DatasetSplit,
): ChosenFiles {
  const data = paths.filter(isData).sort();
  if (data.length === 0) throw noData(name, paths);
  const rows = data.filter((path) => FORMATS.includes(extensionOf({ name: path })));
  const read = rows.length > 0 ? rows : data;
  const { config, splits, rest } = chooseConfig(name, read, readme);
  const split = chooseSplit(name, splits, rest, config, wanted);
  const found = splits.get(split) ?? [];
  const format = FORMATS.find((one) => found.some((path) => extensionOf({ name: path }) === one));
  const files = format === undefined ? found : found.filter((path) => extensionOf({ name: path }) === format);
  const leftOut: [why: string, paths: readonly string[]][] = [
    [`the rows of split ${split} are there as ${format} too`, found.filter((path) => !files.includes(path))],
    ['their names say no split', splits.get(UNKNOWN) ?? []],
    [
      'they are no rows that can be read',
      [...data.filter((path) => !read.includes(path)), ...paths.filter(isUnreadable)],
    ],
  ];
  return {
    label: config === null ? `split ${split}` : `config ${config}, split ${split}`,
    files,
    warnings: leftOut
      .filter(([, left]) => left.length > 0)
      .map(([why, left]) => `${name.id}: left out, as ${why}: ${someOf(left)}`),
  };
}

/** The key of files that belong to no split. No split is called so. */
const UNKNOWN = '';

function isData(path: string): boolean {
  const hidden = path.split('/').some((part) => /^(\.|__)/.test(part));
  return !hidden && isReadable(path) && !NO_ROWS.test(path) && !/(^|\/)(README|LICEN[CS]E)(\.(md|txt))?$/i.test(path);
}

/** Whether it may well hold rows, in a format that is not read. */
function isUnreadable(path: string): boolean {
  return /\.(zst|zip|tar|tgz|bz2|xz|7z|arrow|feather|avro|orc|xml|xlsx?|pickle|pkl|db|sqlite)$/i.test(path);
}

interface ChosenConfig {
  /** Null where there is only one. */
  readonly config: string | null;
  readonly splits: Splits;
  /** What the name says besides: at most a split. */
  readonly rest: readonly string[];
}

function chooseConfig(name: DatasetName, data: readonly string[], readme: string | null): ChosenConfig {
  const { id, parts } = name;
  const [first, ...rest] = parts;
  const { configs: declared, usual: marked } = configsOf(readme, data);
  const configs = declared.size > 0 ? declared : foldersOf(data);
  if (first !== undefined && configs.has(first)) return { config: first, splits: configs.get(first)!, rest };
  const inFolder = data.filter((path) => path.startsWith(`${first}/`));
  if (first !== undefined && declared.size === 0 && wordOf(first) === null && inFolder.length > 0) {
    return { config: first, splits: splitsOf(inFolder, `${first}/`), rest };
  }
  if (configs.size === 0) return { config: null, splits: splitsOf(data), rest: parts };
  const names = [...configs.keys()];
  const usual = names.length === 1 ? names[0] : marked;
  if (usual !== undefined)
    return { config: names.length === 1 ? null : usual, splits: configs.get(usual)!, rest: parts };
  const got = first === undefined ? 'none' : JSON.stringify(first);
  throw new SftError('DATA', `${id}: expected one of its configs (${someOf(names)}), got ${got}`, {
    hint: `choose one as in ${id}/${names[0]}`,
  });
}

/** The part of a name that says which split, and the split that is meant without one. Throws `DATA` where none or several fit. */
function chooseSplit(
  { id }: DatasetName,
  splits: Splits,
  rest: readonly string[],
  config: string | null,
  wanted: DatasetSplit,
): string {
  const names = [...splits.keys()].filter((one) => one !== UNKNOWN);
  const whole = config === null ? id : `${id}/${config}`;
  const there = names.length === 0 ? 'no split with files that can be read' : `the splits ${someOf(names)}`;
  const example = { hint: names[0] === undefined ? 'look at its page' : `choose one as in ${whole}/${names[0]}` };
  const [named, ...more] = rest;
  if (named !== undefined) {
    if (more.length === 0 && names.includes(named)) return named;
    throw new SftError(
      'DATA',
      `${whole}: expected a config or split that it has, got ${rest.join('/')}; it has ${there}`,
      example,
    );
  }
  const exact = names.includes(wanted) ? [wanted] : names.filter((one) => WORDS[wanted].includes(one));
  const fitting = exact.length > 0 ? exact : names.filter((one) => wordOf(one) === wanted);
  if (fitting.length === 1) return fitting[0]!;
  const got = fitting.length === 0 ? there : `several: ${someOf(fitting)}`;
  throw new SftError('DATA', `${whole}: expected one split of ${wanted} rows, got ${got}`, example);
}

/** What the front matter of a README says of configs: their splits, with the files that their patterns match. */
function configsOf(
  readme: string | null,
  data: readonly string[],
): { configs: Map<string, Splits>; usual: string | undefined } {
  const front = /^---\r?\n([\s\S]*?)\r?\n---/.exec(readme ?? '')?.[1];
  let card: unknown = null;
  try {
    card = front === undefined ? null : parse(front, { maxAliasCount: 10 });
  } catch {} // a README that cannot be read says nothing
  const listed = isObject(card) && Array.isArray(card['configs']) ? card['configs'].filter(isObject) : [];
  const configs = new Map<string, Splits>();
  let usual: string | undefined;
  for (const { config_name: name, data_files: files, data_dir, default: isUsual } of listed) {
    if (typeof name !== 'string') continue;
    if (isUsual === true || name === 'default') usual ??= name;
    const folder = typeof data_dir === 'string' ? `${data_dir.replace(/^\.\/|\/+$/g, '')}/` : '';
    const inside = data.filter((path) => path.startsWith(folder));
    configs.set(name, files === undefined ? splitsOf(inside, folder) : matched(patternsOf(files), inside, folder));
  }
  return { configs, usual };
}

/** `data_files` is a pattern, a list of them, a mapping of splits, or a list of `{split, path}`. */
function patternsOf(files: unknown): [split: string, patterns: string[]][] {
  const texts = (value: unknown) => [value].flat().filter((one) => typeof one === 'string');
  if (isObject(files)) return Object.entries(files).map(([split, value]) => [split, texts(value)]);
  const listed = [files].flat();
  const splits = listed.filter(isObject).map(({ split, path }): [string, string[]] => [String(split), texts(path)]);
  return splits.length > 0 ? splits : [['train', texts(listed)]];
}

function matched(patterns: readonly [string, readonly string[]][], data: readonly string[], folder: string): Splits {
  return new Map(
    patterns
      .map(([split, globs]): [string, string[]] => {
        const tests = globs.map((glob) => globPattern(folder + glob.replace(/^\.\//, '')));
        return [split, data.filter((path) => tests.some((test) => test.test(path)))];
      })
      .filter(([, paths]) => paths.length > 0),
  );
}

/** `*` and `?` stay within a folder, `**` does not. */
function globPattern(glob: string): RegExp {
  const source = glob.replace(/\*\*\/|\*\*|\*|\?|\[[^\]/]+\]|[.+^${}()|\\[\]]/g, (token) => {
    if (token === '**/') return '(?:.*/)?';
    if (token === '**') return '.*';
    if (token === '*') return '[^/]*';
    if (token === '?') return '[^/]';
    return token.length > 1 ? token.replace(/^\[!/, '[^').replaceAll('\\', '\\\\') : `\\${token}`;
  });
  return new RegExp(`^${source}$`);
}

/** Folders beside each other that hold a data set each, as in the branch of Parquet files that the hub makes; empty where it is one data set. */
function foldersOf(data: readonly string[]): Map<string, Splits> {
  const folders = new Map<string, string[]>();
  for (const path of data) {
    const [folder = '', ...inside] = path.split('/');
    if (inside.length === 0 || folder === 'data' || wordOf(folder) !== null) return new Map();
    folders.set(folder, [...(folders.get(folder) ?? []), path]);
  }
  if (folders.size < 2) return new Map();
  return new Map([...folders].map(([folder, paths]) => [folder, splitsOf(paths, `${folder}/`)]));
}

/** Files by split, as their names say. Where none says anything, all are training rows. `folder`: the beginning that counts not. */
function splitsOf(data: readonly string[], folder = ''): Splits {
  const splits = new Map<string, string[]>();
  for (const path of data) {
    const split = splitOf(path.slice(folder.length)) ?? UNKNOWN;
    splits.set(split, [...(splits.get(split) ?? []), path]);
  }
  const unknown = splits.get(UNKNOWN);
  return splits.size === 1 && unknown ? new Map([['train', unknown]]) : splits;
}

/** Sets of files have a name of their own (`train_sft`); of others, the word in the name or else in a folder counts. */
function splitOf(path: string): string | null {
  const shard = SHARD.exec(path)?.[1];
  if (shard !== undefined && wordOf(shard) !== null) return shard;
  const words = path.split('/').reverse().map(wordOf);
  return words.find((word) => word !== null) ?? null;
}

/** The split that a name speaks of: a word between anything that is no letter. */
function wordOf(name: string): DatasetSplit | null {
  const words = name.toLowerCase().split(/[^a-z]+/);
  for (const split of ['train', 'validation', 'test'] as const) {
    if (WORDS[split].some((word) => words.includes(word))) return split;
  }
  return null;
}

function noData({ id }: DatasetName, paths: readonly string[]): SftError {
  const visible = paths.filter((path) => !path.startsWith('.'));
  const scripted = visible.some((path) => path.endsWith('.py'));
  const hint = scripted
    ? `its rows are made by a script, which is not run; try ${id}@refs/convert/parquet`
    : 'choose a data set with Parquet, JSON Lines, JSON or CSV files';
  const got = visible.length === 0 ? 'nothing' : someOf(visible);
  return new SftError('DATA', `${id}: expected files of rows, the data set has ${got}`, { hint });
}

function someOf(names: readonly string[], limit = 8): string {
  const rest = names.length - limit;
  return names.slice(0, limit).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}
