import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { battery, isIgnored, isLow, isWaitingForPower, waitForPower } from '../state/battery.ts';
import { rows } from '../state/data.ts';
import { support } from '../state/engine.ts';
import { model } from '../state/model.ts';
import { canRun, plan } from '../state/plan.ts';
import {
  isActive,
  losses,
  pauseTraining,
  phase,
  rate,
  resumeTraining,
  run,
  secondsPerStep,
  stage,
  startTraining,
  step,
  stopTraining,
  tokensPerSecond,
  totalSteps,
  warnings,
} from '../state/run.ts';
import { duration, loss, text } from '../text.ts';
import { LossChart } from './LossChart.tsx';
import { Problems } from './Problems.tsx';
import { Step, type StepState } from './Step.tsx';

export function TrainingStep() {
  const now = phase.value;
  const canStart = canRun(plan.value) && !isActive.value;
  const state: StepState = now === 'done' ? 'done' : canStart || now !== 'idle' ? 'open' : 'waiting';
  useTitle();
  return (
    <Step number={4} title={text.training.title} landmark state={state}>
      <Status />
      <Buttons canStart={canStart} />
      <Problems place="training" />
      <Battery />
      {warnings.value.map((warning) => (
        <p class="note" key={warning}>
          {warning}
        </p>
      ))}
      {run.value && now !== 'idle' && (
        <>
          <Numbers />
          <LossChart />
        </>
      )}
    </Step>
  );
}

/** The tab tells how far it is while the person looks at another one. */
function useTitle(): void {
  const now = phase.value;
  const title =
    now === 'running'
      ? text.page.titleWhile(step.value, totalSteps.value)
      : now === 'done'
        ? text.page.titleDone
        : text.page.name;
  useEffect(() => {
    document.title = title;
  }, [title]);
}

/** Milliseconds between what a screen reader is told while it trains. */
const SAY_EVERY = 4000;

function statusNow(): string {
  const now = phase.value;
  const last = losses.at(-1)?.loss ?? null;
  if (now === 'idle') return text.training.idle;
  if (now === 'starting') return text.training.status.starting(stage.value);
  return text.training.status[now](step.value, totalSteps.value, last);
}

/** One line that is read out: each change of what goes on at once, and how far it is now and then. */
function Status() {
  const said = useSignal(statusNow());
  const lastPhase = useRef(phase.value);
  const lastSaid = useRef(0);
  const now = statusNow();
  const current = phase.value;
  useEffect(() => {
    const say = () => {
      lastSaid.current = performance.now();
      lastPhase.current = current;
      said.value = now;
    };
    const wait = lastSaid.current + SAY_EVERY - performance.now();
    const isFirstStep = current === 'running' && !said.peek().includes('loss');
    if (current !== lastPhase.current || isFirstStep || wait <= 0) {
      say();
      return;
    }
    const timer = setTimeout(say, wait);
    return () => clearTimeout(timer);
  }, [now, current, said]);
  return (
    <p class="status" role="status">
      {said.value}
    </p>
  );
}

function Buttons({ canStart }: { readonly canStart: boolean }) {
  const { start, pause, resume, stop } = text.training;
  const now = phase.value;
  const button = (name: string, act: () => unknown, kind = '') => (
    <button type="button" class={kind} onClick={() => void act()}>
      {name}
    </button>
  );
  if (now === 'stopping') return <div class="buttons" />;
  if (now === 'starting') {
    return (
      <div class="buttons">
        {/* Stays where it was, so that the second press of a double one does not stop. */}
        <button key="start" type="button" class="main" disabled>
          {start}
        </button>
        {button(stop, stopTraining)}
      </div>
    );
  }
  if (now === 'running') {
    return (
      <div class="buttons">
        {button(pause, pauseTraining)}
        {button(stop, stopTraining)}
      </div>
    );
  }
  if (now === 'paused') {
    return (
      <div class="buttons">
        {button(resume, resumeTraining, 'main')}
        {button(stop, stopTraining)}
      </div>
    );
  }
  const canResume = (now === 'stopped' || now === 'failed') && step.value > 0;
  return (
    <div class="buttons">
      {canResume && button(resume, resumeTraining, 'main')}
      <button
        type="button"
        class={canResume || now === 'done' ? '' : 'main'}
        disabled={!canStart}
        aria-describedby="start-waits"
        onClick={() => void startTraining()}
      >
        {start}
      </button>
      <small id="start-waits">{canStart ? slowNote() : whatIsMissing()}</small>
    </div>
  );
}

function whatIsMissing(): string {
  const { waitFor } = text.training;
  if (!rows.value) return waitFor.data;
  if (!model.value) return waitFor.model;
  if (!plan.value) return waitFor.plan;
  return plan.value.check.plan ? waitFor.mend : waitFor.fit;
}

function slowNote(): string {
  const { value } = support;
  return value.kind === 'ready' && value.software && phase.value === 'idle' ? text.page.softwareNote : '';
}

function Numbers() {
  const { loss: lossName, lossNote, rate: rateName, speed, left, hidden } = text.training;
  const last = losses.at(-1);
  const seconds = secondsPerStep.value * (totalSteps.value - step.value);
  const isRunning = phase.value === 'running';
  const done = totalSteps.value > 0 ? step.value / totalSteps.value : 0;
  return (
    <>
      <div class="done-bar" aria-hidden="true">
        <span style={{ transform: `scaleX(${done})` }} />
      </div>
      <dl class="numbers">
        <div>
          <dt>{lossName}</dt>
          <dd>{last ? loss(last.loss) : '–'}</dd>
          <dd class="more">{lossNote}</dd>
        </div>
        <div>
          <dt>{rateName}</dt>
          <dd>{rate.value > 0 ? rate.value.toExponential(1) : '–'}</dd>
        </div>
        <div>
          <dt>{speed}</dt>
          <dd>{tokensPerSecond.value > 0 ? text.number(Math.round(tokensPerSecond.value)) : '–'}</dd>
        </div>
        <div>
          <dt>{left}</dt>
          <dd>{isRunning && seconds > 0 ? duration(seconds) : '–'}</dd>
          {isRunning && <dd class="more">{hidden}</dd>}
        </div>
      </dl>
    </>
  );
}

function Battery() {
  if (isWaitingForPower.value && phase.value === 'paused') return <p class="note">{text.training.waiting}</p>;
  if (phase.value !== 'running' || isIgnored.value || !isLow()) return null;
  return (
    <div class="notice" role="alert">
      <p>{text.training.battery(battery.value?.level ?? 0)}</p>
      <div class="buttons">
        <button type="button" class="main" onClick={() => void waitForPower()}>
          {text.training.wait}
        </button>
        <button
          type="button"
          onClick={() => {
            isIgnored.value = true;
          }}
        >
          {text.training.goOn}
        </button>
      </div>
    </div>
  );
}
