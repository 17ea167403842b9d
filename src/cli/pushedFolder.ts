/** What `push` sends: an adapter or a model, and what is known of the run that made it. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { openFolder } from '#platform';
import { openModel } from '../model/modelFiles.ts';
import { MERGE_FILE } from '../model/recordFiles.ts';
import { SftError } from '../platform/errors.ts';
import type { ReadableFolder } from '../platform/types.ts';
import type { EvalRow, LogRow } from '../train/events.ts';

/** What is of use on the machine of the run only; pickles, which can hold programs; and what is hidden. */
const STAYS =
  /^(optimizer\.safetensors|state\.json|trainer_state\.json|merge\.json)$|\.(bin|pt|pth|ckpt|pkl|pickle)$|(^|\/)\./;

export interface PushedFolder {
  readonly folder: ReadableFolder;
  readonly kind: 'adapter' | 'model';
  /** Names of the files that are sent, besides the model card. */
  readonly paths: readonly string[];
  /** Of the other files. */
  readonly left: readonly string[];
  /** The base as the files name it: a folder or a hub id; null where they do not say. */
  readonly base: string | null;
  readonly run: RunFacts | null;
}

/** What a run has written. */
export interface RunFacts {
  /** `config.yaml`, not checked. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly log: readonly (LogRow | EvalRow)[];
  /** `metrics.json`; null where nothing was measured, or something else than what is sent. */
  readonly measured: Measured | null;
}

interface Measured {
  readonly split: string;
  readonly n: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly base?: Readonly<Record<string, number>>;
}

/** Opens a folder to be sent. Throws `ARGUMENT`, `ADAPTER` or `MODEL` where it does not hold one whole. */
export async function openPushed(path: string): Promise<PushedFolder> {
  if (!existsSync(path)) {
    throw new SftError('ARGUMENT', `push: expected a folder, there is no ${path}`, {
      hint: 'train first, or name the folder of an adapter or of a merged model',
    });
  }
  const folder = await openFolder(path);
  const all = await folder.list();
  const kind = await kindOf(folder, all);
  const merged = readJson(join(path, MERGE_FILE));
  const run = findRun(path, merged);
  const named =
    kind === 'adapter'
      ? readJson(join(path, 'adapter_config.json'))?.base_model_name_or_path
      : (merged?.base ?? (run?.config.model as { name?: unknown } | undefined)?.name);
  return {
    folder,
    kind,
    paths: all.filter((name) => name !== 'README.md' && !STAYS.test(name)),
    left: all.filter((name) => STAYS.test(name)),
    base: typeof named === 'string' && named !== '' ? named : null,
    run,
  };
}

async function kindOf(folder: ReadableFolder, all: readonly string[]): Promise<PushedFolder['kind']> {
  const { name } = folder;
  if (all.includes('adapter_config.json')) {
    if (all.includes('adapter_model.safetensors')) return 'adapter';
    throw new SftError(
      'ADAPTER',
      `${name}: expected adapter_model.safetensors beside adapter_config.json, found none`,
      {
        hint: 'save the adapter as safetensors; pickle files are not sent',
      },
    );
  }
  if (all.includes('config.json') && all.some((file) => file.endsWith('.safetensors'))) {
    // Says which weights are missing.
    const { checkpoint } = await openModel(folder);
    await checkpoint.close();
    return 'model';
  }
  const inside = readdirSync(name).find((entry) => ['final_model', 'merged'].includes(entry));
  throw new SftError('ARGUMENT', `push: expected an adapter or a merged model in ${name}, found neither`, {
    hint: inside
      ? `name ${join(name, inside)}`
      : 'name a folder with adapter_config.json, or with config.json and weights, such as outputs/run/final_model',
  });
}

/** The run is in the folder above, or above the adapter that was merged. */
function findRun(path: string, merged: Readonly<Record<string, unknown>> | null): RunFacts | null {
  const adapter = typeof merged?.adapter === 'string' ? [merged.adapter] : [];
  for (const result of [path, ...adapter]) {
    const place = dirname(resolve(result));
    const state = readJson(join(place, 'trainer_state.json'));
    if (!state || !existsSync(join(place, 'config.yaml'))) continue;
    const isFinal = /^checkpoint-\d+$/.exec(basename(resolve(result))) === null;
    const own = isFinal ? state : (readJson(join(result, 'trainer_state.json')) ?? state);
    return {
      config: (parse(readFileSync(join(place, 'config.yaml'), 'utf8')) ?? {}) as Record<string, unknown>,
      log: Array.isArray(own.log_history) ? (own.log_history as RunFacts['log']) : [],
      measured: isFinal ? (readJson(join(place, 'metrics.json')) as Measured | null) : null,
    };
  }
  return null;
}

/** An object in a file; null where there is none. */
function readJson(path: string): Readonly<Record<string, unknown>> | null {
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return null;
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null; // What is not sent need not be whole.
  }
}
