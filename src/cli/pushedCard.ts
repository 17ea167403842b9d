/** The model card that is sent: the one in the folder, with the names of the hub, and what the run has shown. */
import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import nunjucks from 'nunjucks';
import { isMap, parse, parseDocument } from 'yaml';
import { parseDatasetName } from '../data/hubDataset.ts';
import { modelCard } from '../model/modelCard.ts';
import { SftError } from '../platform/errors.ts';
import type { EvalRow, LogRow } from '../train/events.ts';
import { counted, digits } from './format.ts';
import { drawCurve } from './lossCurve.ts';
import type { PushedFolder, RunFacts } from './pushedFolder.ts';

/** Stands in every card that this project has written. One without it is a person's own, and sent as it is. */
const OWN = 'Trained with webgpu-sft.';
/** What cards that lie in a folder call it. */
const PLACEHOLDER = '"path/to/this/folder"';
const CURVE_WIDTH = 76;

export interface CardRequest {
  /** Where it is sent to: `owner/name`. */
  readonly repo: string;
  readonly hubUrl: string;
  readonly pushed: Pick<PushedFolder, 'kind' | 'base' | 'run'>;
  /** Hub id of the base; null where it has none. */
  readonly base: string | null;
  /** Front matter that is taken over where the card has none of it: the licence of the base. */
  readonly license: Readonly<Record<string, unknown>>;
}

