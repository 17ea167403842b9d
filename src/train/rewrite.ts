/** Copies of the splits in another form: with a system prompt of their own, or rendered to plain text. */
import { splitRow } from '../data/promptRows.ts';
import type { Row } from '../data/rows.ts';
import type { Split } from '../data/split.ts';
import type { ChatTemplate } from '../data/template.ts';
import { rowObject } from '../data/writeRows.ts';
import { SftError } from '../platform/errors.ts';
import type { Config } from './config.ts';
import { exists, type NamedRows } from './namedFiles.ts';
import { isWithin, type ReadOptions, type RowFileOptions, readNamedRows, writeRowFiles } from './rowFiles.ts';

/** Where rows come from and the file that their copies go to. */
export interface Rewrite extends NamedRows {
  readonly out: string;
}

/** How many rows were copied from where to where. */
export interface RewriteReport {
  readonly files: readonly { readonly from: string; readonly to: string; readonly rows: number }[];
  /** Rows without roles, which a system prompt does not fit. */
  readonly withoutRoles: number;
}

/**
 * The splits that there are: the one of `only`, or training and what else exists. Throws `CONFIG` where the one that is
 * asked for has no path.
 */
export async function presentSplits(
  { data }: Config,
  only?: Split,
): Promise<(NamedRows & { readonly split: Split })[]> {
  const all = { train: data.train_path, val: data.val_path, test: data.test_path };
  const named = (split: Split, path: string) => ({ split, key: `data.${split}_path`, path });
  if (only !== undefined) {
    const path = all[only];
    if (path !== null) return [named(only, path)];
    throw new SftError('CONFIG', `data.${only}_path: expected a file of rows, got null`, {
      hint: 'choose another --split',
    });
  }
  const found = [named('train', all.train)];
  for (const split of ['val', 'test'] as const) {
    const path = all[split];
    if (path !== null && (await exists(path))) found.push(named(split, path));
  }
  return found;
}

/**
 * Copies rows with `style` as their system prompt, in the place of one that they have. Prompt/completion and text rows stay as they
 * are. All copies appear or none; a file that is read is never written. Throws `ARGUMENT`, `DATA`, `IO`.
 */
export async function styleRows(
  config: Config,
  rewrites: readonly Rewrite[],
  style: string,
  options: RowFileOptions = {},
): Promise<RewriteReport> {
  return rewriteRows(config, rewrites, { ...options, rows: { style } }, rowObject);
}

/** Writes rows as `{"input", "target"}`, see `splitRow`. `data.style` is applied. Throws `TEMPLATE`, `DATA`, `IO`. */
export async function renderRows(
  config: Config,
  rewrites: readonly Rewrite[],
  template: ChatTemplate | null,
  options: RowFileOptions = {},
): Promise<RewriteReport> {
  return rewriteRows(config, rewrites, options, (row) => splitRow(row, template));
}

async function rewriteRows(
  config: Config,
  rewrites: readonly Rewrite[],
  options: ReadOptions,
  convert: (row: Row) => unknown,
): Promise<RewriteReport> {
  for (const { out } of rewrites) {
    const read = rewrites.find(({ path }) => isWithin(out, path));
    if (!read) continue;
    throw new SftError('ARGUMENT', `${out}: expected another place than what is read, got ${read.path} for both`, {
      hint: `choose another output, or point ${read.key} to the rows that you began with`,
    });
  }
  const counts = rewrites.map(() => 0);
  let withoutRoles = 0;
  const outputs = rewrites.map(({ key, out }) => ({ key, path: out }));
  await writeRowFiles(outputs, async (write) => {
    for (const [index, rewrite] of rewrites.entries()) {
      for await (const row of readNamedRows(config, rewrite, { ...options, doing: 'writing' })) {
        if (row.kind !== 'chat') withoutRoles += 1;
        await write(index, convert(row));
        counts[index]! += 1;
      }
    }
  });
  const files = rewrites.map(({ path, out }, index) => ({ from: path, to: out, rows: counts[index]! }));
  return { files, withoutRoles };
}
