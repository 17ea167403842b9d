import { describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/data/jinja/interpreter.ts';
import { parseTemplate, renderTemplate, strftime } from '../../src/data/jinja.ts';
import type { Message } from '../../src/data/rows.ts';
import { loadChatTemplate } from '../../src/data/template.ts';
import { CHATML, chat, folder, template } from './fixtures.ts';

const { messages } = chat('Q', 'A');
const show = (text: string, chosen: readonly Message[] = messages) => template(text).render({ messages: chosen }).text;

describe('where a template comes from', () => {
  const files = {
    'chat_template.jinja': 'jinja',
    'tokenizer_config.json': { chat_template: 'config' },
  };

  it('takes the chosen one, then chat_template.jinja, then tokenizer_config.json, then the default', async () => {
    const load = async (...args: Parameters<typeof loadChatTemplate>) => (await loadChatTemplate(...args))?.text;
    const [mine, other] = ['mine', 'other'].map((name) => ({ text: name, source: `${name}.jinja` }));
    const defaultTemplate = async () => other;
    expect(await load(folder(files), {}, { chatTemplate: mine, defaultTemplate })).toBe('mine');
    expect(await load(folder(files), {}, { defaultTemplate })).toBe('jinja');
    expect(await load(folder({}), {}, { defaultTemplate })).toBe('other');
    expect(await load(folder({ 'tokenizer_config.json': files['tokenizer_config.json'] }), {})).toBe('config');
    expect(await load(folder({ 'tokenizer_config.json': {} }), {})).toBeUndefined();
    expect(await load(folder({}), {})).toBeUndefined();
  });

  it('takes the default of a list of named ones', async () => {
    const named = [
      { name: 'tool_use', template: 'tools' },
      { name: 'default', template: 'plain' },
    ];
    expect((await loadChatTemplate(folder({ 'tokenizer_config.json': { chat_template: named } }), {}))?.text).toBe(
      'plain',
    );
    const without = folder({ 'tokenizer_config.json': { chat_template: named.slice(0, 1) } });
    await expect(loadChatTemplate(without, {})).rejects.toMatchObject({
      code: 'TEMPLATE',
      hint: expect.stringContaining('model.chat_template'),
    });
  });
});

describe('rendering', () => {
  it('gives messages, tools, special tokens and the generation prompt', () => {
    expect(show(CHATML)).toBe('<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n');
    expect(template().render({ messages: messages.slice(0, 1), addGenerationPrompt: true }).text).toBe(
      '<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n',
    );
    expect(show('{{ bos_token }}{{ eos_token }}{{ tools is none }}{{ documents is none }}')).toBe(
      '<|begin|><|im_end|>TrueTrue',
    );
    const tools = [{ type: 'function', function: { name: 'f' } }];
    expect(template('{{ tools | tojson }}').render({ messages, tools }).text).toBe(
      '[{"type": "function", "function": {"name": "f"}}]',
    );
  });

  it('gives reasoning under the names that templates use', () => {
    const thinking: Message[] = [{ role: 'assistant', content: 'A', reasoning: 'R' }];
    expect(show('{{ messages[0].reasoning_content }}{{ messages[0].thinking }}', thinking)).toBe('RR');
  });

  // Expected values are Python's (Jinja2 as transformers sets it up).
  it.each([
    ['{{ true }}{{ none }}{{ nothing }}', 'TrueNone'],
    ["{{ [1, 2.0, 'a', none, true] }}{{ {'k': \"it's\"} }}", "[1, 2.0, 'a', None, True]{'k': \"it's\"}"],
    ["{{ ['a\\nb', '\u200b\\\\', 'é🙂'] }}", "['a\\nb', '\\u200b\\\\', 'é🙂']"],
    ["{{ 'a' ~ 1 ~ true }}{{ [1] | string }}", 'a1True[1]'],
    ["{{ '\\n\\n x \\n'.strip('\\n') }}|{{ 'xxaxx'.rstrip('x') }}|{{ ' a '.strip() }}", ' x |xxa|a'],
    ['{% for m in [1,2,3] %}a{{ m }}{% if m == 2 %}x{% break %}{% endif %}b{% endfor %}', 'a1ba2x'],
    ['{% for m in [1,2] %}a{{ m }}{% if m == 1 %}{% continue %}{% endif %}b{% endfor %}', 'a1a2b'],
    [
      '{% for i in [1,2] %}{% for j in [1,2] %}{% if j == 2 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}',
      '11 21 ',
    ],
    ["{% for c in 'ab' %}{{ c }}.{% endfor %}{% for x in nothing %}no{% endfor %}", 'a.b.'],
    ["{{ dict(a=1, b='x') | tojson }}", '{"a": 1, "b": "x"}'],
    ['{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(1) }}{% set s %}in{% endset %}{{ s }}', '<1>in'],
    ['{{ range(3) | list }}{{ range(4, 0, -2) | list }}', '[0, 1, 2][4, 2]'],
  ])('prints as Python does: %s', (text, expected) => {
    expect(show(text)).toBe(expected);
  });

  it('writes dates in the C locale', () => {
    expect(strftime(new Date(2026, 2, 5, 15, 4, 9), '%d %b %Y %B %A %H:%M:%S %I%p %q%%')).toBe(
      '05 Mar 2026 March Thursday 15:04:09 03PM %q%',
    );
    expect(show("{{ strftime_now('%Y') }}")).toMatch(/^20\d\d$/);
  });

  it('tells what generation blocks printed, nested in loops and with white space control', () => {
    const text =
      "{% for m in messages %}{{ m.role }}:\n  {%- if m.role == 'assistant' %}\n  {% generation %}\n {{ m.content }}!" +
      '{%- endgeneration -%}\n  {% else %}{{ m.content }}{% endif %}\n;{% endfor %}';
    const rendered = template(text).render({ messages: chat('Q', 'A', 'Q\ue000', 'A\ue001').messages });
    const plain = text.replaceAll(/(end)?generation/g, (_, end: string | undefined) =>
      end === undefined ? 'if true' : 'endif',
    );
    expect(rendered.text).toBe(show(plain, chat('Q', 'A', 'Q\ue000', 'A\ue001').messages));
    expect(rendered.generation.map(([start, end]) => rendered.text.slice(start, end).trim())).toEqual([
      'A!',
      'A\ue001!',
    ]);
    expect(template(text).marksGeneration).toBe(true);
    expect(template().marksGeneration).toBe(false);
  });
});

describe('templates that fail', () => {
  const fail = (text: string, where?: string) => {
    try {
      template(text).render({ messages, ...(where === undefined ? {} : { where }) });
    } catch (error) {
      return error;
    }
    return null;
  };

  it('says what a template complains of, and of which row', () => {
    expect(fail("{{ raise_exception('Roles must alternate') }}", 'train.jsonl:7')).toMatchObject({
      code: 'TEMPLATE',
      message:
        'train.jsonl:7: chat_template.jinja: expected messages that the chat template takes, ' +
        'got its complaint: Roles must alternate',
    });
  });

  it('refuses what is no Jinja', () => {
    expect(() => template('{% for %}')).toThrow(/^chat_template\.jinja: expected a Jinja chat template, got: /);
  });

  it.each([
    ["{{ 'a' + messages[0] }}", 'a text can only be joined to a text'],
    ["{{ 'a' + 1 }}", 'a text can only be joined to a text'],
    ['{{ nothing() }}', 'expected a function to call'],
  ])('does not print nonsense: %s', (text, message) => {
    expect(fail(text)).toMatchObject({ code: 'TEMPLATE', message: expect.stringContaining(message) });
  });

  const limits = { steps: 20_000, milliseconds: 1_000, characters: 10_000, items: 10_000 };

  it.each([
    [
      '{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}',
      'did not end within 20000 steps',
    ],
    [
      "{% for i in range(10000) %}{% for j in range(10000) %}{{ 'x' }}{% endfor %}{% endfor %}",
      'did not end within 20000 steps',
    ],
    [
      '{% for i in range(1000) %}{% for c in bos %}{% for d in bos %}{% endfor %}{% endfor %}{% endfor %}',
      'did not end within',
    ],
    ['{{ range(10 ** 12) }}', 'range() of 1000000000000 numbers is too long'],
    [
      "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
      'a text of more than 10000',
    ],
    [
      '{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}',
      'a list of more than 10000',
    ],
    ['{% macro f(g) %}{{ g(g) }}{% endmacro %}{{ f(f) }}', /did not end|call stack/],
    ["{{ 'x' * 10 ** 9 }}", 'a text of more than'],
    ['{{ [1] * 10 ** 9 }}', 'a list of more than'],
    ["{{ '%1000000000d' % 1 }}", 'a text of more than'],
    ["{{ '{:>1000000000}'.format(1) }}", 'a text of more than'],
    ["{{ 'x'.center(10 ** 9) }}", 'a text of more than'],
    ["{% set a = 'a' * 10000 %}{{ a | replace('a', a) }}", 'a text of more than'],
    ['{{ range(100000) | unique | list }}', 'did not end within 20000 steps'],
    ['{{ 10 ** 1000 }}', 'an integer that is too large'],
  ])('stops a template that does not end: %s', (text, message) => {
    const variables = { bos: 'x'.repeat(2000) };
    expect(() => renderTemplate(parseTemplate(text), variables, limits)).toThrow(message);
  });

  it('stops by the clock too', () => {
    const endless = parseTemplate('{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}');
    const start = performance.now();
    expect(() => renderTemplate(endless, {}, { ...LIMITS, milliseconds: 20 })).toThrow('did not end within');
    expect(performance.now() - start).toBeLessThan(2_000);
  });

  it.each([
    "{{ ''.constructor.constructor('return 1')() }}",
    '{{ messages[0].__proto__.x.y() }}',
    "{{ range['constructor']('return 1')() }}",
    "{{ ''.__class__.__mro__ }}",
    '{{ messages.append(1) }}',
    "{{ '{0.constructor.name}'.format(messages) }}",
    "{{ messages | map(attribute='constructor.prototype.x') | list }}",
    "{{ messages | map('constructor') | list }}",
    '{{ 1 is constructor }}',
    '{{ constructor() }}{{ toString() }}',
  ])('reaches no JavaScript: %s', (text) => expect(fail(text)).toMatchObject({ code: 'TEMPLATE' }));

  it('prints nothing for the names of JavaScript', () => {
    expect(
      show("{{ messages.__proto__ }}{{ messages[0]['constructor'] }}{{ bos_token.constructor }}{{ range.call }}"),
    ).toBe('');
  });
});
