import { downloadAdapter, packing } from '../state/download.ts';
import { hasAdapter, phase, run } from '../state/run.ts';
import { text } from '../text.ts';
import { Problems } from './Problems.tsx';
import { Step } from './Step.tsx';

export function DownloadStep() {
  const isFull = run.value?.config.tuning?.mode === 'full';
  const { title, lead, leadFull, adapter, model, packing: busy, notYet } = text.download;
  const can = hasAdapter.value;
  return (
    <Step number={8} title={title} lead={isFull ? leadFull : lead} state={can ? 'open' : 'waiting'}>
      <div class="buttons">
        <button
          type="button"
          class={phase.value === 'done' ? 'main' : ''}
          disabled={!can || packing.value}
          onClick={() => void downloadAdapter()}
        >
          {isFull ? model : adapter}
        </button>
        <small>{packing.value ? busy : can ? '' : notYet}</small>
      </div>
      <Problems place="download" />
    </Step>
  );
}
