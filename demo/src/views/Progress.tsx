/** A transfer under way, with a way to end it. */
import type { Transfer } from '../../../src/index.ts';
import { text } from '../text.ts';

interface Props {
  readonly label: string;
  readonly progress: Transfer | null;
  readonly stop: string;
  readonly onStop: () => void;
}

export function Progress({ label, progress, stop, onStop }: Props) {
  const total = progress?.total ?? null;
  return (
    <div class="progress">
      <p>
        {label}
        {progress && <small>{text.model.file(progress.what, progress.done, total)}</small>}
      </p>
      <progress aria-label={label} {...(total !== null && total > 0 && { value: progress?.done ?? 0, max: total })} />
      <button type="button" class="small" onClick={onStop}>
        {stop}
      </button>
    </div>
  );
}
