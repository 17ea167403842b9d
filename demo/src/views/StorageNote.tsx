import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { model } from '../state/model.ts';
import { isActive, phase } from '../state/run.ts';
import { clearStorage, lookAtStorage, storage } from '../state/storage.ts';
import { text } from '../text.ts';
import { Problems } from './Problems.tsx';

export function StorageNote() {
  const asks = useSignal(false);
  const now = storage.value;
  const key = `${phase.value} ${model.value?.path}`;
  useEffect(() => {
    void lookAtStorage().catch(() => {});
  }, [key]);
  if (!now) return null;
  const { used, persisted, fleeting, clear, sure, yes, no } = text.storage;
  return (
    <div class="storage">
      <p>
        {used(now.usage, now.quota)}, {now.persisted ? persisted : fleeting}.
      </p>
      {asks.value ? (
        <div class="buttons">
          <span>{sure}</span>
          <button
            type="button"
            class="small danger"
            onClick={() => {
              asks.value = false;
              void clearStorage();
            }}
          >
            {yes}
          </button>
          <button
            type="button"
            class="small"
            onClick={() => {
              asks.value = false;
            }}
          >
            {no}
          </button>
        </div>
      ) : (
        <button
          type="button"
          class="small"
          disabled={isActive.value}
          onClick={() => {
            asks.value = true;
          }}
        >
          {clear}
        </button>
      )}
      <Problems place="storage" />
    </div>
  );
}
