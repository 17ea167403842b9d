/** The token inspector: one row at a time, what of it is trained, and how its losses fall. */
import { batch, effect, signal } from '@preact/signals';
import type { InspectedRow } from '../../../src/index.ts';
import { engine } from './engine.ts';
import { Pace } from './pace.ts';
import { attempt, problems, showProblem } from './problems.ts';
import { phase, step } from './run.ts';
import { shown } from './shown.ts';
import { spellTokens } from './spelling.ts';
import { isTabVisible } from './visible.ts';

export interface ShownRow {
  readonly row: InspectedRow;
  /** The text of each token. */
  readonly pieces: readonly string[];
}

/** From 0, among the rows that are trained on. */
export const position = signal(0);
export const rowCount = signal(0);
export const shownRow = signal<ShownRow | null>(null);
/** Of each token of the row; null where it is not trained, and all of it null while nobody has looked. */
export const tokenLosses = signal<readonly (number | null)[] | null>(null);
/** Means of the row each time that it was looked at. */
export const meansSeen = signal<readonly number[]>([]);
export const isTokensVisible = signal(false);

const pace = new Pace(0.1);
let asking = false;

export function keepTokens(): void {
  let turn = 0;
  let before: object | null = null;
  effect(() => {
    const now = shown.value;
    const at = position.value;
    turn += 1;
    const mine = turn;
    if (!now) {
      shownRow.value = null;
      problems.tokens.value = [];
      return;
    }
    // The same rows of a plan that was made anew are the same rows.
    if (before !== now.rows) position.value = 0;
    before = now.rows;
    void attempt('tokens', async () => (await engine()).inspect(now.config, at, 1)).then((found) => {
      if (turn !== mine || !found) return;
      const [row] = found.rows;
      batch(() => {
        const isSame = shownRow.value?.row.row === row?.row && shownRow.value?.row.text === row?.text;
        rowCount.value = found.report.kept;
        shownRow.value = row ? { row, pieces: spellTokens(row.tokens) } : null;
        if (!isSame) forgetLosses();
      });
    });
  });
  effect(() => {
    // Whatever changes the answer, and whatever lets us ask.
    step.value;
    const ended = phase.value === 'done' || phase.value === 'stopped';
    if (!shownRow.value || !isTokensVisible.value || !isTabVisible.value) return;
    if (phase.value === 'starting' || phase.value === 'stopping' || phase.value === 'failed') return;
    if (ended || pace.isDue) void askLosses();
  });
}

function forgetLosses(): void {
  tokenLosses.value = null;
  meansSeen.value = [];
}

async function askLosses(): Promise<void> {
  const now = shown.peek();
  const row = shownRow.peek()?.row;
  if (asking || !now || !row) return;
  asking = true;
  const at = step.peek();
  try {
    const trainer = await engine();
    const found = await pace.spend(() => trainer.tokenLosses(now.config, row.row));
    if (shownRow.peek()?.row === row) {
      batch(() => {
        tokenLosses.value = found;
        meansSeen.value = [...meansSeen.peek(), mean(found)];
      });
    }
    problems.tokens.value = [];
  } catch (error) {
    // What nobody looks at any more may be gone.
    if (shownRow.peek()?.row === row) showProblem('tokens', error);
  } finally {
    asking = false;
  }
  // What came in the meantime was not asked for.
  const isStale = step.peek() !== at || shownRow.peek()?.row !== row;
  if (isStale && phase.peek() !== 'running') void askLosses();
}

export function mean(losses: readonly (number | null)[]): number {
  const trained = losses.filter((loss) => loss !== null);
  return trained.reduce((sum, loss) => sum + loss, 0) / Math.max(1, trained.length);
}

export function chooseRow(at: number): void {
  position.value = Math.max(0, Math.min(rowCount.value - 1, at));
}
