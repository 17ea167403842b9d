/**
 * What the person has chosen, as far as an address can hold it: it is kept in the hash of the page's address, so that the address
 * alone rebuilds the set-up. Files of one's own are not in it.
 */
export const METHODS = ['lora', 'qlora', 'full'] as const;
export type Method = (typeof METHODS)[number];
export const ADAPTERS = ['high-performance', 'low-power'] as const;
export type AdapterChoice = (typeof ADAPTERS)[number];

/** Null is "as is sensible for the model and the rows". */
export interface Recipe {
  /** `embedded`, a hub id or the address of a folder. */
  readonly model: string;
  readonly sample: boolean;
  readonly method: Method;
  readonly steps: number | null;
  readonly rate: number | null;
  readonly rank: number | null;
  /** Tokens of the longest row. */
  readonly length: number | null;
  /** GiB of GPU memory. */
  readonly memory: number | null;
  readonly adapter: AdapterChoice | null;
  /** Other settings by their names in a config file. */
  readonly keys: Readonly<Record<string, string>>;
}

export const EMBEDDED = 'embedded';
const PLAIN: Recipe = {
  model: EMBEDDED,
  sample: false,
  method: 'lora',
  steps: null,
  rate: null,
  rank: null,
  length: null,
  memory: null,
  adapter: null,
  keys: {},
};

/** Settings with a number, and what may be written. */
export const NUMBERS = {
  steps: { least: 1, most: 1_000_000, whole: true },
  rate: { least: 1e-9, most: 1, whole: false },
  rank: { least: 1, most: 1024, whole: true },
  length: { least: 8, most: 1_000_000, whole: true },
  memory: { least: 0.001, most: 1024, whole: false },
} as const;
export type NumberName = keyof typeof NUMBERS;

/** The number that a text means, null where it is none that may be written. */
export function readNumber(name: NumberName, written: string): number | null {
  const { least, most, whole } = NUMBERS[name];
  const value = written.trim() === '' ? Number.NaN : Number(written);
  return value >= least && value <= most && (!whole || Number.isInteger(value)) ? value : null;
}

/**
 * Keys of a config that an address may set. Others name files or send something somewhere, and a link that somebody was sent must
 * not do that.
 */
const SETTABLE =
  /^(train|tuning|memory)(\.[a-z]\w*)+$|^model\.(max_seq_len|dtype)$|^data\.(train_on|truncation|style)$/;

export function isSettable(key: string): boolean {
  return SETTABLE.test(key);
}

const oneOf = <T extends string>(all: readonly T[], name: string | null): T | null =>
  all.find((one) => one === name) ?? null;

/** The recipe of an address: its hash, and what its query says where the hash is silent. */
export function parseRecipe(search: string, hash: string): Recipe {
  const query = new URLSearchParams(search);
  const written = new URLSearchParams(hash.replace(/^#/, ''));
  const number = (name: NumberName) => readNumber(name, written.get(name) ?? '');
  const keys: Record<string, string> = {};
  for (const line of written.getAll('set')) {
    const [, key, value] = /^([^:]+):\s*(.*)$/s.exec(line) ?? [];
    if (key !== undefined && value !== undefined && isSettable(key)) keys[key] = value;
  }
  return {
    model: written.get('model') || query.get('model') || PLAIN.model,
    sample: written.get('data') === 'sample',
    method: oneOf(METHODS, written.get('method')) ?? PLAIN.method,
    steps: number('steps'),
    rate: number('rate'),
    rank: number('rank'),
    length: number('length'),
    memory: number('memory'),
    adapter: oneOf(ADAPTERS, written.get('adapter')) ?? oneOf(ADAPTERS, query.get('adapter')),
    keys,
  };
}

/** The hash of a recipe: what differs from an untouched page at an address with this query. */
export function formatRecipe(recipe: Recipe, search: string): string {
  const before = parseRecipe(search, '');
  const written = new URLSearchParams();
  const { model, sample, method, adapter, keys } = recipe;
  // A folder of this computer is nothing that an address could name.
  if (model !== before.model && !isLocal(model)) written.set('model', model);
  if (sample) written.set('data', 'sample');
  if (method !== before.method) written.set('method', method);
  for (const name of Object.keys(NUMBERS) as NumberName[]) {
    if (recipe[name] !== null) written.set(name, String(recipe[name]));
  }
  if (adapter !== null && adapter !== before.adapter) written.set('adapter', adapter);
  for (const [key, value] of Object.entries(keys)) written.append('set', `${key}:${value}`);
  // Readable: none of these needs to be escaped in a hash.
  return written.toString().replaceAll('%2F', '/').replaceAll('%3A', ':');
}

const LOCAL = 'folder:';
/** A model as a person writes it: the address of its page on the hub is another way to write its id. */
export function readModel(written: string): string {
  const name = written.trim() || EMBEDDED;
  return /^https:\/\/huggingface\.co\/([^/]+\/[^/]+?)(?:\/|\/tree\/main\/?)?$/.exec(name)?.[1] ?? name;
}

/** The name under which a folder of this computer stands in a recipe. */
export function localName(folder: string): string {
  return `${LOCAL}${folder}`;
}
export function isLocal(model: string): boolean {
  return model.startsWith(LOCAL);
}
