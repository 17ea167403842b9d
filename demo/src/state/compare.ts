/** Before and after: the same prompts answered by the base and by what is trained, again and again while it learns. */
import { batch, effect, signal } from '@preact/signals';
import type { Message, Row } from '../../../src/index.ts';
import { answering as isChatting } from './chat.ts';
import { engine } from './engine.ts';
import { Pace } from './pace.ts';
import { isInterruption, problems, showProblem } from './problems.ts';
import { isActive, phase, step } from './run.ts';
import { place, shown } from './shown.ts';
import { isTabVisible } from './visible.ts';

export interface Answer {
  readonly text: string;
  /** Whether it is still being written. */
  readonly writing: boolean;
  /** The optimizer step that the weights had. */
  readonly step: number;
}

export interface Prompt {
  readonly id: number;
  /** Turns before the one that is asked. */
  readonly before: readonly Message[];
  /** Of raw text, the model goes on; else it is a user's turn. */
  readonly isRaw: boolean;
  readonly asked: string;
  /** What the row says; null when the person has changed what is asked. */
  readonly expected: string | null;
  readonly base: Answer | null;
  readonly adapted: Answer | null;
}

export const prompts = signal<readonly Prompt[]>([]);
/** Whether the prompts are of rows that are trained on, since there are no others. */
export const areTrained = signal(false);
export const isCompareVisible = signal(false);

const PROMPTS = 3;
const MAX_NEW_TOKENS = 80;
/** Characters of a text row that are given, to be continued. */
const RAW_START = 80;
const pace = new Pace(0.15);
let stop = new AbortController();
let nextId = 0;
let turn = 0;

export function keepComparing(): void {
  let before: object | null = null;
  effect(() => {
    const now = shown.value;
    if (!now || now.rows === before) return;
    before = now.rows;
    void choosePrompts(now.rows.stored.paths);
  });
  effect(() => {
    isBlocked = false;
    // Neither a run that wants to begin nor a person who asks something waits for these answers.
    if (phase.value === 'starting' || isChatting.value) stop.abort();
  });
  effect(() => {
    // What there is to do changes with each of these.
    step.value;
    prompts.value;
    if (!place.value || !isTabVisible.value || isChatting.value) return;
    if (['starting', 'stopping', 'failed'].includes(phase.value)) return;
    if (phase.value === 'running' && !(isCompareVisible.value && pace.isDue)) return;
    void answerAll();
  });
}

async function choosePrompts({
  train_path,
  test_path,
}: {
  train_path: string;
  test_path: string | null;
}): Promise<void> {
  turn += 1;
  const mine = turn;
  try {
    const found = await (await engine()).rows(test_path ?? train_path, 0, PROMPTS);
    if (turn !== mine) return;
    stop.abort();
    isBlocked = false;
    batch(() => {
      areTrained.value = test_path === null;
      prompts.value = found.map(promptOf);
    });
  } catch (error) {
    if (turn === mine) showProblem('compare', error);
  }
}

function promptOf(row: Row): Prompt {
  nextId += 1;
  const rest = { id: nextId, base: null, adapted: null };
  if (row.kind === 'text') {
    const end = row.text.indexOf(' ', RAW_START);
    const cut = end < 0 ? Math.ceil(row.text.length / 2) : end;
    return { ...rest, before: [], isRaw: true, asked: row.text.slice(0, cut), expected: row.text.slice(cut) };
  }
  if (row.kind === 'prompt_completion') {
    return { ...rest, before: [], isRaw: true, asked: row.prompt, expected: row.completion };
  }
  const last = row.messages.findLastIndex(({ role }) => role === 'assistant');
  const given = row.messages.slice(0, last);
  const asked = given.at(-1);
  return {
    ...rest,
    before: given.slice(0, -1),
    isRaw: false,
    asked: asked?.content ?? '',
    expected: row.messages[last]?.content ?? null,
  };
}

export function editPrompt(id: number, asked: string): void {
  isBlocked = false;
  change(id, (prompt) =>
    asked === prompt.asked ? prompt : { ...prompt, asked, expected: null, base: null, adapted: null },
  );
}

function change(id: number, how: (prompt: Prompt) => Prompt): void {
  prompts.value = prompts.peek().map((prompt) => (prompt.id === id ? how(prompt) : prompt));
}

let answering = false;
/** After a problem: until something changes that may help. */
let isBlocked = false;

/** Answers what is not answered, or was answered by older weights. One thing after the other, and one call at a time. */
async function answerAll(): Promise<void> {
  if (answering || isBlocked) return;
  answering = true;
  stop = new AbortController();
  const { signal } = stop;
  try {
    for (let todo = nextTodo(); todo && !signal.aborted; todo = nextTodo()) {
      const { prompt, which } = todo;
      await pace.spend(() => answerOne(prompt, which, signal));
      // While it trains, one answer at a time.
      if (phase.peek() === 'running') break;
    }
    problems.compare.value = [];
  } catch (error) {
    isBlocked = !isInterruption(error);
    // A model that is not chosen any more may be gone.
    if (place.peek()) showProblem('compare', error);
  } finally {
    answering = false;
  }
}

/** Bases first, then whatever the adapter said longest ago. */
function nextTodo(): { prompt: Prompt; which: 'base' | 'adapted' } | null {
  const now = place.peek();
  if (!now || ['starting', 'stopping', 'failed'].includes(phase.peek())) return null;
  const all = prompts.peek();
  // A full fine-tune changes the base itself.
  const hasBase = !isActive.peek() || shown.peek()?.config.tuning?.mode !== 'full';
  const unasked = all.find(({ base, asked }) => !base && asked.trim() !== '');
  if (unasked && hasBase) return { prompt: unasked, which: 'base' };
  if (now.outputDir === undefined) return null;
  const current = step.peek();
  const ages = all.filter(({ asked, adapted }) => asked.trim() !== '' && (adapted?.step ?? -1) < current);
  ages.sort((a, b) => (a.adapted?.step ?? -1) - (b.adapted?.step ?? -1));
  return ages[0] ? { prompt: ages[0], which: 'adapted' } : null;
}

async function answerOne({ id, before, isRaw, asked }: Prompt, which: 'base' | 'adapted', signal: AbortSignal) {
  const now = place.peek();
  if (!now) return;
  const at = step.peek();
  const write = (answer: Answer) =>
    change(id, (prompt) => (prompt.asked === asked ? { ...prompt, [which]: answer } : prompt));
  const question = isRaw ? asked : [...before, { role: 'user', content: asked }];
  const useAdapter = which === 'adapted';
  let text = '';
  const answer = (await engine()).answer(now, question, { useAdapter, maxNewTokens: MAX_NEW_TOKENS, signal });
  for await (const piece of answer) {
    text += piece;
    write({ text, writing: true, step: at });
  }
  change(id, (prompt) => {
    if (prompt.asked !== asked) return prompt;
    return { ...prompt, [which]: signal.aborted ? null : { text, writing: false, step: at } };
  });
}
