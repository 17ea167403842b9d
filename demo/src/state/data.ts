/** The person's rows: from files, pasted text or the sample set to rows in storage that the engine knows. */
import { signal } from '@preact/signals';
import sampleUrl from '../../../assets/json-requests/train.jsonl?url';
import type { StoredData, Transfer } from '../../../src/index.ts';
import { text } from '../text.ts';
import { changeRecipe } from './chosen.ts';
import { SPLIT } from './config.ts';
import { engine } from './engine.ts';
import { formatOf } from './pasted.ts';
import { attempt, problems } from './problems.ts';

/** Rows that are ready. */
export interface Rows {
  /** What the person calls them: file names. */
  readonly name: string;
  readonly stored: StoredData;
}

export const rows = signal<Rows | null>(null);
/** What is being read; null when nothing is. */
export const reading = signal<{ readonly name: string; readonly progress: Transfer | null } | null>(null);
/** Files whose columns have names that nobody knows: the person can say what they hold. */
export const unnamed = signal<{ readonly files: readonly File[]; readonly columns: readonly string[] } | null>(null);
let stop = new AbortController();

interface UseOptions {
  readonly sample?: boolean;
  /** Fields of this project by the columns of the files. */
  readonly columns?: Readonly<Record<string, string>>;
}

export async function useFiles(files: readonly File[], { sample = false, columns }: UseOptions = {}): Promise<void> {
  if (files.length === 0) return;
  stop.abort();
  stop = new AbortController();
  const { signal } = stop;
  unnamed.value = null;
  const name = sample ? text.data.sampleName : nameOf(files);
  reading.value = { name, progress: null };
  const stored = await attempt('data', async () => {
    const onProgress = (progress: Transfer) => {
      if (!signal.aborted) reading.value = { name, progress };
    };
    return (await engine()).addData(files, { split: SPLIT, signal, onProgress, ...(columns && { columns }) });
  });
  if (signal.aborted) return;
  reading.value = null;
  if (!stored) {
    unnamed.value = unnamedColumns(files);
    return;
  }
  rows.value = { name, stored };
  changeRecipe({ sample });
}

export function stopReading(): void {
  stop.abort();
  reading.value = null;
}

/** Takes rows that are in storage as the chosen ones, in place of any that are being read. */
export function adoptRows(stored: Rows): void {
  stopReading();
  rows.value = stored;
}

export async function useSample(): Promise<void> {
  stop.abort();
  stop = new AbortController();
  const { signal } = stop;
  const file = await attempt('data', async () => new File([await load(sampleUrl)], 'requests.jsonl'));
  if (file && !signal.aborted) await useFiles([file], { sample: true });
}

/** The columns of files that were refused for them. */
function unnamedColumns(files: readonly File[]): (typeof unnamed)['value'] {
  const [problem] = problems.data.value;
  const [, list = ''] = /got the keys (".*")$/.exec(problem?.message ?? '') ?? [];
  try {
    const columns = JSON.parse(`[${list}]`) as string[];
    return columns.length > 1 ? { files, columns } : null;
  } catch {
    return null;
  }
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
