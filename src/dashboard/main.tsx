/** The live page of `webgpu-sft dashboard`: what runs write, as it is written. */
import { render } from 'preact';
import 'uplot/dist/uPlot.min.css';
import { Chart } from './Chart.tsx';
import { connected, hidden, listen, type Run, runs, STEP_CURVES, smoothed, version } from './runs.ts';
import { Sample } from './Sample.tsx';
import './style.css';
import { gib, short, text } from './text.ts';

function App() {
  version.value;
  const all = [...runs.values()];
  const evaluations = [...new Set(all.flatMap((run) => [...run.curves.keys()]))].filter(
    (name) => !(STEP_CURVES as readonly string[]).includes(name),
  );
  return (
    <>
      <header>
        <h1>{text.title}</h1>
        <Connection ended={all.length > 0 && all.every((run) => run.done)} />
      </header>
      <main>
        {all.length === 0 ? (
          <p class="card">{text.waiting}</p>
        ) : (
          <>
            <section class="card wide" aria-label={text.runs}>
              {all.map((run) => (
                <RunLine key={run.title} run={run} />
              ))}
              <label class="option">
                <input
                  type="checkbox"
                  checked={smoothed.value}
                  onChange={(event) => {
                    smoothed.value = event.currentTarget.checked;
                  }}
                />
                {text.smooth}
              </label>
              <p class="soft">{text.zoomHint}</p>
            </section>
            {STEP_CURVES.map((name) => (
              <Chart key={name} name={name} title={text.metric[name] ?? name} />
            ))}
            {evaluations.map((name) => (
              <Chart key={name} name={name} title={text.evaluation(name.replace(/^eval_/, ''))} />
            ))}
            {all.flatMap((run) =>
              run.samples.length > 0 && !hidden.value.has(run.title) ? [<Sample key={run.title} run={run} />] : [],
            )}
          </>
        )}
      </main>
    </>
  );
}

/** A run's own server goes when the run has ended, which is no fault. */
function Connection({ ended }: { ended: boolean }) {
  const state = connected.value ? 'live' : ended ? 'ended' : 'cutOff';
  return (
    <p role="status" class={state}>
      {text[state]}
    </p>
  );
}

/** A run: whether it is drawn, where it stands, what it is made of. */
function RunLine({ run }: { run: Run }) {
  // A run is the same object when more has come.
  version.value;
  const { start } = run;
  const last = (name: string) => run.curves.get(name)?.values.at(-1);
  const total = start?.total_steps ?? 0;
  const toggle = () => {
    const next = new Set(hidden.value);
    if (!next.delete(run.title)) next.add(run.title);
    hidden.value = next;
  };
  const status = run.done ? text.status.done : start ? text.status.running : text.status.starting;
  return (
    <div class="run">
      <label class="name">
        <input type="checkbox" checked={!hidden.value.has(run.title)} onChange={toggle} />
        <span class="swatch" style={{ background: `var(--run-${run.color % 8})` }} />
        <b>{run.title}</b>
      </label>
      <span>{status}</span>
      {start && <progress value={run.step} max={total} aria-label={run.title} />}
      {start && <span>{text.stepOf(run.step, total)}</span>}
      <span>loss {short(last('loss'))}</span>
      {last('eval_loss') !== undefined && <span>eval {short(last('eval_loss'))}</span>}
      <span>{short(last('tokens_per_second'))} tokens/s</span>
      {start && (
        <span class="soft">
          {start.model.name}, {start.config.tuning.mode}, {start.adapter.name}, {text.memory.toLowerCase()}{' '}
          {gib(start.plan.peak_bytes)}
        </span>
      )}
      {run.warnings.length > 0 && (
        <details>
          <summary>
            {text.warnings}: {run.warnings.length}
          </summary>
          <ul>
            {run.warnings.map((warning) => (
              <li key={warning}>{warning}</li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

const page = document.getElementById('page');
if (page) render(<App />, page);
listen();
