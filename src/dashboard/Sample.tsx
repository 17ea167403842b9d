/** What a run answers to fixed prompts, and the loss of each token of fixed rows: now, and as it was. */
import { useState } from 'preact/hooks';
import { type Run, version } from './runs.ts';
import { short, text } from './text.ts';

export function Sample({ run }: { run: Run }) {
  version.value;
  /** Null stays with the last one. */
  const [chosen, choose] = useState<number | null>(null);
  const last = run.samples.length - 1;
  const place = Math.min(chosen ?? last, last);
  const sample = run.samples[place];
  if (!sample) return null;
  return (
    <section class="card wide">
      <h2>
        {text.samples}{' '}
        <span class="soft">
          {run.title}, {text.samplesOf(sample.step)}
        </span>
      </h2>
      {last > 0 && (
        <input
          type="range"
          max={last}
          value={place}
          aria-label={text.samplesWhen}
          aria-valuetext={text.samplesOf(sample.step)}
          onInput={({ currentTarget: { valueAsNumber: wanted } }) => choose(wanted === last ? null : wanted)}
        />
      )}
      <dl>
        {sample.answers.map(({ prompt, answer, reference }, index) => (
          <div key={index} class="answer">
            <dt>{text.prompt}</dt>
            <dd>{prompt}</dd>
            <dt>{text.answer}</dt>
            <dd class={answer.trim() === reference.trim() ? 'right' : ''}>{answer}</dd>
            <dt>{text.reference}</dt>
            <dd class="soft">{reference}</dd>
          </div>
        ))}
      </dl>
      {sample.rows.length > 0 && <h3>{text.tokens}</h3>}
      {sample.rows.map(({ row, tokens, losses }) => (
        <p key={row} class="tokens">
          {tokens.map((token, index) => {
            const loss = losses[index];
            if (loss === null || loss === undefined)
              return (
                <span key={index} class="soft">
                  {token}
                </span>
              );
            const heat = `${Math.round(100 * Math.min(1, loss / 5))}%`;
            return (
              <span key={index} title={short(loss)} style={{ '--heat': heat }} class="trained">
                {token}
              </span>
            );
          })}
        </p>
      ))}
    </section>
  );
}
