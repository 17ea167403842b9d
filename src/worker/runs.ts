/** Runs in the storage of the browser, wherever their configurations put them. */
import { openFolder, openStore } from '#platform';
import { foldersWith } from '../platform/browserStorage.ts';
import { SftError } from '../platform/errors.ts';
import type { ReadableFolder } from '../platform/types.ts';
import { listCheckpoints, readProgress } from '../train/checkpoint.ts';
import type { Config } from '../train/config.ts';
import { loadConfig } from '../train/configFile.ts';
import { readWhole } from '../train/readWhole.ts';
import type { UnfinishedRun } from './api.ts';

/** Folders within folders that are looked into for runs. */
const DEPTH = 6;
export const FINAL = 'final_model';

/** Paths of all runs. */
export function runFolders(): Promise<string[]> {
  return foldersWith('config.yaml', DEPTH);
}

/** The configuration that a run was begun with; null when there is none that this version understands. */
export async function configOf(outputDir: string): Promise<Config | null> {
  try {
    return (await loadConfig({ path: `${outputDir}/config.yaml`, readText: readWhole })).config;
  } catch (error) {
    if (error instanceof SftError) return null;
    throw error;
  }
}

/** Runs that have a checkpoint and no final model, and that nobody is busy with. */
export async function unfinishedRuns(): Promise<UnfinishedRun[]> {
  const found: UnfinishedRun[] = [];
  for (const path of await runFolders()) {
    const run = await unfinished(path);
    if (run) found.push(run);
  }
  return found;
}

async function unfinished(path: string): Promise<UnfinishedRun | null> {
  const store = await openStore(path);
  const release = await store.lock().catch(() => null);
  if (!release) return null;
  try {
    const newest = (await listCheckpoints(store)).at(-1);
    const config = newest && !(await store.folders()).includes(FINAL) ? await configOf(path) : null;
    if (!newest || !config) return null;
    const { trainer } = await readProgress(store.folder(newest.folder));
    return { config, step: newest.step, totalSteps: trainer.max_steps };
  } finally {
    await release();
  }
}

/** What a run has made: its final model, else its newest checkpoint. Null for none. */
export async function trainedFolder(outputDir: string): Promise<{ path: string; folder: ReadableFolder } | null> {
  if (!(await openFolder(outputDir).catch(() => null))) return null;
  const store = await openStore(outputDir);
  const newest = (await listCheckpoints(store)).at(-1)?.folder;
  const name = (await store.folders()).includes(FINAL) ? FINAL : newest;
  return name === undefined ? null : { path: `${outputDir}/${name}`, folder: store.folder(name) };
}
