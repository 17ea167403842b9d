/** What this page has stored on the person's computer. */
import { signal } from '@preact/signals';
import { engine } from './engine.ts';
import { forgetModels } from './model.ts';
import { attempt } from './problems.ts';
import { forgetAll } from './run.ts';

export const storage = signal<{ readonly usage: number; readonly quota: number; readonly persisted: boolean } | null>(
  null,
);

export async function lookAtStorage(): Promise<void> {
  // Asked of the browser, so that no engine is needed to know.
  const { usage = 0, quota = 0 } = await navigator.storage.estimate();
  storage.value = { usage, quota, persisted: await navigator.storage.persisted() };
}

/** Removes models, rows and runs. */
export async function clearStorage(): Promise<void> {
  const cleared = await attempt('storage', async () => {
    await (await engine()).clear();
    return true;
  });
  if (cleared) {
    forgetAll();
    forgetModels();
  }
  await lookAtStorage();
}
