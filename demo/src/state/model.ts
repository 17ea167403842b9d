/** The model: from a name to a model in the storage of the browser. */
import { computed, signal } from '@preact/signals';
import type { ModelSource, StoredModel, Transfer } from '../../../src/index.ts';
import { changeRecipe, recipe } from './chosen.ts';
import { load } from './data.ts';
import { engine } from './engine.ts';
import { attempt, problems } from './problems.ts';
import { EMBEDDED, isLocal, localName, readModel } from './recipe.ts';

const embeddedUrls = import.meta.glob<string>(['../../../assets/tiny-llama/*.{json,jinja,safetensors}'], {
  query: '?url',
  import: 'default',
  eager: true,
});

/** What the chosen model's name stood for when it was brought: another name needs another model. */
const brought = signal<{ readonly name: string; readonly model: StoredModel } | null>(null);
/** The chosen model, when it is ready. */
export const model = computed<StoredModel | null>(() =>
  brought.value?.name === recipe.value.model ? brought.value.model : null,
);
/** Models that are in storage already, as far as was looked. */
export const storedModels = signal<readonly StoredModel[]>([]);
/** What is being brought; null when nothing is. */
export const fetching = signal<{ readonly name: string; readonly progress: Transfer | null } | null>(null);
/** For gated models. Kept for this visit only, and in no address. */
export const token = signal('');

let stop = new AbortController();
let underWay: { readonly name: string; readonly done: Promise<StoredModel | undefined> } | null = null;
/** Files of a folder of this computer, for as long as the page is open. */
let chosenFiles: { readonly name: string; readonly files: readonly File[] } | null = null;

export function chooseModel(name: string): void {
  const chosen = readModel(name);
  if (chosen === recipe.value.model && (model.value || fetching.value)) return;
  stopFetching();
  problems.model.value = [];
  changeRecipe({ model: chosen });
  void bringModel();
}

export function chooseFolder(name: string, files: readonly File[]): void {
  if (files.length === 0) return;
  chosenFiles = { name: localName(name), files };
  chooseModel(localName(name));
}

/** The chosen model, brought into storage if it is not there; undefined when that failed, and the reason is shown. */
export function bringModel(): Promise<StoredModel | undefined> {
  const name = recipe.value.model;
  if (model.value) return Promise.resolve(model.value);
  if (underWay?.name === name) return underWay.done;
  const done = bring(name).finally(() => {
    if (underWay?.done === done) underWay = null;
  });
  underWay = { name, done };
  return done;
}

async function bring(name: string): Promise<StoredModel | undefined> {
  stop = new AbortController();
  const { signal } = stop;
  fetching.value = { name, progress: null };
  const stored = await attempt('model', async () => {
    const trainer = await engine();
    storedModels.value = await trainer.models();
    // What is there needs no network, nor the folder that it came from.
    const isNew = name === EMBEDDED || chosenFiles?.name === name;
    const kept = isNew ? undefined : storedModels.value.find(({ title }) => title === shownName(name));
    if (kept) return kept;
    const onProgress = (progress: Transfer) => {
      if (!signal.aborted) fetching.value = { name, progress };
    };
    const fetched = await trainer.fetchModel(await sourceOf(name), { signal, onProgress });
    storedModels.value = await trainer.models();
    return fetched;
  });
  if (signal.aborted) return undefined;
  fetching.value = null;
  if (stored) brought.value = { name, model: stored };
  return stored;
}

export function stopFetching(): void {
  stop.abort();
  underWay = null;
  fetching.value = null;
}

/** Takes a model that is in storage as the chosen one, in place of one that is being brought. */
export function adoptModel(name: string, stored: StoredModel): void {
  stopFetching();
  changeRecipe({ model: name });
  brought.value = { name, model: stored };
}

export function forgetModels(): void {
  brought.value = null;
  storedModels.value = [];
}

/** What stands in the field, and what a model from there is called. */
export function shownName(name: string): string {
  return isLocal(name) ? name.slice(localName('').length) : name;
}

/** Looks which models are in storage. */
export async function lookForModels(): Promise<void> {
  try {
    storedModels.value = await (await engine()).models();
  } catch {
    // The list offers less then; whoever chooses from it is told what is wrong.
  }
}

async function sourceOf(name: string): Promise<ModelSource> {
  if (name === EMBEDDED) return { kind: 'files', name, files: await embeddedFiles() };
  if (isLocal(name)) {
    const kept = chosenFiles?.name === name ? chosenFiles.files : [];
    return { kind: 'files', name: shownName(name), files: kept };
  }
  // An address may be relative to the page.
  if (/^(https?:|\.{0,2}\/)/.test(name)) return { kind: 'url', url: new URL(name, document.baseURI).href };
  return { kind: 'hub', id: name, ...(token.value && { token: token.value }) };
}

/** A number that stands for a text. */
function markOf(text: string): number {
  let mark = 0;
  for (const letter of text.split('/').at(-1) ?? '') mark = (Math.imul(mark, 31) + letter.charCodeAt(0)) >>> 0;
  return mark;
}

async function embeddedFiles(): Promise<File[]> {
  return Promise.all(
    Object.entries(embeddedUrls).map(async ([path, url]) => {
      // The same file each time, so that it is found in storage, until it is another one: the build names it by its content.
      return new File([await load(url)], path.split('/').at(-1) ?? '', { lastModified: markOf(url) });
    }),
  );
}
