/** The run: from the start button to the adapter. */
import { batch, computed, signal } from '@preact/signals';
import type { ConfigInput, StoredModel, TrainEvent, TrainOptions } from '../../../src/index.ts';
import { text } from '../text.ts';
import { changeRecipe, recipe } from './chosen.ts';
import { adoptRows, type Rows, rows } from './data.ts';
import { engine } from './engine.ts';
import { adoptModel, model } from './model.ts';
import { canRun, plan } from './plan.ts';
import { attempt, isInterruption, problems, showProblem } from './problems.ts';
import type { Recipe } from './recipe.ts';
import { forgetRun, type KeptRun, keepRun } from './visits.ts';

/** Where a run is between its start and its end. */
export type Phase = 'idle' | 'starting' | 'running' | 'paused' | 'stopping' | 'stopped' | 'failed' | 'done';

export interface Point {
  readonly step: number;
  readonly loss: number;
}

/** A run and what was chosen for it. */
export interface Run {
  readonly config: ConfigInput;
  readonly outputDir: string;
  readonly recipe: Recipe;
  readonly model: StoredModel;
  readonly rows: Rows;
}

export const phase = signal<Phase>('idle');
export const run = signal<Run | null>(null);
export const step = signal(0);
export const totalSteps = signal(0);
/** One for each step so far. The list is the same all the time; `step` tells that it has grown. */
export const losses: Point[] = [];
/** Losses on rows that are not trained on. */
export const evaluations: Point[] = [];
export const rate = signal(0);
export const tokensPerSecond = signal(0);
export const secondsPerStep = signal(0);
export const warnings = signal<readonly string[]>([]);
/** What is going on before the first step. */
export const stage = signal('');
/** Whether there is something to talk to, or to download: a checkpoint or a final model. */
export const hasAdapter = signal(false);

export const isActive = computed(() => ['starting', 'running', 'paused', 'stopping'].includes(phase.value));
/** A lock that only one tab has at a time. */
const ONE_TAB = 'webgpu-sft-demo training';
let stop = new AbortController();

export async function startTraining(): Promise<void> {
  const ready = plan.value;
  const base = model.value;
  if (!canRun(ready) || !base || isActive.value) return;
  const { config, rows: given } = ready;
  const { output_dir: outputDir = '' } = config;
  await train({ config, outputDir, recipe: recipe.value, model: base, rows: given }, {});
}

/** Goes on with a run that was stopped, in this visit or an earlier one. */
export async function continueRun(): Promise<void> {
  if (run.value && !isActive.value) await train(run.value, { resumeFrom: 'last' });
}

async function train(chosen: Run, options: TrainOptions): Promise<void> {
  problems.training.value = [];
  const before = phase.value;
  stop = new AbortController();
  // Before anything is waited for: a button that is pressed twice starts one run.
  batch(() => {
    phase.value = 'starting';
    stage.value = text.training.preparing;
  });
  const ended = await navigator.locks.request(ONE_TAB, { ifAvailable: true }, (lock) =>
    lock ? trainAlone(chosen, options) : null,
  );
  // Whoever may start again finds the lock free.
  phase.value = ended ?? before;
  if (ended === null) problems.training.value = [text.problems.otherTab];
}

/** How it ended. */
async function trainAlone(chosen: Run, options: TrainOptions): Promise<Phase> {
  batch(() => {
    run.value = chosen;
    warnings.value = [];
    if (options.resumeFrom === undefined) forgetProgress();
  });
  try {
    const trainer = await engine();
    // The rows and checkpoints are worth keeping from now on; the person has just said so.
    void trainer.persist().catch(() => {});
    const onProgress: TrainOptions['onProgress'] = (now) => {
      stage.value = text.training.stage(now);
    };
    for await (const event of trainer.train(chosen.config, { ...options, signal: stop.signal, onProgress })) {
      batch(() => hear(event, chosen));
    }
    return 'done';
  } catch (error) {
    if (isInterruption(error) && stop.signal.aborted) {
      hasAdapter.value ||= step.value > 0;
      // Before the first step there is nothing to save.
      return step.value > 0 ? 'stopped' : 'idle';
    }
    showProblem('training', error);
    return 'failed';
  }
}

