import { useSignal } from '@preact/signals';
import type { TargetedEvent } from 'preact';

type Field = HTMLInputElement | HTMLTextAreaElement;

/** The properties of a field that keeps what a person is writing in it, however often the page changes around it meanwhile. */
export function useDraft<T extends Field>(value: string, commit: (written: string) => void) {
  const written = useSignal<string | null>(null);
  return {
    value: written.value ?? value,
    onInput: (event: TargetedEvent<T>) => {
      written.value = event.currentTarget.value;
    },
    onChange: (event: TargetedEvent<T>) => {
      written.value = null;
      commit(event.currentTarget.value);
    },
    onBlur: () => {
      written.value = null;
    },
  };
}
