/** Numbers, sizes, times and tables as a person reads them. */
import type { ShapeCounts } from '../data/shapes.ts';
import type { Found } from '../train/found.ts';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `1.21 GiB`, `3 B`: three digits. */
export function bytes(count: number): string {
  let unit = 0;
  while (count >= 999.5 && unit < UNITS.length - 1) [count, unit] = [count / 1024, unit + 1];
  return `${unit === 0 ? count : digits(count, 3)} ${UNITS[unit]}`;
}

/** `134.5M`, `7473`: whole below ten thousand. */
export function quantity(count: number): string {
  if (count < 10_000) return String(Math.round(count));
  if (count < 1e6) return `${(count / 1e3).toFixed(1)}k`;
  return count < 1e9 ? `${(count / 1e6).toFixed(1)}M` : `${(count / 1e9).toFixed(2)}B`;
}

/** `1 row`, `7473 rows`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** `1248 rows of data/raw: 1200 × alpaca, 48 × messages`. */
export function shapesOf(shapes: ShapeCounts, path: string): string {
  const total = Object.values(shapes).reduce((sum, count) => sum + count, 0);
  return `${counted(total, 'row')} of ${path}: ${countsOf(shapes)}`;
}

/** `1200 × alpaca, 48 × messages`, the most first. */
export function countsOf(shapes: ShapeCounts): string {
  const counts = Object.entries(shapes).sort((a, b) => b[1] - a[1]);
  return counts.map(([shape, count]) => `${count} × ${shape}`).join(', ');
}

/** `a.jsonl:3, a.jsonl:9 and 2 more`. */
export function places({ count, first }: Found): string {
  return `${first.join(', ')}${count > first.length ? ` and ${count - first.length} more` : ''}`;
}

/** `3 sequences of at most 512 tokens, 97.3 % full`. */
export function howFull(packing: { sequences: number; efficiency: number }, maxSeqLen: number): string {
  const { sequences, efficiency } = packing;
  return `${counted(sequences, 'sequence')} of at most ${maxSeqLen} tokens, ${digits(100 * efficiency, 3)} % full`;
}

/** So many significant digits, without an exponent where it can be without: `0.0123`, `812`. */
export function digits(value: number, count: number): string {
  if (!Number.isFinite(value) || value === 0) return String(value);
  const size = Math.floor(Math.log10(Math.abs(value)));
  if (size < -4 || size > 8) return value.toExponential(count - 1).replace('e+', 'e');
  return value.toFixed(Math.max(0, count - 1 - size));
}

/** `42s`, `3:12`, `1:02:03`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  const two = (value: number) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** Rows of cells in columns that line up; columns named in `right` line up at their ends. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string[] {
  const widths = rows.reduce<number[]>((most, row) => {
    row.forEach((cell, column) => {
      most[column] = Math.max(most[column] ?? 0, cell.length);
    });
    return most;
  }, []);
  const pad = (cell: string, column: number) =>
    right.includes(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0);
  return rows.map((row) => row.map(pad).join('  ').trimEnd());
}

/** A bar of `share` of `width` characters. */
export function bar(share: number, width: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * width);
  return '█'.repeat(filled) + '░'.repeat(width - filled);
}

/** An argument as a shell takes it. */
export function shellQuote(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}
