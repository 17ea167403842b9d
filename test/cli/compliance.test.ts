import { describe, expect, it } from 'vitest';
import { checkCompliance } from '../../src/cli/compliance.ts';

const text = { type: 'string', minLength: 1 };
const schema = {
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
};

describe('checkCompliance', () => {
  it.each([
    ['an answer with its keys', '{"intent": "set_timer", "duration": "one hour"}', true, true],
    ['another order and white space', ' {"city": "Oslo", "day": "today", "intent": "get_weather"}\n', true, true],
    ['plain English', 'Okay, one hour.', false, false],
    ['text after the object', '{"intent": "set_timer", "duration": "one hour"} Done.', false, false],
    ['an object that does not end', '{"intent": "set_timer", "duration": "one', false, false],
    ['a missing key', '{"intent": "get_weather", "city": "Oslo"}', true, false],
    ['a key of another intent', '{"intent": "set_timer", "duration": "one hour", "day": "today"}', true, false],
    ['an unknown intent', '{"intent": "set_lamp", "duration": "one hour"}', true, false],
    ['a number', '{"intent": "set_timer", "duration": 60}', true, false],
    ['an empty string', '{"intent": "set_timer", "duration": ""}', true, false],
    ['a list', '["set_timer"]', true, false],
    ['null', 'null', true, false],
    ['an inherited name', '{"intent": "set_timer", "duration": "one hour", "toString": "x"}', true, false],
  ])('%s', (_, answer, parses, complies) => {
    expect(checkCompliance(answer, schema)).toEqual({ parses, complies });
  });

  it('refuses a schema that it does not understand', () => {
    expect(() => checkCompliance('{}', { type: 'object', patternProperties: {} })).toThrow(/patternProperties/);
    expect(() => checkCompliance('[]', { type: 'array' })).toThrow(/"array"/);
  });
});
