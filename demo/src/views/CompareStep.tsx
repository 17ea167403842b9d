import { type Answer, areTrained, editPrompt, isCompareVisible, type Prompt, prompts } from '../state/compare.ts';
import { place } from '../state/shown.ts';
import { whenVisible } from '../state/visible.ts';
import { text } from '../text.ts';
import { Problems } from './Problems.tsx';
import { Step } from './Step.tsx';
import { useDraft } from './useDraft.ts';

const ref = whenVisible(isCompareVisible);

export function CompareStep() {
  const all = prompts.value;
  const { title, empty, held, trained } = text.compare;
  return (
    <Step
      number={6}
      title={title}
      landmark
      state={all.length > 0 ? 'open' : 'waiting'}
      lead={all.length === 0 ? empty : areTrained.value ? trained : held}
      element={ref}
    >
      {all.map((prompt, index) => (
        <Pair key={prompt.id} number={index + 1} prompt={prompt} />
      ))}
      <Problems place="compare" />
    </Step>
  );
}

function Pair({ number, prompt }: { readonly number: number; readonly prompt: Prompt }) {
  const { id, before, asked, expected, base, adapted } = prompt;
  const { prompt: name, base: baseName, adapted: adaptedName, expected: expectedName, at } = text.compare;
  const isTrained = place.value?.outputDir !== undefined;
  const draft = useDraft<HTMLTextAreaElement>(asked, (written) => editPrompt(id, written));
  return (
    <div class="pair">
      {before.map(({ role, content }, index) => (
        <p class="turn" key={index}>
          <b>{role}</b> {content}
        </p>
      ))}
      <label for={`prompt-${id}`} class="quiet">
        {name(number)}
      </label>
      <textarea id={`prompt-${id}`} rows={Math.min(6, Math.ceil((draft.value.length + 1) / 70))} {...draft} />
      <div class="answers">
        <Said name={baseName} answer={base} expected={expected} waits={text.compare.waiting} />
        <Said
          name={adaptedName}
          answer={adapted}
          expected={expected}
          waits={isTrained ? text.compare.waiting : text.compare.notYet}
          note={adapted ? at(adapted.step) : ''}
        />
      </div>
      {expected !== null && (
        <p class="expected">
          <b>{expectedName}</b> {expected}
        </p>
      )}
    </div>
  );
}

interface SaidProps {
  readonly name: string;
  readonly answer: Answer | null;
  readonly expected: string | null;
  readonly waits: string;
  readonly note?: string;
}

function Said({ name, answer, expected, waits, note = '' }: SaidProps) {
  const said = answer?.text.trim() ?? '';
  return (
    <div class="said" data-writing={answer?.writing ?? false}>
      <p class="said-head">
        <b>{name}</b> <small>{note}</small>
        {answer && !answer.writing && <Verdict said={said} expected={expected} />}
      </p>
      <p class={answer ? 'answer' : 'answer waits'}>{answer ? said || text.compare.nothing : waits}</p>
    </div>
  );
}

/** Where rows answer with JSON, whether this is some; and whether it is what the row says. */
function Verdict({ said, expected }: { readonly said: string; readonly expected: string | null }) {
  if (expected === null) return null;
  if (said === expected.trim()) return <span class="verdict good">{text.compare.same}</span>;
  if (!isObject(expected)) return null;
  return isObject(said) ? (
    <span class="verdict good">{text.compare.json}</span>
  ) : (
    <span class="verdict">{text.compare.noJson}</span>
  );
}

function isObject(said: string): boolean {
  try {
    const value: unknown = JSON.parse(said);
    return typeof value === 'object' && value !== null;
  } catch {
    return false;
  }
}
