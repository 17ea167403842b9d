import { render } from 'preact';
import { watchBattery } from './state/battery.ts';
import { recipe } from './state/chosen.ts';
import { keepComparing } from './state/compare.ts';
import { rows, useSample } from './state/data.ts';
import { lookForWebGpu, support } from './state/engine.ts';
import { keepPlanning } from './state/plan.ts';
import { attempt, showProblem } from './state/problems.ts';
import { parseRecipe } from './state/recipe.ts';
import { lookAtStorage } from './state/storage.ts';
import { keepTokens } from './state/tokens.ts';
import { lookForRun } from './state/visits.ts';
import { App } from './views/App.tsx';

/** Everything that is not needed to show the page. */
async function afterFirstPaint(): Promise<void> {
  await lookForWebGpu();
  if (support.value.kind !== 'ready') return;
  await lookAtStorage();
  await watchBattery();
  await lookForRun();
}

/** Keeps the page for visits without a network. */
async function keepPage(): Promise<void> {
  if (import.meta.env.PROD && 'serviceWorker' in navigator)
    await navigator.serviceWorker.register('./service-worker.js');
}

addEventListener('unhandledrejection', (event) => {
  event.preventDefault();
  showProblem('page', event.reason);
});
// A link to a set-up that is opened in this tab changes nothing but the hash.
addEventListener('hashchange', () => {
  recipe.value = parseRecipe(location.search, location.hash);
  if (recipe.value.sample && !rows.value) void useSample();
});

function start(): void {
  const page = document.getElementById('page');
  if (page) render(<App />, page);
  keepPlanning();
  keepTokens();
  keepComparing();
  if (recipe.value.sample) void useSample();
  requestAnimationFrame(() => {
    setTimeout(() => void attempt('page', afterFirstPaint), 0);
  });
}

// A task of its own: this one still has to lay the document out.
setTimeout(start, 0);
// Some browsers and private windows have no service workers; the page does without.
addEventListener('load', () => void keepPage().catch(() => {}));
