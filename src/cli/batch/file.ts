/**
 * The file of `webgpu-sft batch`: data sets × configs × styles.
 *
 *     output_dir: outputs/batch                  # a folder for each run
 *     datasets:                                  # raw data by name; each is split by `process` first …
 *       support: data/raw/support.jsonl
 *       legal:                                   # … or rows that are split already
 *         { train_path: data/legal/train.jsonl, val_path: data/legal/val.jsonl, test_path: null }
 *     configs: [configs/small.yaml, configs/large.yaml]
 *     styles: { plain: null, short: Answer in one sentence. }     # system prompts; may be left out
 *     eval: true                                 # measure each result on its test rows
 */
import { z } from 'zod';
import { SftError } from '../../platform/errors.ts';
import { nearest } from '../../platform/suggest.ts';
import { type ConfigNode, nodeAt, toPlain } from '../../train/configTree.ts';
import { parseYaml } from '../../train/configYaml.ts';
import { readWhole } from '../../train/readWhole.ts';

/** A part of the names of folders. */
const name = z.string().regex(/^[\w.-]+$/, 'expected letters, digits, "-", "_" and "."');
const path = z.string().min(1);

const rows = z.strictObject({
  train_path: path,
  val_path: path.nullable().default(null),
  test_path: path.nullable().default(null),
});

const schema = z.strictObject({
  output_dir: path.default('outputs/batch'),
  datasets: z.record(name, z.union([path, rows])),
  configs: z.array(path).min(1),
  styles: z.record(name, z.string().nullable()).default({}),
  eval: z.boolean().default(true),
});

export type BatchFile = z.infer<typeof schema>;

/** Reads a batch file. Throws `CONFIG` with file, line and column. */
export async function readBatchFile(file: string): Promise<BatchFile> {
  const text = await readWhole(file).catch((cause: Error) => {
    throw new SftError('CONFIG', `${file}: expected a readable YAML file, got an error: ${cause.message}`, {
      hint: 'webgpu-sft batch --help shows an example',
      cause,
    });
  });
  const { root, problems } = parseYaml(text, file);
  const [broken] = problems;
  if (!root || broken) {
    const { where = file, message = 'not YAML', hint = 'correct the YAML' } = broken ?? {};
    throw new SftError('CONFIG', `${where}: ${message}`, { hint });
  }
  const parsed = schema.safeParse(toPlain(root));
  if (!parsed.success) {
    const { issues } = parsed.error;
    // A key that is misspelt is missing under its own name, too.
    throw problemOf(issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0], root, file);
  }
  const { datasets, configs } = parsed.data;
  if (Object.keys(datasets).length === 0) {
    throw new SftError('CONFIG', `${file}: datasets: expected at least one data set, got none`, {
      hint: 'name one: {support: data/raw/support.jsonl}',
    });
  }
  const twice = configs.map(configName).find((one, index, all) => all.indexOf(one) !== index);
  if (twice !== undefined) {
    throw new SftError('CONFIG', `${file}: configs: expected files of different names, got two called ${twice}`, {
      hint: 'a run is called after its config; rename one',
    });
  }
  return parsed.data;
}

function problemOf(issue: z.core.$ZodIssue | undefined, root: ConfigNode, file: string): SftError {
  const keys = (issue?.path ?? []).map((key) => (typeof key === 'number' ? key : String(key)));
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const at = unknown === undefined ? keys : [...keys, unknown];
  const node = nodeAt(root, at);
  const where = (unknown === undefined ? node?.where : node?.keyWhere) || nodeAt(root, keys)?.where || file;
  const key = at.join('.') || 'batch file';
  if (unknown !== undefined) {
    const known = Object.keys(keys.length === 0 ? schema.shape : rows.shape);
    const meant = nearest(unknown, known);
    const hint = meant ? `did you mean ${meant}?` : `known keys here: ${known.join(', ')}`;
    return new SftError('CONFIG', `${where}: ${key}: unknown key`, { hint });
  }
  const message = `${where}: ${key}: ${issue?.message ?? 'is wrong'}`;
  return new SftError('CONFIG', message, { hint: 'webgpu-sft batch --help shows an example' });
}

/** `small` of `configs/small.yaml`. */
export function configName(config: string): string {
  return (config.split(/[/\\]/).at(-1) ?? config).replace(/\.ya?ml$/i, '');
}
