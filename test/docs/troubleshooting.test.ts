/** What docs/troubleshooting.md quotes is what the program says. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../../scripts/common.mjs';
import { schemaAt } from '../../src/train/configSchema.ts';
import { blocksOf } from './page.ts';

const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((path) => /\.tsx?$/.test(path))
  .map((path) => readFileSync(join(root, 'src', path), 'utf8'))
  .join('\n');

const messages = blocksOf('docs/troubleshooting.md').flatMap(({ text }) => text.trimEnd().split('\n'));

test.each(messages)('%s', (message) => {
  const [, code, rest = message] = /^error\[(\w+)\]: (.*)$/.exec(message) ?? [];
  if (code) expect(sources).toContain(`'${code}'`);
  // What is between the values, as the message has it in its template.
  const parts = rest.split(/"?…"?/).filter((part) => part.trim().length > 3);
  expect(parts.length).toBeGreaterThan(0);
  for (const part of parts) expect(sources).toContain(part);
});

test('the keys of a config that it names are keys', () => {
  const page = readFileSync(join(root, 'docs/troubleshooting.md'), 'utf8');
  const keys = [...page.matchAll(/`((?:model|tuning|train|data|memory)\.[a-z_.]+)/g)].map(([, key = '']) => key);
  expect(keys.length).toBeGreaterThan(10);
  expect(keys.filter((key) => schemaAt(key.split('.')) === undefined)).toEqual([]);
});
