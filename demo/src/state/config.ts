/** From what the person chose to the configuration of a run: the same keys as in a config file of the command line. */
import type { ConfigInput, StoredData, StoredModel } from '../../../src/index.ts';
import type { Method, NumberName, Recipe } from './recipe.ts';

/** Below so many parameters, a model learns at far higher rates, and more from many small steps than from few large ones. */
const TINY = 2e7;
const STEPS = { tiny: 120, least: 30, most: 400 };
const ROWS_PER_STEP = { tiny: 4, other: 16 };
const RATES: Record<Method, { tiny: number; other: number }> = {
  lora: { tiny: 5e-3, other: 2e-4 },
  qlora: { tiny: 5e-3, other: 2e-4 },
  full: { tiny: 1e-3, other: 2e-5 },
};
const RANK = 16;
const EPOCHS = 3;
const LONGEST = 1024;
/** Steps between checkpoints: what a closed tab may cost. */
const SAVE_STEPS = { tiny: 20, other: 10 };
/** Looks at the rows that are kept apart, over a run. */
const EVALUATIONS = 3;

type Size = Pick<StoredModel, 'parameters' | 'contextLength'> | null;
const sizeOf = (model: Size) => (model === null || model.parameters < TINY ? 'tiny' : 'other');

export function rowsPerStep(model: Size): number {
  return ROWS_PER_STEP[sizeOf(model)];
}

/** What a number is where the person has not said it. */
export function defaultNumber(
  name: Exclude<NumberName, 'memory'>,
  method: Method,
  model: Size,
  rows: number | null,
): number {
  const size = sizeOf(model);
  switch (name) {
    case 'steps': {
      const passes = Math.ceil((EPOCHS * (rows ?? 0)) / rowsPerStep(model));
      return size === 'tiny' ? STEPS.tiny : Math.min(STEPS.most, Math.max(STEPS.least, passes));
    }
    case 'rate':
      return RATES[method][size];
    case 'rank':
      return RANK;
    case 'length':
      return Math.min(LONGEST, model?.contextLength ?? LONGEST);
  }
}

/** The share of rows that are trained on, that are evaluated, and that nobody sees before they are asked. */
export const SPLIT = [0.9, 0.05, 0.05] as const;

export function configOf(recipe: Recipe, model: StoredModel, data: StoredData, outputDir: string): ConfigInput {
  const { method } = recipe;
  const rows = data.report.splits.find(({ split }) => split === 'train')?.rows ?? 0;
  const numberOf = (name: Exclude<NumberName, 'memory'>) => recipe[name] ?? defaultNumber(name, method, model, rows);
  const steps = numberOf('steps');
  const r = numberOf('rank');
  const evaluates = data.paths.val_path !== null;
  const config: ConfigInput = {
    output_dir: outputDir,
    model: { name: model.path, max_seq_len: numberOf('length') },
    tuning: { mode: method, lora: { r, alpha: 2 * r, dropout: 0, target_modules: 'all-linear' } },
    train: {
      max_steps: steps,
      effective_batch_size: rowsPerStep(model),
      learning_rate: numberOf('rate'),
      lr_scheduler: 'cosine',
      eval_strategy: evaluates ? 'steps' : 'no',
      eval_steps: Math.max(10, Math.ceil(steps / EVALUATIONS)),
      save_strategy: 'steps',
      save_steps: SAVE_STEPS[sizeOf(model)],
      save_total_limit: 1,
      load_best_model_at_end: false,
    },
    data: { ...data.paths },
    ...(recipe.memory !== null && { memory: { budget_gib: recipe.memory } }),
    ...(recipe.adapter !== null && { devices: [recipe.adapter] }),
  };
  return withKeys(config, recipe.keys);
}

/** A configuration with some keys set; values as they would be written in a file. */
export function withKeys(config: ConfigInput, keys: Readonly<Record<string, string>>): ConfigInput {
  const changed = structuredClone(config) as Record<string, unknown>;
  for (const [path, value] of Object.entries(keys)) {
    const names = path.split('.');
    const last = names.pop() ?? '';
    let at = changed;
    for (const name of names) {
      const inner = Object.hasOwn(at, name) ? at[name] : undefined;
      at[name] = typeof inner === 'object' && inner !== null ? inner : {};
      at = at[name] as Record<string, unknown>;
    }
    at[last] = readValue(value);
  }
  return changed as ConfigInput;
}

function readValue(written: string): unknown {
  try {
    return JSON.parse(written);
  } catch {
    return written;
  }
}

/** Keys that have a control of their own on the page. */
const CONTROLS: Readonly<Record<string, NumberName>> = {
  'train.max_steps': 'steps',
  'train.learning_rate': 'rate',
  'tuning.lora.r': 'rank',
  'model.max_seq_len': 'length',
  'memory.budget_gib': 'memory',
};

/** What a hint such as `set train.batch_size: 8 and tuning.mode: qlora` sets. */
export function settingsIn(hint: string): readonly (readonly [key: string, value: string])[] {
  const pairs = hint.matchAll(/\b([a-z]\w*(?:\.[a-z]\w*)+): (\S+?)(?=,|;|\s|$)/g);
  return [...pairs].map(([, key = '', value = '']) => [key, value] as const);
}

/** What settings mean for a recipe. */
export function changeOf(settings: ReturnType<typeof settingsIn>, recipe: Recipe): Partial<Recipe> {
  let change: Partial<Recipe> = {};
  const keys: Record<string, string> = { ...recipe.keys };
  for (const [key, value] of settings) {
    const name = CONTROLS[key];
    if (key === 'tuning.mode') change = { ...change, method: value as Method };
    else if (name) change = { ...change, [name]: Number(value) };
    else keys[key] = value;
  }
  return { ...change, keys };
}
