/** One metric over the steps, a line for each run. */
import { effect, signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import UPlot from 'uplot';
import { hidden, type Run, runs, smoothed, version } from './runs.ts';
import { short, text } from './text.ts';

const HEIGHT = 200;
/** Share of a new point in the smoothed line. */
const SMOOTHING = 0.1;
/** Long runs are drawn less often, so that the page stays quick. */
const MS_PER_POINT = 0.005;
const COLORS = 8;

/** Steps between which all charts are zoomed, null for all. */
const zoom = signal<[number, number] | null>(null);
const charts = new Set<UPlot>();

function setZoom(range: [number, number] | null): void {
  zoom.value = range;
  for (const chart of charts) {
    const steps = chart.data[0];
    const [min, max] = range ?? [steps[0] ?? 0, steps.at(-1) ?? 1];
    chart.setScale('x', { min, max });
  }
}

export function Chart({ name, title }: { name: string; title: string }) {
  const frame = useRef<HTMLDivElement>(null);
  useEffect(() => (frame.current ? draw(name, frame.current) : undefined), [name]);
  version.value;
  const lines = shown(name).map((run) => {
    const { values } = run.curves.get(name) ?? { values: [] };
    return { title: run.title, points: values.length, last: values.at(-1) };
  });
  return (
    <section class="card">
      <h2>{title}</h2>
      <div
        class="chart"
        ref={frame}
        role="img"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard zooms it
        tabIndex={0}
        aria-label={text.chart(title, lines, zoom.value)}
        onKeyDown={onKey}
      />
    </section>
  );
}

function onKey(event: KeyboardEvent): void {
  const [chart] = charts;
  const { min, max } = chart?.scales.x ?? {};
  if (min == null || max == null) return;
  const [middle, half] = [(min + max) / 2, (max - min) / 2];
  const range: Readonly<Record<string, [number, number] | null>> = {
    '+': [middle - half / 2, middle + half / 2],
    '-': [middle - half * 2, middle + half * 2],
    ArrowLeft: [min - half / 2, max - half / 2],
    ArrowRight: [min + half / 2, max + half / 2],
    '0': null,
  };
  if (!Object.hasOwn(range, event.key)) return;
  event.preventDefault();
  setZoom(range[event.key] ?? null);
}

const shown = (name: string): Run[] =>
  [...runs.values()].filter((run) => run.curves.has(name) && !hidden.value.has(run.title));

const waiting = new Set<() => void>();

/** Runs one of those that wait in each frame: ten charts of long runs in one would be seen as a jerk. */
function inTurn(update: () => void): void {
  const frame = () => {
    const [first] = waiting;
    if (!first) return;
    waiting.delete(first);
    first();
    requestAnimationFrame(frame);
  };
  if (waiting.size === 0) requestAnimationFrame(frame);
  waiting.add(update);
}

/** Draws, and keeps drawing, until what it returns is called. */
function draw(name: string, frame: HTMLElement): () => void {
  let chart: UPlot | null = null;
  let drawn = '';
  let due: ReturnType<typeof setTimeout> | undefined;
  let points = 0;
  const width = () => Math.max(200, frame.clientWidth);
  const update = () => {
    const list = shown(name);
    const key = JSON.stringify(list.map((run) => run.title));
    const data = tableOf(list, name);
    points = data[0].length * list.length;
    if (!chart || key !== drawn) {
      if (chart) charts.delete(chart);
      chart?.destroy();
      chart = new UPlot(optionsFor(list, width()), data, frame);
      charts.add(chart);
      drawn = key;
    } else chart.setData(data, zoom.value === null);
    if (zoom.value) chart.setScale('x', { min: zoom.value[0], max: zoom.value[1] });
  };
  const soon = () => {
    due ??= setTimeout(
      () => {
        due = undefined;
        inTurn(update);
      },
      Math.max(16, points * MS_PER_POINT),
    );
  };
  update();
  const forget = effect(() => {
    version.value;
    hidden.value;
    smoothed.value;
    soon();
  });
  const size = new ResizeObserver(() => chart?.setSize({ width: width(), height: HEIGHT }));
  size.observe(frame);
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  const again = () => {
    drawn = '';
    soon();
  };
  scheme.addEventListener('change', again);
  return () => {
    forget();
    clearTimeout(due);
    waiting.delete(update);
    size.disconnect();
    scheme.removeEventListener('change', again);
    if (chart) charts.delete(chart);
    chart?.destroy();
  };
}

/** One column of steps, and one of values for each run. */
function tableOf(list: readonly Run[], name: string): UPlot.AlignedData {
  const tables = list.map((run): UPlot.AlignedData => {
    const { steps, values } = run.curves.get(name) ?? { steps: [], values: [] };
    return [steps, smoothed.value && name === 'loss' ? smooth(values) : values];
  });
  const [only] = tables;
  if (!only) return [[], []];
  // uPlot notices new points by the length of the arrays, which grow in place.
  return tables.length === 1 ? [only[0].slice(), (only[1] as number[]).slice()] : UPlot.join(tables);
}

function smooth(values: readonly number[]): number[] {
  let mean = Number.NaN;
  return values.map((value) => {
    if (Number.isFinite(value)) mean = Number.isNaN(mean) ? value : mean + SMOOTHING * (value - mean);
    return mean;
  });
}

function optionsFor(list: readonly Run[], width: number): UPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const color = (variable: string) => style.getPropertyValue(variable).trim();
  const axis = { stroke: color('--soft'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false } };
  return {
    width,
    height: HEIGHT,
    padding: [8, 16, 0, 0],
    scales: { x: { time: false } },
    axes: [
      { ...axis, size: 28 },
      { ...axis, size: 56, gap: 4, values: (_, ticks) => ticks.map(short) },
    ],
    cursor: { y: false, points: { size: 6 }, sync: { key: 'steps' }, drag: { x: true, y: false, setScale: false } },
    legend: { live: true },
    hooks: {
      setSelect: [
        (chart) => {
          const { left, width: selected } = chart.select;
          if (selected > 4) setZoom([chart.posToVal(left, 'x'), chart.posToVal(left + selected, 'x')]);
          chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
      ready: [(chart) => chart.over.addEventListener('dblclick', () => setZoom(null))],
    },
    series: [
      { label: 'step' },
      ...list.map((run) => ({
        label: run.title,
        stroke: color(`--run-${run.color % COLORS}`),
        width: 2,
        spanGaps: true,
        value: (_: UPlot, value: number | null) => short(value),
      })),
    ],
  };
}
