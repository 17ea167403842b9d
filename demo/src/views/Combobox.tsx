/** A text field with a list of suggestions, as the ARIA Authoring Practices describe an editable combobox. */
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

export interface Option {
  readonly value: string;
  readonly label: string;
  readonly note: string;
}

interface Props {
  readonly id: string;
  readonly label: string;
  readonly listLabel: string;
  readonly hint: string;
  readonly value: string;
  readonly options: readonly Option[];
  readonly onChoose: (value: string) => void;
  /** Told when the list is about to be shown. */
  readonly onOpen: () => void;
}

export function Combobox({ id, label, listLabel, hint, value, options, onChoose, onOpen }: Props) {
  const written = useSignal(value);
  const open = useSignal(false);
  const active = useSignal(-1);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    written.value = value;
  }, [value, written]);

  const choose = (chosen: string) => {
    open.value = false;
    active.value = -1;
    written.value = value;
    onChoose(chosen);
  };
  const leave = () => {
    open.value = false;
    if (written.value.trim() !== value) onChoose(written.value);
  };
  const show = () => {
    if (open.value) return;
    open.value = true;
    onOpen();
  };
  const move = (by: number) => {
    show();
    const many = options.length;
    active.value = active.value < 0 && by < 0 ? many - 1 : (active.value + by + many) % many;
  };
  const keys: Record<string, () => void> = {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Enter: () => {
      const option = open.value ? options[active.value] : undefined;
      choose(option?.value ?? written.value);
    },
    Escape: () => {
      open.value = false;
      active.value = -1;
    },
  };
  const optionId = (index: number) => `${id}-option-${index}`;
  return (
    <div class="combobox" ref={root}>
      <label for={id}>{label}</label>
      <div class="combobox-field">
        <input
          id={id}
          type="text"
          role="combobox"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          aria-expanded={open.value}
          aria-controls={`${id}-list`}
          aria-autocomplete="none"
          aria-activedescendant={open.value && active.value >= 0 ? optionId(active.value) : undefined}
          aria-describedby={`${id}-hint`}
          value={written.value}
          onInput={(event) => {
            written.value = event.currentTarget.value;
            active.value = -1;
          }}
          onClick={show}
          onBlur={leave}
          onKeyDown={(event) => {
            const act = keys[event.key];
            if (!act || event.isComposing) return;
            event.preventDefault();
            act();
          }}
        />
        <div id={`${id}-list`} role="listbox" aria-label={listLabel} hidden={!open.value}>
          {options.map(({ value: one, label: name, note }, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the keys are those of the text field
            // biome-ignore lint/a11y/useFocusableInteractive: the text field keeps the focus
            <div
              key={one}
              id={optionId(index)}
              role="option"
              aria-selected={index === active.value}
              // Pressing must not take the focus, which would close the list.
              onMouseDown={(event) => event.preventDefault()}
              onClick={() => choose(one)}
            >
              {name}
              {note && <small>{note}</small>}
            </div>
          ))}
        </div>
      </div>
      <small id={`${id}-hint`}>{hint}</small>
    </div>
  );
}
