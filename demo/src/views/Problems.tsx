/** What went wrong at one place, what to do about it, and where the page can do it itself, a button that does. */
import { changeRecipe, recipe } from '../state/chosen.ts';
import { changeOf, settingsIn } from '../state/config.ts';
import { model } from '../state/model.ts';
import { type Place, problems } from '../state/problems.ts';
import { inPageWords } from '../state/wording.ts';
import { text } from '../text.ts';

/** More are counted only. */
const MOST_SHOWN = 5;

export function Problems({ place }: { readonly place: Place }) {
  const { value } = problems[place];
  if (value.length === 0) return null;
  return (
    <div class="problems" role="alert" id={`problems-${place}`}>
      {value.slice(0, MOST_SHOWN).map(({ message, hint }) => (
        <div class="problem" key={message}>
          <p>{inPageWords(message, model.value)}</p>
          {hint && <Hint hint={hint} />}
        </div>
      ))}
      {value.length > MOST_SHOWN && <p>{text.page.moreProblems(value.length - MOST_SHOWN)}</p>}
    </div>
  );
}

/** A hint that sets something in a config file is said in the words of the page, with a button that does it. */
function Hint({ hint }: { readonly hint: string }) {
  const settings = settingsIn(hint);
  if (settings.length === 0) return <p class="hint">{inPageWords(hint, model.value)}</p>;
  const { would, setting, keyNames } = text.plan;
  const said = settings.map(([key, value]) => setting(keyNames[key] ?? key, value)).join(', ');
  return (
    <p class="hint">
      {would(said)}
      <button type="button" class="small" onClick={() => changeRecipe(changeOf(settings, recipe.value))}>
        {text.page.apply}
      </button>
    </p>
  );
}
