/** Every construct of Jinja against what Python makes of it (`golden/jinja.json`, written by `test/oracle/golden.py`). */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseTemplate, renderTemplate } from '../../src/data/jinja.ts';

const golden = JSON.parse(readFileSync(new URL('golden/jinja.json', import.meta.url), 'utf8')) as {
  variables: Record<string, unknown>;
  cases: Record<string, string | null>;
};
const render = (template: string) => renderTemplate(parseTemplate(template), golden.variables).text;

describe('as in Python', () => {
  const printed = Object.entries(golden.cases).filter(([, text]) => text !== null);
  it.each(printed)('%j', (template, text) => expect(render(template)).toBe(text));

  const refused = Object.entries(golden.cases).filter(([, text]) => text === null);
  it.each(refused)('%j is refused', (template) => expect(() => render(template)).toThrow());
});

describe('what is not known', () => {
  it.each([
    ['{% include "x" %}', 'line 1: unknown tag "include"'],
    ['a\n{% if x %}', 'expected {% endif %}'],
    ['{{ x', 'line 1: a tag has no end'],
    ['{{ [1) }}', 'line 1: unexpected ")"'],
    ['{# x', 'line 1: a comment has no end'],
    ['{% raw %}', 'line 1: {% raw %} has no end'],
    ['{{ x | random }}', 'there is no filter "random"'],
    ['{{ x is odd_one }}', 'there is no test "odd_one"'],
    ['{% set true = 1 %}', 'cannot assign to "true"'],
  ])('%s', (template, message) => expect(() => render(template)).toThrow(message));
});
