import { adoptRun, continueRun } from '../state/run.ts';
import { offered } from '../state/visits.ts';
import { text } from '../text.ts';

/** What the last visit left: a run to go on with, or one to look at. */
export function EarlierVisit() {
  const kept = offered.value;
  if (!kept) return null;
  const { unfinished, begun, done, resume, setUp, open, forget } = text.earlier;
  const { title } = kept.model;
  const isBegun = kept.step > 0;
  const message = kept.done
    ? done(kept.totalSteps, title)
    : isBegun
      ? unfinished(kept.step, kept.totalSteps, title)
      : begun(title);
  const take = async () => {
    offered.value = null;
    adoptRun(kept);
    if (!kept.done && isBegun) await continueRun();
  };
  return (
    <aside class="notice earlier" aria-label={text.earlier.label}>
      <p>{message}</p>
      <div class="buttons">
        <button type="button" class="main" onClick={() => void take()}>
          {kept.done ? open : isBegun ? resume : setUp}
        </button>
        <button
          type="button"
          onClick={() => {
            offered.value = null;
          }}
        >
          {forget}
        </button>
      </div>
    </aside>
  );
}
