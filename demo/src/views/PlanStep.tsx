import type { MemoryPlan } from '../../../src/index.ts';
import { rows } from '../state/data.ts';
import { plan, planning } from '../state/plan.ts';
import { memory, text } from '../text.ts';
import { Problems } from './Problems.tsx';
import { Step } from './Step.tsx';

type Category = keyof MemoryPlan['categories'];

export function PlanStep() {
  const ready = plan.value;
  const planned = ready?.check.plan ?? ready?.tooLarge ?? null;
  const fits = ready?.check.plan != null;
  return (
    <Step
      number={3}
      title={text.plan.title}
      landmark
      state={fits ? 'done' : rows.value ? 'open' : 'waiting'}
      lead={planned ? undefined : planning.value ? text.plan.planning : text.plan.empty}
    >
      {planned && ready && <Bar planned={planned} budget={ready.budget?.bytes ?? null} fits={fits} />}
      {ready?.budget?.guess && <p class="note">{text.plan.guess}</p>}
      {ready?.check.warnings.map((warning) => (
        <p class="note" key={warning}>
          {warning}
        </p>
      ))}
      <Problems place="plan" />
    </Step>
  );
}

interface BarProps {
  readonly planned: MemoryPlan;
  readonly budget: number | null;
  readonly fits: boolean;
}

/** The plan by category, and below it the budget: a thin line of which the plan is a part, or that is a part of the plan. */
function Bar({ planned, budget, fits }: BarProps) {
  const { peak_bytes: peak, categories } = planned;
  const parts = (Object.entries(categories) as [Category, number][]).filter(([, size]) => size > 0);
  const percent = (part: number, whole: number) => `${Math.min(100, (100 * part) / whole)}%`;
  const said = parts.map(([name, size]) => `${text.plan.categories[name]} ${memory(size)}`).join(', ');
  const { batch_size, gradient_accumulation_steps, gradient_checkpointing } = planned;
  return (
    <div class="plan" data-fits={fits}>
      <p class="total">
        {budget === null
          ? text.plan.unknown(peak)
          : fits
            ? text.plan.fits(peak, budget)
            : text.plan.tooLarge(peak, budget)}
      </p>
      <div class="bar" role="img" aria-label={text.plan.bar(said)}>
        {parts.map(([name, size]) => (
          <span key={name} data-category={name} style={{ width: percent(size, peak) }} />
        ))}
      </div>
      {budget !== null && (
        <div class="gauge" aria-hidden="true">
          <div style={{ width: percent(budget, peak) }}>
            <span class="taken" style={{ width: percent(peak, budget) }} />
          </div>
          <small>{fits ? text.plan.share(peak / budget) : text.plan.budget}</small>
        </div>
      )}
      <ul class="legend" aria-hidden="true">
        {parts.map(([name, size]) => (
          <li key={name} data-category={name}>
            {text.plan.categories[name]} <b>{memory(size)}</b>
          </li>
        ))}
      </ul>
      {fits && <p class="note">{text.plan.batch(batch_size, gradient_accumulation_steps, gradient_checkpointing)}</p>}
    </div>
  );
}
