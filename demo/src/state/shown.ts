/** The configuration that the lower half of the page is about: that of the run, or of the plan where the run is about something else. */
import { computed } from '@preact/signals';
import type { ConfigInput } from '../../../src/index.ts';
import { type Rows, rows } from './data.ts';
import { model } from './model.ts';
import { canRun, plan } from './plan.ts';
import { hasAdapter, isActive, phase, run } from './run.ts';

/** Whether the run is about the model and the rows that are chosen now. */
const isCurrent = computed(() => {
  const { value } = run;
  if (!value) return false;
  return isActive.value || (value.rows === rows.value && value.model.path === model.value?.path);
});

export interface Shown {
  readonly config: ConfigInput;
  readonly rows: Rows;
  /** Whether `config` is that of a run that has weights of its own. */
  readonly trained: boolean;
}

export const shown = computed<Shown | null>(() => {
  const { value } = run;
  if (value && isCurrent.value && (isActive.value || hasAdapter.value)) {
    return { config: value.config, rows: value.rows, trained: true };
  }
  const ready = plan.value;
  return canRun(ready) ? { config: ready.config, rows: ready.rows, trained: false } : null;
});

/** Where the engine finds what is talked to; null before there is a model. */
export const place = computed<{ model: string; outputDir?: string } | null>(() => {
  const { value } = run;
  if (value && isCurrent.value && (hasAdapter.value || phase.value === 'running' || phase.value === 'paused')) {
    return { model: value.model.path, outputDir: value.outputDir };
  }
  return model.value && { model: model.value.path };
});