/** The text of `README.md`. `readme`: what the folder has, or null. */
export function pushedCard(readme: string | null, request: CardRequest): string {
  if (readme !== null && !readme.includes(OWN)) return readme;
  const { repo, pushed, base, license } = request;
  const shown = base ?? (pushed.base === null ? 'an unnamed base' : basename(pushed.base));
  const written =
    readme ??
    modelCard({
      ...pushed,
      baseModel: pushed.base ?? shown,
      task: 'text-generation',
      settings: settingsOf(pushed.run),
    });
  const [, front = '', body = written] = /^---\n([\s\S]*?\n)---\n([\s\S]*)$/.exec(written) ?? [];
  const named = pushed.base ?? shown;
  const text = body
    .replaceAll(PLACEHOLDER, JSON.stringify(repo))
    .replaceAll(`from_pretrained(${JSON.stringify(named)})`, `from_pretrained(${JSON.stringify(shown)})`)
    .replace(/^# .*$/m, (title) => (title.endsWith(` ${named}`) ? title.slice(0, -named.length) + shown : title));
  return `---\n${frontMatter(front, request)}---\n${text.trimEnd()}\n${results(pushed.run, request.hubUrl)}`;

  function frontMatter(given: string, { pushed: { kind, run } }: CardRequest): string {
    const document = parseDocument(given);
    if (document.errors.length > 0 || !(document.contents === null || isMap(document.contents))) {
      throw new SftError(
        'MODEL',
        `README.md: expected YAML between its lines ---, got ${document.errors[0]?.code ?? 'no keys'}`,
        {
          hint: 'correct it, or remove the file: a new one is written',
        },
      );
    }
    const fill = (key: string, value: unknown) => {
      if (!document.has(key)) document.set(key, value);
    };
    const tags = ((document.toJS() as { tags?: unknown } | null)?.tags ?? []) as string[];
    const others = tags.filter((tag) => !/^base_model:/.test(tag));
    // The hub refuses a card whose base is no id.
    if (base === null && document.has('base_model')) document.delete('base_model');
    if (base !== null) document.set('base_model', base);
    const relation = kind === 'adapter' ? 'adapter' : 'finetune';
    document.set('tags', base === null ? others : [`base_model:${relation}:${base}`, ...others]);
    const datasets = datasetsOf(run);
    if (datasets.length > 0) fill('datasets', datasets);
    if (!document.has('license')) for (const [key, value] of Object.entries(license)) fill(key, value);
    return document.toString({ lineWidth: 0 });
  }
}

/** What a card that has no table of its own says of the training. */
function settingsOf(run: RunFacts | null): Record<string, string | number | boolean> {
  const { tuning = {}, train = {}, model = {} } = (run?.config ?? {}) as Record<string, Record<string, unknown>>;
  const lora = tuning.mode === 'full' ? {} : ((tuning.lora ?? {}) as Record<string, unknown>);
  const { learning_rate, lr_scheduler, seed } = train;
  const all = { mode: tuning.mode, r: lora.r, lora_alpha: lora.alpha, learning_rate, lr_scheduler, seed };
  const known = Object.entries({ ...all, max_seq_len: model.max_seq_len });
  return Object.fromEntries(known.filter(([, value]) => ['string', 'number'].includes(typeof value))) as Record<
    string,
    string
  >;
}

/** Data, curve and metrics of a run. */
function results(run: RunFacts | null, hubUrl: string): string {
  if (!run) return '';
  const template = readFileSync(fileURLToPath(new URL('../../assets/model-card.md.njk', import.meta.url)), 'utf8');
  const environment = new nunjucks.Environment(null, { autoescape: false, trimBlocks: true, lstripBlocks: true });
  const steps = run.log.filter((row): row is LogRow => 'loss' in row);
  const losses = steps.map(({ loss }) => loss);
  const evals = run.log.filter((row): row is EvalRow => 'eval_loss' in row);
  const { split = 'test', n = 0, metrics = {}, base } = run.measured ?? {};
  const last = steps.at(-1);
  return environment.renderString(template, {
    data: dataLines(run, hubUrl),
    curve: drawCurve(losses, CURVE_WIDTH).join('\n'),
    losses:
      last &&
      `Loss of the training rows by step, from ${digits(losses[0]!, 4)} to ${digits(last.loss, 4)} at step ${last.step}`,
    evaluations: evals.map(({ step, eval_loss }) => ({ step, loss: digits(eval_loss, 4) })),
    rows: `${counted(n, 'row')} of the ${split} split`,
    hasBase: base !== undefined,
    metrics: Object.entries(metrics).map(([name, value]) => ({
      name,
      value: digits(value, 4),
      base: digits(base?.[name] ?? Number.NaN, 4),
    })),
  });
}

const SOURCES = [
  ['training rows', 'train_path'],
  ['validation rows', 'val_path'],
] as const;

function dataLines({ config }: RunFacts, hubUrl: string): string[] {
  const data = (config.data ?? {}) as Readonly<Record<string, unknown>>;
  const lines = SOURCES.flatMap(([what, key]) => {
    const path = data[key];
    if (typeof path !== 'string') return [];
    const id = datasetId(path);
    // Where files lie on this machine is nobody's business.
    return [`${what}: ${id === null ? `\`${basename(path)}\`` : `[${path}](${hubUrl}/datasets/${id})`}`];
  });
  const raw = rawDataset(data);
  const from = raw === null ? [] : [`made of [${raw}](${hubUrl}/datasets/${datasetId(raw)})`];
  const style = typeof data.style === 'string' ? [`system prompt: ${data.style.replaceAll(/\s+/g, ' ')}`] : [];
  return [...from, ...lines, ...style];
}

/** Data sets of the hub that the run is known to have been trained on. */
function datasetsOf(run: RunFacts | null): string[] {
  const data = (run?.config.data ?? {}) as Readonly<Record<string, unknown>>;
  const named = [rawDataset(data), data.train_path].flatMap((path) =>
    typeof path === 'string' ? (datasetId(path) ?? []) : [],
  );
  return [...new Set(named)];
}

/** The raw rows count where files were made of them: other training rows have nothing to do with them. */
function rawDataset({ raw_path, train_path }: Readonly<Record<string, unknown>>): string | null {
  const isMade = typeof train_path === 'string' && /(^|\/)data\/processed/.test(train_path);
  return isMade && typeof raw_path === 'string' && raw_path !== 'data/raw' && datasetId(raw_path) !== null
    ? raw_path
    : null;
}

const datasetId = (path: string) => (existsSync(path) ? null : (parseDatasetName(path)?.id ?? null));

/** The licence of a model folder's own card. */
export function licenseIn(front: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const keys = ['license', 'license_name', 'license_link'];
  return typeof front.license === 'string'
    ? Object.fromEntries(keys.flatMap((key) => (front[key] ? [[key, front[key]]] : [])))
    : {};
}

/** The front matter of a card as an object. */
export function frontMatterOf(readme: string): Readonly<Record<string, unknown>> {
  try {
    const front: unknown = parse(/^---\n([\s\S]*?\n)---\n/.exec(readme)?.[1] ?? '');
    return typeof front === 'object' && front !== null ? (front as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
