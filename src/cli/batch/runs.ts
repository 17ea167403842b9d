/** The runs of a batch file: what each is made of, whether it is done, and the commands that do it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BatchFile, configName } from './file.ts';

export interface BatchRun {
  /** `support-small-short`. */
  readonly name: string;
  readonly folder: string;
  readonly config: string;
  readonly dataset: BatchFile['datasets'][string];
  readonly style: string | null;
}

/** One command line of this program, without its name. */
export type Arguments = readonly string[];

/** Every data set with every config and every style, in the order of the file. */
export function runsOf({ output_dir, datasets, configs, styles }: BatchFile): BatchRun[] {
  const styled: readonly [string, string | null][] =
    Object.keys(styles).length > 0 ? Object.entries(styles) : [['', null]];
  return Object.entries(datasets).flatMap(([data, dataset]) =>
    configs.flatMap((config) =>
      styled.map(([style, text]) => {
        const name = [data, configName(config), style].filter((part) => part !== '').join('-');
        return { name, folder: join(output_dir, name), config, dataset, style: text };
      }),
    ),
  );
}

/** The file in a run's folder that says what it was made of. */
const MADE_OF = 'batch.json';

/** What must be as it was for a run to count as done: its part of the batch file, and the text of its config. */
function madeOf({ config, dataset, style }: BatchRun): string {
  const text = existsSync(config) ? readFileSync(config, 'utf8') : '';
  return `${JSON.stringify({ config, dataset, style, text }, null, 2)}\n`;
}

function isSame(run: BatchRun): boolean {
  const file = join(run.folder, MADE_OF);
  return existsSync(file) && readFileSync(file, 'utf8') === madeOf(run);
}

export function isDone(run: BatchRun, evaluates: boolean): boolean {
  const results = ['final_model', ...(evaluates && hasTestRows(run) ? ['metrics.json'] : [])];
  return isSame(run) && results.every((name) => existsSync(join(run.folder, name)));
}

/** The commands of a run: rows, training, evaluation. A run that was interrupted goes on from its last checkpoint. */
export function commandsOf(run: BatchRun, evaluates: boolean): Arguments[] {
  const { folder, config, dataset, style } = run;
  const rows = join(folder, 'data');
  const raw = typeof dataset === 'string';
  const paths = raw
    ? { train_path: join(rows, 'train.jsonl'), val_path: join(rows, 'val.jsonl'), test_path: join(rows, 'test.jsonl') }
    : dataset;
  const set = (key: string, value: string | null) => ['--set', `${key}=${JSON.stringify(value)}`];
  const data = Object.entries(paths).flatMap(([key, path]) => set(`data.${key}`, path));
  const shared = [config, ...data, ...set('output_dir', folder), ...(style === null ? [] : set('data.style', style))];
  const goesOn =
    isSame(run) && existsSync(folder) && readdirSync(folder).some((name) => name.startsWith('checkpoint-'));
  return [
    ...(raw ? [['process', ...shared, ...set('data.raw_path', dataset)]] : []),
    ['train', ...shared, ...(goesOn ? ['--resume-from', 'last'] : [])],
    ...(evaluates && hasTestRows(run) ? [['eval', ...shared]] : []),
  ];
}

const hasTestRows = ({ dataset }: BatchRun) => typeof dataset === 'string' || dataset.test_path !== null;

/** Notes what the run is made of, before its first command. */
export function begin(run: BatchRun): void {
  mkdirSync(run.folder, { recursive: true });
  writeFileSync(join(run.folder, MADE_OF), madeOf(run));
}

/** Numbers of a finished run for the table: those of the last rows of its log, and of its evaluation. */
export function resultsOf({ folder }: BatchRun): Record<string, number> {
  const read = (name: string): unknown => {
    const file = join(folder, name);
    return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null;
  };
  const state = read('trainer_state.json') as {
    log_history: Record<string, number>[];
    best_metric: number | null;
  } | null;
  const metrics = read('metrics.json') as { metrics: Record<string, number> } | null;
  const loss = state?.log_history.findLast((row) => 'loss' in row)?.loss;
  return {
    ...(loss !== undefined && { loss }),
    ...(typeof state?.best_metric === 'number' && { best_metric: state.best_metric }),
    ...metrics?.metrics,
  };
}