function hear(event: TrainEvent, chosen: Run): void {
  switch (event.type) {
    case 'start':
      phase.value = 'running';
      totalSteps.value = event.total_steps;
      step.value = event.resumed_step;
      for (const points of [losses, evaluations]) while ((points.at(-1)?.step ?? 0) > event.resumed_step) points.pop();
      remember(chosen, false);
      break;
    case 'step':
      losses.push({ step: event.step, loss: event.loss });
      rate.value = event.learning_rate;
      tokensPerSecond.value = event.tokens_per_second;
      paceOf(event.step);
      step.value = event.step;
      break;
    case 'eval':
      evaluations.push({ step: event.step, loss: event.eval_loss });
      break;
    case 'checkpoint':
      hasAdapter.value = true;
      remember(chosen, false);
      break;
    case 'warning':
      warnings.value = [...warnings.value, event.message];
      break;
    case 'done':
      hasAdapter.value = true;
      remember(chosen, true);
      break;
  }
}

/** Of the last steps, so that a pause or a slow start is soon forgotten. */
const PACE = 0.2;
let lastStepAt = 0;

function paceOf(current: number): void {
  const now = performance.now();
  const seconds = (now - lastStepAt) / 1000;
  const isNext = current === step.value + 1 && lastStepAt > 0;
  lastStepAt = now;
  if (!isNext) return;
  const before = secondsPerStep.value;
  secondsPerStep.value = before === 0 ? seconds : before + PACE * (seconds - before);
}

function forgetProgress(): void {
  losses.length = 0;
  evaluations.length = 0;
  step.value = 0;
  totalSteps.value = 0;
  secondsPerStep.value = 0;
  tokensPerSecond.value = 0;
  rate.value = 0;
  lastStepAt = 0;
  hasAdapter.value = false;
}

/** Shown at once; the step that goes on ends first. */
export async function pauseTraining(): Promise<void> {
  if (phase.value !== 'running') return;
  phase.value = 'paused';
  lastStepAt = 0;
  await attempt('training', async () => (await engine()).pause());
}

export async function resumeTraining(): Promise<void> {
  if (phase.value !== 'paused') return continueRun();
  await attempt('training', async () => (await engine()).resume());
  if (phase.value === 'paused') phase.value = 'running';
}

/** Saves where it is and ends. */
export function stopTraining(): void {
  if (!isActive.value) return;
  phase.value = 'stopping';
  stop.abort();
}

function remember({ config, outputDir, recipe: chosen, model: base, rows: given }: Run, done: boolean): void {
  keepRun({
    config,
    outputDir,
    recipe: chosen,
    model: base,
    rows: given,
    done,
    step: step.value,
    totalSteps: totalSteps.value,
    losses,
    evaluations,
  });
}

/** Shows a run of an earlier visit as it was. */
export function adoptRun(kept: KeptRun): void {
  const { config, outputDir, recipe: chosen, model: base, rows: given } = kept;
  batch(() => {
    forgetProgress();
    changeRecipe(chosen);
    adoptModel(chosen.model, base);
    adoptRows(given);
    run.value = { config, outputDir, recipe: chosen, model: base, rows: given };
    losses.push(...kept.losses);
    evaluations.push(...kept.evaluations);
    step.value = kept.step;
    totalSteps.value = kept.totalSteps;
    hasAdapter.value = kept.step > 0;
    phase.value = kept.done ? 'done' : kept.step > 0 ? 'stopped' : 'idle';
  });
}

/** Back to before the first run. */
export function forgetAll(): void {
  batch(() => {
    forgetProgress();
    run.value = null;
    rows.value = null;
    plan.value = null;
    phase.value = 'idle';
  });
  forgetRun();
}
