import { expect, test } from 'vitest';
import { bar, bytes, digits, duration, quantity, shellQuote, table } from '../../src/cli/format.ts';
import { drawCurve } from '../../src/cli/lossCurve.ts';

test('sizes, numbers and times', () => {
  expect([0, 999, 1000, 1024, 269_000_000, 2 ** 31].map(bytes)).toEqual([
    '0 B',
    '999 B',
    '0.977 KiB',
    '1.00 KiB',
    '257 MiB',
    '2.00 GiB',
  ]);
  expect([7, 7473, 134_515_008, 8.03e9].map(quantity)).toEqual(['7', '7473', '134.5M', '8.03B']);
  expect([0, 1.23456, 812.4, 0.0002, 0.00000123, Number.NaN].map((value) => digits(value, 3))).toEqual([
    '0',
    '1.23',
    '812',
    '0.000200',
    '1.23e-6',
    'NaN',
  ]);
  expect([0, 59.6, 192, 3723].map(duration)).toEqual(['0s', '1:00', '3:12', '1:02:03']);
});

test('tables and bars', () => {
  expect(
    table(
      [
        ['a', '10 B', 'x'],
        ['long', '9 B', ''],
      ],
      [1],
    ),
  ).toEqual(['a     10 B  x', 'long   9 B']);
  expect([0, 0.5, 2].map((share) => bar(share, 4))).toEqual(['░░░░', '██░░', '████']);
});

test('arguments for a shell', () => {
  expect(['run.yaml', 'a b', "it's", '', 'x=[q, v]'].map(shellQuote)).toEqual([
    'run.yaml',
    "'a b'",
    `'it'\\''s'`,
    "''",
    "'x=[q, v]'",
  ]);
});

test('a curve that falls', () => {
  expect(drawCurve([3, 3, 2, 1], 12, 3)).toEqual(['3.000 ┤──╮', '2.000 ┤  ╰╮', '1.000 ┤   ╰']);
});

test('a curve of few, of many and of equal values', () => {
  expect(drawCurve([1], 40)).toEqual([]);
  const many = drawCurve(
    Array.from({ length: 1000 }, (_, i) => 5 - i / 250),
    40,
    4,
  );
  expect(many).toHaveLength(4);
  expect(Math.max(...many.map((line) => line.length))).toBeLessThanOrEqual(40);
  expect(many[0]).toMatch(/^4\.\d+ ┤──/);
  expect(many.at(-1)).toMatch(/─$/);
  expect(drawCurve([2, 2, 2], 12, 3)[0]).toBe('2.000 ┤───');
});
