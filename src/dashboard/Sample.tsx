/** What a run answers to fixed prompts, and the loss of each token of fixed rows, as of its last evaluation. */
import { type Run, version } from './runs.ts';
import { short, text } from './text.ts';

export function Sample({ run }: { run: Run }) {
  version.value;
  const { sample } = run;
  if (!sample) return null;
  return (
    <section class="card wide">
      <h2>
        {text.samples}{' '}
        <span class="soft">
          {run.title}, {text.samplesOf(sample.step)}
        </span>
      </h2>
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
