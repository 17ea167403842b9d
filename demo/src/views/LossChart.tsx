/** The loss over the steps, drawn by uPlot, which is loaded when there is something to draw. */
import { effect } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import type UPlot from 'uplot';
import { showProblem } from '../state/problems.ts';
import { evaluations, losses, type Point, phase, step, totalSteps } from '../state/run.ts';
import { loss, text } from '../text.ts';

const HEIGHT = 220;
/** Share of a new point in the smoothed line. */
const SMOOTHING = 0.35;

export function LossChart() {
  const frame = useRef<HTMLDivElement>(null);
  const [label, setLabel] = useState('');
  useEffect(() => {
    const { current } = frame;
    if (!current) return;
    let stop = (): void => {};
    let gone = false;
    load()
      .then((plot) => {
        if (!gone) stop = draw(plot, current);
      })
      .catch((error) => showProblem('training', error));
    return () => {
      gone = true;
      stop();
    };
  }, []);
  const now = phase.value;
  useEffect(() => {
    const [first] = losses;
    const last = losses.at(-1);
    if (first && last) setLabel(text.training.chart(first.loss, last.loss));
  }, [now]);
  return <div class="chart" ref={frame} role="img" aria-label={label || text.training.loss} />;
}

async function load(): Promise<typeof UPlot> {
  const [{ default: plot }] = await Promise.all([import('uplot'), import('uplot/dist/uPlot.min.css')]);
  return plot;
}

/** Draws, and keeps drawing, until what it returns is called. */
function draw(Plot: typeof UPlot, frame: HTMLElement): () => void {
  let chart: UPlot | null = null;
  let due = 0;
  const width = () => Math.max(200, frame.clientWidth);
  const make = () => {
    chart?.destroy();
    chart = new Plot(optionsFor(width()), data(), frame);
  };
  // Many steps may end within one picture of the screen.
  const soon = () => {
    if (due) return;
    due = requestAnimationFrame(() => {
      due = 0;
      chart?.setData(data());
      showLast();
    });
  };
  /** The legend tells the last step where nobody points at another one. */
  const showLast = () => {
    if (chart && losses.length > 0 && (chart.cursor.left ?? -1) < 0) chart.setLegend({ idx: losses.length - 1 });
  };
  make();
  const forget = effect(() => {
    step.value;
    totalSteps.value;
    soon();
  });
  const size = new ResizeObserver(() => chart?.setSize({ width: width(), height: HEIGHT }));
  size.observe(frame);
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  scheme.addEventListener('change', make);
  return () => {
    forget();
    cancelAnimationFrame(due);
    size.disconnect();
    scheme.removeEventListener('change', make);
    chart?.destroy();
  };
}

function data(): UPlot.AlignedData {
  const held = new Map(evaluations.map((point: Point) => [point.step, point.loss]));
  let smooth = losses[0]?.loss ?? 0;
  const smoothed = losses.map((point) => {
    smooth += SMOOTHING * (point.loss - smooth);
    return smooth;
  });
  return [
    losses.map((point) => point.step),
    losses.map((point) => point.loss),
    smoothed,
    losses.map((point) => held.get(point.step) ?? null),
  ];
}

/** The newest evaluation at the step that is pointed at. */
function lastHeld(index: number | null): string {
  const at = losses[index ?? -1]?.step ?? 0;
  const held = evaluations.findLast((point) => point.step <= at);
  return held ? loss(held.loss) : '–';
}

function optionsFor(width: number): UPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const axis = { stroke: color('--soft'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false } };
  const { series } = text.training;
  const say = (_: UPlot, value: number | null) => (value == null ? '–' : loss(value));
  return {
    width,
    height: HEIGHT,
    padding: [8, 18, 0, 0],
    scales: {
      x: { time: false, range: () => [0, Math.max(1, totalSteps.peek())] },
      y: { range: (_, __, most) => [0, Math.max(0.1, most * 1.05)] },
    },
    axes: [
      { ...axis, size: 28 },
      { ...axis, size: 40, gap: 4 },
    ],
    cursor: { y: false, points: { size: 6 } },
    series: [
      { label: series.step },
      { label: series.loss, stroke: color('--chart-raw'), width: 1.5, points: { show: false }, value: say },
      { label: series.smooth, stroke: color('--accent'), width: 2.5, points: { show: false }, value: say },
      {
        label: series.held,
        stroke: color('--chart-held'),
        width: 0,
        points: { show: true, size: 8, fill: color('--chart-held') },
        value: (_, __, ___, index) => lastHeld(index),
      },
    ],
  };
}
