/** Every word of the page. */
export const text = {
  title: 'Runs',
  waiting: 'Waiting for the first run …',
  live: 'live',
  cutOff: 'not connected; trying again',
  ended: 'ended',
  runs: 'Runs',
  metric: {
    loss: 'Loss',
    learning_rate: 'Learning rate',
    grad_norm: 'Gradient norm',
    tokens_per_second: 'Tokens per second',
  } as Readonly<Record<string, string>>,
  evaluation: (name: string) => `Evaluation: ${name.replaceAll('_', ' ')}`,
  smooth: 'Smooth the loss',
  memory: 'Memory',
  samples: 'Answers',
  samplesWhen: 'Answers of an earlier step',
  samplesOf: (step: number) => `after step ${step}`,
  tokens: 'Loss per token',
  warnings: 'Warnings',
  status: { starting: 'starting', running: 'running', done: 'done' },
  zoomHint: 'Drag to zoom, double-click to see all. With the keyboard: + and − zoom, arrows move, 0 shows all.',
  stepOf: (step: number, total: number) => `step ${step} of ${total}`,
  /** What a chart says to those who do not see it. */
  chart: (name: string, lines: readonly ChartLine[], zoom: readonly [number, number] | null) => {
    const each = lines.map(({ title, points, last }) => `${title}: ${short(last)} after ${points} points`);
    const range = zoom ? [`zoomed to steps ${short(zoom[0])} to ${short(zoom[1])}`] : [];
    return `${name}; ${[...each, ...range].join('; ')}`;
  },
  prompt: 'Prompt',
  answer: 'Answer',
  reference: 'Expected',
} as const;

export interface ChartLine {
  readonly title: string;
  readonly points: number;
  readonly last: number | undefined;
}

/** A number as a person reads it: four digits. */
export function short(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

export function gib(bytes: number): string {
  return bytes < 2 ** 29 ? `${short(bytes / 2 ** 20)} MiB` : `${short(bytes / 2 ** 30)} GiB`;
}
