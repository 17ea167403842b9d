/** What went wrong, kept beside the control that caused it until it is tried again. */
import { type Signal, signal } from '@preact/signals';
import { text } from '../text.ts';

/** Parts of the page that show their own problems. */
const PLACES = [
  'page',
  'data',
  'model',
  'plan',
  'training',
  'tokens',
  'compare',
  'chat',
  'download',
  'storage',
] as const;
export type Place = (typeof PLACES)[number];

/** As the engine's errors and checks say it. */
export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

export const problems = Object.fromEntries(PLACES.map((place) => [place, signal([])])) as unknown as Readonly<
  Record<Place, Signal<readonly Problem[]>>
>;

/** Whoever wants to know that the engine's worker has ended. */
let whenWorkerLost = (): void => {};
export function onWorkerLost(listener: () => void): void {
  whenWorkerLost = listener;
}

/** What somebody asked to stop is no problem. */
export function isInterruption(error: unknown): boolean {
  const { code, name } = error as { code?: string; name?: string };
  return code === 'INTERRUPTED' || name === 'AbortError';
}

/** Errors of the engine are told by their fields: their class is loaded with the engine only. */
export function toProblem(error: unknown): Problem {
  const { name, code, message = String(error), hint } = error as Partial<Problem> & { name?: string };
  if (name === 'SftError' && code !== undefined) return { code, message, hint: hint ?? '' };
  if (/dynamically imported module|module script failed/i.test(message)) return text.problems.partMissing;
  return { code: 'INTERNAL', message, hint: text.problems.internalHint };
}

export function showProblem(place: Place, error: unknown): void {
  if (isInterruption(error)) return;
  const problem = toProblem(error);
  if (problem.code === 'WORKER_LOST') whenWorkerLost();
  problems[place].value = [problem];
}

/** Does something whose problems are shown at `place`; undefined when it failed. */
export async function attempt<T>(place: Place, work: () => Promise<T>): Promise<T | undefined> {
  problems[place].value = [];
  try {
    return await work();
  } catch (error) {
    showProblem(place, error);
    return undefined;
  }
}
