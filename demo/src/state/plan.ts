/** The memory plan, and everything else that can be known to be wrong before anything starts: made anew with each change. */
import { effect, signal } from '@preact/signals';
import type { ConfigInput, RunCheck } from '../../../src/index.ts';
import { text } from '../text.ts';
import { recipe } from './chosen.ts';
import { configOf, withKeys } from './config.ts';
import { type Rows, rows } from './data.ts';
import { engine, openDevice } from './engine.ts';
import { bringModel, model } from './model.ts';
import { type Problem, problems, showProblem } from './problems.ts';

export interface Plan {
  readonly config: ConfigInput;
  readonly check: RunCheck;
  readonly rows: Rows;
  /** Bytes that the run may take. */
  readonly budget: { readonly bytes: number; readonly guess: boolean } | null;
  /** Of a plan that does not fit: what it would take. */
  readonly tooLarge: RunCheck['plan'];
}

/** Whether a run can begin as it is planned. */
export function canRun(ready: Plan | null): ready is Plan {
  return ready !== null && ready.check.plan !== null && ready.check.problems.length === 0;
}

/** The plan for what is chosen now; null while there is none. */
export const plan = signal<Plan | null>(null);
/** Whether one is being made. */
export const planning = signal(false);
/** Milliseconds of quiet before a plan is made: numbers are typed digit by digit. */
const QUIET = 200;
const HUGE_GIB = 1e6;

/** Where the problems of a check are shown. */
const PLACES: Readonly<Record<string, 'data' | 'model' | 'plan'>> = { DATA: 'data', MODEL: 'model', TEMPLATE: 'model' };

/** A folder for the next run. */
function newFolder(): string {
  return `runs/${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}`;
}

/** Keeps the plan up to date. */
export function keepPlanning(): void {
  let timer: ReturnType<typeof setTimeout>;
  let turn = 0;
  effect(() => {
    const chosen = recipe.value;
    const given = rows.value;
    const ready = model.value;
    clearTimeout(timer);
    turn += 1;
    const mine = turn;
    plan.value = null;
    if (!given) return;
    planning.value = true;
    const make = async () => {
      try {
        if (!ready) {
          // Bringing it changes `model`, which comes back here.
          await bringModel();
          return;
        }
        const made = await makePlan(configOf(chosen, ready, given.stored, newFolder()), given);
        if (turn === mine) plan.value = made;
      } catch (error) {
        if (turn === mine) showProblem('plan', error);
      } finally {
        if (turn === mine) planning.value = false;
      }
    };
    timer = setTimeout(() => void make(), QUIET);
  });
}

async function makePlan(config: ConfigInput, given: Rows): Promise<Plan> {
  const trainer = await engine();
  const device = await openDevice();
  const check = await trainer.check(config);
  const byPlace: Record<'data' | 'model' | 'plan', Problem[]> = { data: [], model: [], plan: [] };
  for (const { code, where, message, hint } of check.problems) {
    // The bar tells by how much it is too large.
    const told = code === 'OUT_OF_MEMORY' ? text.plan.tooLargeTitle : where ? `${where}: ${message}` : message;
    byPlace[PLACES[code] ?? 'plan'].push({ code, message: told, hint });
  }
  for (const place of ['data', 'model', 'plan'] as const) problems[place].value = byPlace[place];
  const asked = check.config?.memory.budget_gib ?? null;
  const budget = asked === null ? device.budget : { bytes: asked * 2 ** 30, guess: false };
  const refused = byPlace.plan.some(({ code }) => code === 'OUT_OF_MEMORY');
  const tooLarge = refused ? (await trainer.check(withKeys(config, withRoom(check)))).plan : null;
  return { config, check, rows: given, budget, tooLarge };
}

/** What makes a run that was refused one that has room: as it was refused, in its smallest form. */
function withRoom({ config }: RunCheck): Record<string, string> {
  const keys: Record<string, string> = { 'memory.budget_gib': `${HUGE_GIB}` };
  if (config?.train.batch_size === 'auto') keys['train.batch_size'] = '1';
  if (config?.train.gradient_checkpointing === 'auto') keys['train.gradient_checkpointing'] = 'true';
  return keys;
}
