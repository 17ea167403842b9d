import { useRef } from 'preact/hooks';
import { changeRecipe, recipe } from '../state/chosen.ts';
import {
  bringModel,
  chooseFolder,
  chooseModel,
  fetching,
  lookForModels,
  model,
  shownName,
  stopFetching,
  storedModels,
  token,
} from '../state/model.ts';
import { problems } from '../state/problems.ts';
import { EMBEDDED, METHODS } from '../state/recipe.ts';
import { isActive } from '../state/run.ts';
import { text } from '../text.ts';
import { Combobox, type Option } from './Combobox.tsx';
import { filesOfFolder } from './folder.ts';
import { Problems } from './Problems.tsx';
import { Progress } from './Progress.tsx';
import { Settings } from './Settings.tsx';
import { Step } from './Step.tsx';

export function ModelStep() {
  const now = fetching.value;
  const ready = model.value;
  return (
    <Step number={2} title={text.model.title} lead={text.model.lead} state={ready ? 'done' : 'open'}>
      <fieldset class="plain" disabled={isActive.value}>
        <ModelChoice />
        {now && (
          <Progress
            label={text.model.fetching(shownName(now.name))}
            progress={now.progress}
            stop={text.model.stop}
            onStop={stopFetching}
          />
        )}
        <Problems place="model" />
        <Token />
        {ready && (
          <p class="note">
            {text.model.ready(ready.parameters, ready.contextLength, ready.type)}
            {!ready.hasTemplate && <span class="warn"> {text.model.noTemplate}</span>}
          </p>
        )}
        {isActive.value && <p class="note">{text.model.fixed}</p>}
        <Method />
        <Settings />
      </fieldset>
    </Step>
  );
}

const FOLDER = 'folder:';

function ModelChoice() {
  const fallback = useRef<HTMLInputElement>(null);
  const { model: chosen } = recipe.value;
  const choose = async (name: string) => {
    if (name !== FOLDER) return chooseModel(name);
    const picked = await filesOfFolder();
    if (picked === 'unsupported') fallback.current?.click();
    else if (picked) chooseFolder(picked.name, picked.files);
  };
  return (
    <div class="model-choice">
      <Combobox
        id="model"
        label={text.model.input}
        listLabel={text.model.list}
        hint={text.model.hint}
        value={shownName(chosen)}
        options={options()}
        onOpen={() => void lookForModels()}
        onChoose={(name) => void choose(name)}
      />
      {!model.value && !fetching.value && (
        <button type="button" onClick={() => void bringModel()}>
          {text.model.load}
        </button>
      )}
      <input
        ref={fallback}
        type="file"
        hidden
        // @ts-expect-error: not yet in the types of Preact
        webkitdirectory
        aria-label={text.model.folderInput}
        onChange={({ currentTarget }) => {
          const files = [...(currentTarget.files ?? [])];
          const [folder = ''] = (files[0]?.webkitRelativePath ?? '').split('/');
          chooseFolder(folder, files);
        }}
      />
    </div>
  );
}

/** The embedded model, those in storage, some to begin with, and a folder. */
function options(): Option[] {
  const { embedded, embeddedNote, suggestions, stored, folder } = text.model;
  const kept = storedModels.value.filter(({ title }) => title !== EMBEDDED);
  const titles = new Set(kept.map(({ title }) => title));
  return [
    { value: EMBEDDED, label: embedded, note: embeddedNote },
    ...kept.map(({ title, bytes }) => ({ value: title, label: title, note: stored(bytes) })),
    ...suggestions.filter(([id]) => !titles.has(id)).map(([id, note]) => ({ value: id, label: id, note })),
    { value: FOLDER, label: folder, note: '' },
  ];
}

/** Asked for only when the hub has refused a model. */
function Token() {
  const isRefused = problems.model.value.some(({ hint }) => hint.includes('HF_TOKEN'));
  if (!isRefused && (token.value === '' || model.value)) return null;
  return (
    <form
      class="field"
      onSubmit={(event) => {
        event.preventDefault();
        void bringModel();
      }}
    >
      <label for="token">{text.model.token}</label>
      <input
        id="token"
        type="password"
        autocomplete="off"
        aria-describedby="token-hint"
        value={token.value}
        onInput={(event) => {
          token.value = event.currentTarget.value.trim();
        }}
      />
      <small id="token-hint">{text.model.tokenHint}</small>
      <button type="submit">{text.model.loadWithToken}</button>
    </form>
  );
}

function Method() {
  return (
    <fieldset class="methods">
      <legend>{text.model.method}</legend>
      {METHODS.map((method) => {
        const [name, what] = text.model.methods[method];
        return (
          <label key={method}>
            <input
              type="radio"
              name="method"
              checked={recipe.value.method === method}
              onChange={() => changeRecipe({ method })}
            />
            <span>
              <strong>{name}</strong> <small>{what}</small>
            </span>
          </label>
        );
      })}
    </fieldset>
  );
}
