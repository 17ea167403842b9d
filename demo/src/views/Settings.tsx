/** The settings that a person may leave alone. */
import { useSignal } from '@preact/signals';
import { changeRecipe, recipe, recipeLink } from '../state/chosen.ts';
import { defaultNumber, rowsPerStep } from '../state/config.ts';
import { rows } from '../state/data.ts';
import { model } from '../state/model.ts';
import { plan } from '../state/plan.ts';
import { ADAPTERS, isSettable, NUMBERS, type NumberName, readNumber } from '../state/recipe.ts';
import { text } from '../text.ts';
import { useDraft } from './useDraft.ts';

export function Settings() {
  const { names } = text.settings;
  const given = rows.value?.stored.report.splits.find(({ split }) => split === 'train')?.rows ?? null;
  const { method, steps } = recipe.value;
  const defaultOf = (name: NumberName) => {
    if (name !== 'memory') return String(defaultNumber(name, method, model.value, given));
    return plan.value?.budget ? (plan.value.budget.bytes / 2 ** 30).toFixed(2) : '';
  };
  const perStep = rowsPerStep(model.value);
  const epochs = given === null ? null : ((steps ?? Number(defaultOf('steps'))) * perStep) / given;
  const shown = (Object.keys(names) as NumberName[]).filter((name) => name !== 'rank' || method !== 'full');
  return (
    <details class="settings">
      <summary>{text.settings.more}</summary>
      <div class="fields">
        {shown.map((name) => (
          <NumberField key={name} name={name} usual={defaultOf(name)} note={names[name][1](perStep, epochs)} />
        ))}
        <div class="field">
          <label for="gpu">{text.settings.adapter}</label>
          <select
            id="gpu"
            value={recipe.value.adapter ?? ''}
            onChange={({ currentTarget: { value } }) =>
              changeRecipe({ adapter: ADAPTERS.find((one) => one === value) ?? null })
            }
          >
            {(['', ...ADAPTERS] as const).map((one) => (
              <option key={one} value={one}>
                {text.settings.adapters[one]}
              </option>
            ))}
          </select>
        </div>
      </div>
      <Keys />
      <Link />
    </details>
  );
}

interface NumberProps {
  readonly name: NumberName;
  readonly usual: string;
  readonly note: string;
}

function NumberField({ name, usual, note }: NumberProps) {
  const { least, most, whole } = NUMBERS[name];
  const chosen = recipe.value[name];
  const wrong = useSignal<string | null>(null);
  const write = (written: string) => {
    const value = readNumber(name, written);
    const isWrong = value === null && written.trim() !== '';
    wrong.value = isWrong ? written : null;
    if (!isWrong) changeRecipe({ [name]: value });
  };
  const id = `setting-${name}`;
  return (
    <div class="field">
      <label for={id}>{text.settings.names[name][0]}</label>
      <input
        id={id}
        type="text"
        inputMode={whole ? 'numeric' : 'decimal'}
        autocomplete="off"
        placeholder={usual}
        aria-describedby={`${id}-note`}
        aria-invalid={wrong.value !== null}
        value={wrong.value ?? (chosen === null ? '' : String(chosen))}
        onInput={(event) => write(event.currentTarget.value)}
      />
      <small id={`${id}-note`} class={wrong.value === null ? '' : 'warn'}>
        {wrong.value === null ? note : text.settings.wrong(least, most, whole)}
      </small>
    </div>
  );
}

const linesOf = (keys: Readonly<Record<string, string>>) =>
  Object.entries(keys)
    .map(([key, value]) => `${key}: ${value}`)
    .join('\n');

function Keys() {
  const { keys } = recipe.value;
  const wrong = useSignal<{ readonly written: string; readonly line: string } | null>(null);
  const write = (written: string) => {
    const read: Record<string, string> = {};
    for (const line of written.split('\n').filter((one) => one.trim() !== '')) {
      const [, key = '', value = ''] = /^\s*([\w.]+)\s*:\s*(\S.*?)\s*$/.exec(line) ?? [];
      if (!isSettable(key)) {
        wrong.value = { written, line };
        return;
      }
      read[key] = value;
    }
    wrong.value = null;
    changeRecipe({ keys: read });
  };
  const draft = useDraft<HTMLTextAreaElement>(wrong.value?.written ?? linesOf(keys), write);
  return (
    <div class="field wide">
      <label for="keys">{text.settings.keys}</label>
      <textarea
        id="keys"
        rows={2}
        spellcheck={false}
        autocapitalize="off"
        aria-describedby="keys-note"
        aria-invalid={wrong.value !== null}
        {...draft}
      />
      <small id="keys-note" class={wrong.value ? 'warn' : ''}>
        {wrong.value ? text.settings.keysWrong(wrong.value.line) : text.settings.keysHint}
      </small>
    </div>
  );
}

function Link() {
  const said = useSignal<string>(text.settings.linkNote);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(recipeLink());
      said.value = text.settings.copied;
    } catch {
      said.value = text.problems.notCopied;
    }
  };
  return (
    <p class="buttons">
      <button type="button" class="small" onClick={() => void copy()}>
        {text.settings.link}
      </button>
      <small aria-live="polite">{said.value}</small>
    </p>
  );
}
