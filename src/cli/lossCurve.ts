/** A curve drawn with characters. */
import { digits } from './format.ts';

/** The widest that one value is drawn. */
const MAX_SPREAD = 6;

/** Means of `values` in so many groups of neighbours, in their order; of few values, each several times. */
function resample(values: readonly number[], count: number): number[] {
  const spread = Math.min(MAX_SPREAD, Math.floor(count / values.length));
  if (spread > 0) return values.flatMap((value) => new Array<number>(spread).fill(value));
  return Array.from({ length: count }, (_, i) => {
    const group = values.slice(Math.floor((i * values.length) / count), Math.floor(((i + 1) * values.length) / count));
    return group.reduce((sum, value) => sum + value, 0) / group.length;
  });
}

/**
 * The lines of a curve through `values`, at most `width` characters wide: `height` lines with a scale at the left. Empty
 * when there are fewer than two values.
 */
export function drawCurve(values: readonly number[], width: number, height = 8): string[] {
  if (values.length < 2) return [];
  const labelWidth = Math.max(...[Math.min(...values), Math.max(...values)].map((value) => digits(value, 4).length));
  const points = resample(values, Math.max(2, width - labelWidth - 3));
  const [low, high] = [Math.min(...points), Math.max(...points)];
  const unit = (high - low) / (height - 1) || 1;
  const level = (value: number) => Math.round((high - value) / unit);
  const grid = Array.from({ length: height }, () => new Array<string>(points.length).fill(' '));
  points.forEach((value, column) => {
    const here = level(value);
    const before = level(points[column - 1] ?? value);
    const put = (row: number, character: string) => {
      const line = grid[row];
      if (line) line[column] = character;
    };
    if (here === before) put(here, '─');
    else {
      put(before, here > before ? '╮' : '╯');
      put(here, here > before ? '╰' : '╭');
    }
    for (let row = Math.min(here, before) + 1; row < Math.max(here, before); row++) put(row, '│');
  });
  return grid.map((line, row) => `${digits(high - row * unit, 4).padStart(labelWidth)} ┤${line.join('').trimEnd()}`);
}
