/** Answers that have to comply with a JSON schema or a regular expression. */
import { describe, expect, it } from 'vitest';
import { compileJsonSchema, schemaJson } from '../../src/eval/metrics/schemaJson.ts';
import { compileRegex, schemaRegex } from '../../src/eval/metrics/schemaRegex.ts';

const compile = (schema: unknown) => compileJsonSchema(JSON.stringify(schema), 'schema.json');

const text = { type: 'string', minLength: 1 };
const requests = compile({
  oneOf: [
    {
      type: 'object',
      properties: { intent: { const: 'set_timer' }, duration: text },
      required: ['intent', 'duration'],
      additionalProperties: false,
    },
    {
      type: 'object',
      properties: { intent: { const: 'get_weather' }, city: text, day: text },
      required: ['intent', 'city', 'day'],
      additionalProperties: false,
    },
  ],
});

describe('schemaJson', () => {
  it.each([
    ['an answer with its keys', '{"intent": "set_timer", "duration": "one hour"}', 1],
    ['another order and white space', ' {"city": "Oslo", "day": "today", "intent": "get_weather"}\n', 1],
    ['plain English', 'Okay, one hour.', 0],
    ['nothing', '', 0],
    ['text after the object', '{"intent": "set_timer", "duration": "one hour"} Done.', 0],
    ['an object that does not end', '{"intent": "set_timer", "duration": "one', 0],
    ['a missing key', '{"intent": "get_weather", "city": "Oslo"}', 0],
    ['a key of another intent', '{"intent": "set_timer", "duration": "one hour", "day": "today"}', 0],
    ['an unknown intent', '{"intent": "set_lamp", "duration": "one hour"}', 0],
    ['a number', '{"intent": "set_timer", "duration": 60}', 0],
    ['an empty string', '{"intent": "set_timer", "duration": ""}', 0],
    ['a list', '["set_timer"]', 0],
    ['null', 'null', 0],
    ['an inherited name', '{"intent": "set_timer", "duration": "one hour", "toString": "x"}', 0],
  ])('%s', (_, answer, complies) => {
    expect(schemaJson(answer, requests)).toBe(complies);
  });

  it.each([
    ['draft 4', 'http://json-schema.org/draft-04/schema#', { minimum: 3, exclusiveMinimum: true }, '4', '3'],
    ['draft 6', 'http://json-schema.org/draft-06/schema#', { exclusiveMinimum: 3 }, '4', '3'],
    [
      'draft 7, where $ref stands alone',
      'http://json-schema.org/draft-07/schema',
      { definitions: { n: { type: 'number' } }, $ref: '#/definitions/n', maximum: 1 },
      '2',
      '"2"',
    ],
    [
      'draft 2019-09, where it does not',
      'https://json-schema.org/draft/2019-09/schema',
      { $defs: { n: { type: 'number' } }, $ref: '#/$defs/n', maximum: 1 },
      '1',
      '2',
    ],
    [
      'draft 2020-12',
      'https://json-schema.org/draft/2020-12/schema',
      { prefixItems: [{ type: 'integer' }], items: { type: 'string' } },
      '[1, "a"]',
      '[1, 2]',
    ],
    ['no draft', undefined, { dependentRequired: { a: ['b'] } }, '{"a": 1, "b": 1}', '{"a": 1}'],
    ['true', undefined, true, 'null', 'nothing'],
  ])('%s', (_, $schema, rest, right, wrong) => {
    const schema = compile(typeof rest === 'object' ? { ...($schema && { $schema }), ...rest } : rest);
    expect([right, wrong].map((answer) => schemaJson(answer, schema))).toEqual([1, 0]);
  });

  it('refers to itself', () => {
    const tree = compile({ type: 'object', properties: { children: { type: 'array', items: { $ref: '#' } } } });
    expect(schemaJson('{"children": [{"children": []}, {}]}', tree)).toBe(1);
    expect(schemaJson('{"children": [{"children": [1]}]}', tree)).toBe(0);
  });
});

describe('a schema that does not compile', () => {
  const refused = (content: string) => () => compileJsonSchema(content, 'eval.schema.json_schema: s.json');

  it.each<[string, unknown, string]>([
    ['an unknown type', { type: 'strin' }, '/type: "strin" where'],
    ['one in a list', { properties: { a: { type: ['string', 'text'] } } }, '/properties/a/type: ["string","text"]'],
    ['required as in draft 3', { properties: { a: { required: true } } }, '/properties/a/required: true'],
    ['a pattern', { items: { pattern: '(' } }, '/items/pattern: "("'],
    ['the name of a pattern', { patternProperties: { '[': {} } }, '/patternProperties: "["'],
    ['limits that are texts', { allOf: [{}, { minimum: '3' }] }, '/allOf/1/minimum: "3"'],
    ['lengths below 0', { maxLength: -1 }, '/maxLength: -1'],
    ['an exclusive limit as in draft 4', { minimum: 1, exclusiveMinimum: true }, '/exclusiveMinimum: true'],
    ['an empty list of schemas', { anyOf: [] }, '/anyOf: []'],
    ['properties in a list', { properties: ['a'] }, '/properties: ["a"]'],
    ['a schema that is a text', { not: 'a' }, '/not: "a" where a schema is expected'],
    ['a list', [], 'a document: [] where a schema is expected'],
    ['null', null, 'a document: null'],
    ['a missing definition', { $ref: '#/$defs/a' }, '$ref: "#/$defs/a", which is not in the document'],
    [
      'one of another document',
      { items: { $ref: 'https://example.com/a.json' } },
      '$ref: "https://example.com/a.json", which is not',
    ],
    ['a circle of references', { $ref: '#' }, 'a schema that refers to itself without end'],
    ['a keyword that is not supported', { $dynamicRef: '#a' }, '/$dynamicRef: this keyword'],
    [
      'an unknown draft',
      { $schema: 'http://json-schema.org/draft-03/schema#' },
      '$schema: "http://json-schema.org/draft-03',
    ],
  ])('%s', (_, schema, got) => {
    const message = `eval.schema.json_schema: s.json: expected a JSON schema, got ${got}`;
    expect(refused(JSON.stringify(schema))).toThrow(expect.objectContaining({ code: 'CONFIG' }));
    expect(refused(JSON.stringify(schema))).toThrow(message);
  });

  it('a text that is no JSON', () => {
    expect(refused('{"type": ')).toThrow(/got a text that is no JSON: /);
  });
});

describe('schemaRegex', () => {
  it('searches', () => {
    expect(schemaRegex('So: {"a": 12}', compileRegex('"a": \\d+'))).toBe(1);
    expect(schemaRegex('So: {"a": 12}', compileRegex('^\\{'))).toBe(0);
    expect(schemaRegex('x', compileRegex(''))).toBe(1);
    // The second time as the first.
    const pattern = compileRegex('\\p{L}+');
    expect([schemaRegex('é', pattern), schemaRegex('é', pattern)]).toEqual([1, 1]);
  });

  it('takes escapes that Python takes', () => {
    expect(schemaRegex('2024-05', compileRegex('^\\d{4}\\-\\d{2}$'))).toBe(1);
  });

  it('says what is wrong', () => {
    expect(() => compileRegex('(a')).toThrow('expected a regular expression of JavaScript, got (a: Unterminated group');
    expect(() => compileRegex('(?P<x>a)')).toThrow(expect.objectContaining({ code: 'CONFIG' }));
  });
});
