/** The person's rows: from files, pasted text or the sample set to rows in storage that the engine knows. */
import { signal } from '@preact/signals';
import sampleUrl from '../../../assets/json-requests/train.jsonl?url';
import type { StoredData, Transfer } from '../../../src/index.ts';
import { text } from '../text.ts';
import { changeRecipe } from './chosen.ts';
import { SPLIT } from './config.ts';
import { engine } from './engine.ts';
import { formatOf } from './pasted.ts';
import { attempt } from './problems.ts';

/** Rows that are ready. */
export interface Rows {
  /** What the person calls them: file names. */
  readonly name: string;
  readonly stored: StoredData;
}

export const rows = signal<Rows | null>(null);
/** What is being read; null when nothing is. */
export const reading = signal<{ readonly name: string; readonly progress: Transfer | null } | null>(null);
let stop = new AbortController();

export async function useFiles(files: readonly File[], sample = false): Promise<void> {
  if (files.length === 0) return;
  stop.abort();
  stop = new AbortController();
  const { signal } = stop;
  const name = sample ? text.data.sampleName : nameOf(files);
  reading.value = { name, progress: null };
  const stored = await attempt('data', async () => {
    const onProgress = (progress: Transfer) => {
      if (!signal.aborted) reading.value = { name, progress };
    };
    return (await engine()).addData(files, { split: SPLIT, signal, onProgress });
  });
  if (signal.aborted) return;
  reading.value = null;
  if (!stored) return;
  rows.value = { name, stored };
  changeRecipe({ sample });
}

export function stopReading(): void {
  stop.abort();
  reading.value = null;
}

export async function useSample(): Promise<void> {
  const file = await attempt('data', async () => new File([await load(sampleUrl)], 'requests.jsonl'));
  if (file) await useFiles([file], true);
}

/** Pasted text is a file of the format that it looks like. */
export function usePasted(pasted: string): Promise<void> {
  return useFiles([new File([pasted], `${text.data.pastedName}.${formatOf(pasted)}`)]);
}

function nameOf(files: readonly File[]): string {
  const [first] = files;
  return files.length === 1 && first ? first.name : text.data.files(files.length);
}

/** A file of this page. */
export async function load(url: string): Promise<Blob> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(text.problems.ownFile(url, response.status));
  return response.blob();
}
