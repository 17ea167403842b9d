/** The site that `npm run docs` makes has every page of docs/, in the order in which one reads them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../../scripts/common.mjs';

test('every page of docs/ is on the site', () => {
  const { projectDocuments } = JSON.parse(readFileSync(join(root, 'typedoc.json'), 'utf8'));
  const pages = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'));
  expect([...projectDocuments].sort()).toEqual(pages.map((name) => `docs/${name}`).sort());
});
