/** `export --to trl`: the run as a script for TRL, with what belongs beside it. */
import { readFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import nunjucks from 'nunjucks';
import { openFolder, openStore } from '#platform';
import { EXPORT_FILE } from '../../model/recordFiles.ts';
import { SftError } from '../../platform/errors.ts';
import { saveFolder } from '../../platform/stores.ts';
import type { StagedFolder } from '../../platform/types.ts';
import { VERSION } from '../../platform/version.ts';
import type { Config } from '../../train/config.ts';
import { rowsAs, type TrlForm, type TrlRows } from '../../train/trlRows.ts';
import { type Argument, openTrlRun, type TrlRun } from '../../train/trlRun.ts';
import { type Call, say, warn } from '../command.ts';
import { showDownloadStage } from '../downloads.ts';
import { counted } from '../format.ts';
import { refuseForeign } from '../ownFolder.ts';
import { readConfig } from '../readConfig.ts';

const FILES = ['train.py', 'accelerate_config.yaml', 'deepspeed_config.json', 'requirements.txt', 'README.md'];

const FORM_TEXT: Readonly<Record<TrlForm, string>> = {
  messages: 'chats',
  turn: 'chats as prompt and completion',
  completion: 'prompts and completions',
  text: 'texts',
  tokens: 'token ids and labels',
};

/** Writes the folder. Throws what opening a run does, and `ARGUMENT`. */
export async function exportTrl(call: Call, wanted: string | undefined): Promise<number> {
  const { path } = call.config;
  if (path === undefined) {
    throw new SftError('ARGUMENT', 'export --to trl: expected the config of a run, got none', {
      hint: 'name one: webgpu-sft export configs/config_run.yaml --to trl',
    });
  }
  const { config, given } = await readConfig(call);
  const shown = wanted ?? `${config.output_dir}/trl`;
  const out = resolve(shown);
  await refuseForeign(out, EXPORT_FILE, 'export');
  const run = await openTrlRun(config, given, {
    onProgress: showDownloadStage(call),
    onWarning: (message) => warn(call, message),
  });
  const variables = await variablesOf(config, run, path, basename(out));
  await saveFolder(await openStore(dirname(out)), basename(out), async (staged) => {
    await writeRows(staged, 'train', run.form, run.train);
    if (run.val) await writeRows(staged, 'validation', run.form, run.val);
    if (run.template !== null) await staged.write('chat_template.jinja', run.template);
    for (const name of FILES) await staged.write(name, render(name, variables));
    await staged.write(EXPORT_FILE, `${JSON.stringify({ to: 'trl', 'webgpu-sft': VERSION }, null, 2)}\n`);
  });
  say(call, `wrote the run for TRL, ${counted(run.train.rows.length, 'row')} as ${FORM_TEXT[run.form]}: ${shown}`);
  if (run.differences.length > 0) say(call, 'what is done otherwise there:');
  for (const line of run.differences) say(call, `  ${line}`);
  say(call, `next: README.md in ${shown}`);
  return 0;
}

async function variablesOf(config: Config, run: TrlRun, source: string, title: string) {
  const { model, tuning, train, logging } = config;
  const named = tuning.mode === 'full' ? null : tuning.lora.init_from;
  const [adapter = '', adapterRevision = 'main'] = named?.split('@') ?? [];
  const initFrom = named === null ? null : ((await localPlace(named)) ?? { name: adapter, revision: adapterRevision });
  const place = (await localPlace(model.name)) ?? model;
  return {
    ...run,
    title,
    source,
    formText: FORM_TEXT[run.form],
    splits: run.val ? ['train', 'validation'] : ['train'],
    model: place.name,
    revision: place.revision,
    hubUrl: model.hub_url,
    mode: tuning.mode,
    initFrom,
    precision: train.precision,
    // Trained base weights are float32.
    dtype: tuning.mode === 'full' ? 'float32' : model.dtype,
    accumulation: run.training.gradient_accumulation_steps,
    patience: run.val ? train.early_stopping_patience : null,
    optimizer8bit: train.optimizer === 'adamw_8bit',
    trackers: [logging.backend].flat().filter((name) => name !== 'none'),
  };
}

/** A folder as the script names it, wherever it is run; null for what is on a hub. */
async function localPlace(name: string): Promise<{ name: string; revision: string | null } | null> {
  return (await openFolder(name).catch(() => null)) ? { name: resolve(name), revision: null } : null;
}

/** Rows in one write: large enough to be few, small enough to be nothing. */
const ROWS_AT_ONCE = 1024;

async function writeRows(staged: StagedFolder, split: string, form: TrlForm, rows: TrlRows): Promise<void> {
  const file = await staged.create(`data/${split}.jsonl`);
  let lines: string[] = [];
  const flush = async () => {
    await file.write(new TextEncoder().encode(lines.join('')));
    lines = [];
  };
  for (const row of rowsAs(form, rows)) {
    if (lines.push(`${JSON.stringify(row)}\n`) === ROWS_AT_ONCE) await flush();
  }
  await flush();
  await file.close();
}

function render(name: string, variables: object): string {
  const environment = new nunjucks.Environment(null, { autoescape: false, trimBlocks: true, lstripBlocks: true });
  environment.addFilter('python', python);
  const template = fileURLToPath(new URL(`../../assets/trl/${name}.njk`, import.meta.url));
  return environment.renderString(readFileSync(template, 'utf8'), variables);
}

/** A value as Python writes it. */
function python(value: Argument): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  return `{${Object.entries(value)
    .map(([name, inner]) => `${JSON.stringify(name)}: ${python(inner)}`)
    .join(', ')}}`;
}
