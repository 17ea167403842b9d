/** The files of a project, rendered for the answers that were given. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import nunjucks from 'nunjucks';
import { parseDocument, stringify } from 'yaml';
import { SftError } from '../../platform/errors.ts';
import type { Override } from '../../train/configOverrides.ts';
import { toPlain } from '../../train/configTree.ts';
import { shellQuote } from '../format.ts';
import { type Answers, EMBEDDED, SAMPLE } from './answers.ts';

const asset = (path: string) => fileURLToPath(new URL(`../../assets/${path}`, import.meta.url));

export const RUN_FILE = 'configs/config_run.yaml';

/** Folders that the commands expect or fill. */
const FOLDERS = ['configs', 'chat_templates', 'data/raw', 'data/processed', 'models', 'outputs'];

const MODE_TEXT = {
  qlora: 'adapters over a 4-bit base (QLoRA)',
  lora: 'adapters over the base as it is (LoRA)',
  full: 'all of its weights',
} as const;

export interface Written {
  readonly path: string;
  /** `kept`: there is another file of that name, which was left as it is. */
  readonly what: 'new' | 'same' | 'kept';
}

/** The commands to go on with, in the project's folder. */
export function nextCommands(command: string, { data }: Answers): string[] {
  const prompt = data.kind === 'sample' ? 'Wake me at ten to nine on Saturday.' : 'Hello!';
  return [
    `${command} process ${RUN_FILE}`,
    `${command} train ${RUN_FILE}`,
    `${command} infer ${RUN_FILE} --prompt ${shellQuote(prompt)}`,
  ];
}

/** Every file of the project: its path, and its bytes. `overrides` are set in the run file. */
export function projectFiles(
  folder: string,
  answers: Answers,
  command: string,
  overrides: readonly Override[] = [],
): Map<string, Uint8Array> {
  const environment = new nunjucks.Environment(null, { autoescape: false, trimBlocks: true, lstripBlocks: true });
  environment.addFilter('yaml', (value: string) => stringify(value).trimEnd());
  const variables = {
    ...answers,
    command,
    commands: nextCommands(command, answers),
    modeText: MODE_TEXT[answers.mode],
    title: basename(resolve(folder)),
  };
  const render = (name: string) =>
    environment.renderString(readFileSync(asset(`project/${name}.njk`), 'utf8'), variables);
  const run = parseDocument(render('config_run.yaml'));
  for (const { key, value } of overrides) run.setIn(key.split('.'), toPlain(value));
  const text = (content: string) => new TextEncoder().encode(content);
  const files = new Map<string, Uint8Array>([
    ['configs/config_base.yaml', text(render('config_base.yaml'))],
    [RUN_FILE, text(run.toString({ lineWidth: 0 }))],
    ['chat_templates/default.jinja', readFileSync(asset('default.jinja'))],
    [SAMPLE.path, readFileSync(asset('json-requests/train.jsonl'))],
    ['.gitignore', text(render('gitignore'))],
    ['README.md', text(render('README.md'))],
  ]);
  if (answers.embedded) {
    for (const name of readdirSync(asset('tiny-llama'))) {
      files.set(`${EMBEDDED}/${name}`, readFileSync(asset(`tiny-llama/${name}`)));
    }
  }
  return files;
}

/** Writes files that are not there yet; what is there stays. Throws `IO`. */
export function writeProject(folder: string, files: ReadonlyMap<string, Uint8Array>): Written[] {
  try {
    for (const name of FOLDERS) mkdirSync(join(folder, name), { recursive: true });
    return [...files].map(([path, bytes]) => ({ path, what: writeNew(join(folder, path), bytes) }));
  } catch (cause) {
    throw new SftError('IO', `init: ${(cause as Error).message}`, {
      hint: 'choose a folder that can be written to; init can be run again and keeps what is there',
      cause,
    });
  }
}

/** A file appears whole or not at all. */
function writeNew(path: string, bytes: Uint8Array): Written['what'] {
  if (existsSync(path)) {
    const same = statSync(path).isFile() && readFileSync(path).equals(bytes);
    return same ? 'same' : 'kept';
  }
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    writeFileSync(temporary, bytes);
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
  return 'new';
}
