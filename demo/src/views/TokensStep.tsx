import { useSignal } from '@preact/signals';
import { useMemo, useRef } from 'preact/hooks';
import {
  chooseRow,
  isTokensVisible,
  meansSeen,
  position,
  rowCount,
  type ShownRow,
  shownRow,
  tokenLosses,
} from '../state/tokens.ts';
import { whenVisible } from '../state/visible.ts';
import { text } from '../text.ts';
import { Problems } from './Problems.tsx';
import { Step } from './Step.tsx';
import { useDraft } from './useDraft.ts';

const ref = whenVisible(isTokensVisible);

export function TokensStep() {
  const shown = shownRow.value;
  return (
    <Step
      number={5}
      title={text.tokens.title}
      landmark
      state={shown ? 'open' : 'waiting'}
      lead={shown ? undefined : text.tokens.empty}
      element={ref}
    >
      {shown && (
        <>
          <Picker />
          <Row shown={shown} />
        </>
      )}
      <Problems place="tokens" />
    </Step>
  );
}

function Picker() {
  const { row, of, previous, next, mean } = text.tokens;
  const at = position.value;
  const means = meansSeen.value;
  const [first] = means;
  const last = means.at(-1);
  const draft = useDraft<HTMLInputElement>(String(at + 1), (written) =>
    chooseRow(Math.round(Number(written)) - 1 || 0),
  );
  return (
    <div class="picker">
      <label for="row">{row}</label>
      <input id="row" type="number" min={1} max={rowCount.value} {...draft} />
      <span>{of(rowCount.value)}</span>
      <button type="button" class="small" aria-label={previous} disabled={at <= 0} onClick={() => chooseRow(at - 1)}>
        ←
      </button>
      <button
        type="button"
        class="small"
        aria-label={next}
        disabled={at + 1 >= rowCount.value}
        onClick={() => chooseRow(at + 1)}
      >
        →
      </button>
      {first !== undefined && last !== undefined && <span class="mean">{mean(first, last)}</span>}
    </div>
  );
}

/** From 0 for "knows it" to 1 for "has no idea". */
function heatOf(loss: number): number {
  return 1 - Math.exp(-loss / 1.5);
}

function Row({ shown: { row, pieces } }: { readonly shown: ShownRow }) {
  const active = useSignal(-1);
  const list = useRef<HTMLDivElement>(null);
  const losses = tokenLosses.value;
  const many = pieces.length;
  const at = Math.min(active.value, many - 1);
  const isTrained = useMemo(() => row.labels.map((label, index) => index > 0 && label >= 0), [row]);
  const move = (to: number) => {
    active.value = Math.max(0, Math.min(many - 1, to));
    list.current?.querySelector(`#token-${active.value}`)?.scrollIntoView({ block: 'nearest' });
  };
  const keys: Record<string, () => void> = {
    ArrowRight: () => move(at + 1),
    ArrowLeft: () => move(at - 1),
    ArrowDown: () => move(at + 10),
    ArrowUp: () => move(at - 10),
    Home: () => move(0),
    End: () => move(many - 1),
  };
  const { list: listName, token, detail, pick, known, surprised, untrained, cut } = text.tokens;
  return (
    <>
      <div
        class="tokens"
        ref={list}
        role="listbox"
        tabIndex={0}
        aria-label={listName(row.row + 1)}
        aria-orientation="horizontal"
        aria-activedescendant={at >= 0 ? `token-${at}` : undefined}
        onFocus={() => at < 0 && move(0)}
        onKeyDown={(event) => {
          const act = keys[event.key];
          if (!act) return;
          event.preventDefault();
          act();
        }}
      >
        {pieces.map((piece, index) => {
          const loss = losses?.[index] ?? null;
          const trained = isTrained[index] ?? false;
          return (
            // biome-ignore lint/a11y/useFocusableInteractive: the list keeps the focus
            <span
              key={index}
              id={`token-${index}`}
              role="option"
              aria-selected={index === at}
              aria-label={token(piece, trained, loss)}
              data-trained={trained}
              data-known={loss !== null}
              style={loss === null ? {} : { '--heat': heatOf(loss).toFixed(3) }}
              onMouseEnter={() => {
                active.value = index;
              }}
            >
              {shownText(piece)}
            </span>
          );
        })}
      </div>
      <p class="detail">
        {at >= 0
          ? detail(pieces[at] ?? '', row.input_ids[at] ?? 0, isTrained[at] ?? false, losses?.[at] ?? null)
          : pick}
      </p>
      <p class="heat-legend" aria-hidden="true">
        <span data-trained="false">{untrained}</span>
        <span class="ramp">
          {known} <i /> {surprised}
        </span>
      </p>
      {row.truncated && <p class="note">{cut}</p>}
    </>
  );
}

/** Line ends can be seen. */
function shownText(piece: string): string {
  return piece.replaceAll('\n', '↵\n');
}
