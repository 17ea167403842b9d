import { describe, expect, it } from 'vitest';
import type { TrainOn } from '../../src/data/mask.ts';
import { maskRow } from '../../src/data/mask.ts';
import type { ChatRow, Message, Row } from '../../src/data/rows.ts';
import { CHATML, chat, template, tokenizer } from './fixtures.ts';

/** The text with what is trained in ⟦brackets⟧. */
function masked(row: Row, jinja = CHATML, trainOn: TrainOn = 'assistant'): string {
  const { text, spans } = maskRow(row, { tokenizer, template: template(jinja), trainOn });
  let shown = '';
  let position = 0;
  for (const [start, end] of spans) {
    shown += `${text.slice(position, start)}⟦${text.slice(start, end)}⟧`;
    position = end;
  }
  return (shown + text.slice(position)).replaceAll('<|im_start|>', '▶').replaceAll('<|im_end|>', '■');
}

const EACH = '{% for m in messages %}';

function conversation(...messages: Message[]): ChatRow {
  return { ...chat(), messages };
}

describe('templates without generation blocks', () => {
  it('trains every answer with its stop token', () => {
    expect(masked(chat('Q', 'A', 'R', 'B'))).toBe('▶user\nQ■\n▶assistant\n⟦A■⟧\n▶user\nR■\n▶assistant\n⟦B■⟧\n');
  });

  it('tells an answer from the same words elsewhere', () => {
    expect(masked(chat('yes', 'yes', 'user assistant yes', 'yes'))).toBe(
      '▶user\nyes■\n▶assistant\n⟦yes■⟧\n▶user\nuser assistant yes■\n▶assistant\n⟦yes■⟧\n',
    );
    expect(masked(chat('Say assistant', 'assistant'))).toBe('▶user\nSay assistant■\n▶assistant\n⟦assistant■⟧\n');
  });

  it('keeps the white space that a template keeps', () => {
    expect(masked(chat(' Q ', '\n A \n'))).toBe('▶user\n Q ■\n▶assistant\n⟦\n A \n■⟧\n');
  });

  it('follows a template that trims', () => {
    const trims = CHATML.replace("message['content']", "message['content'] | trim");
    expect(masked(chat(' Q ', '\n A  b \n', ' R', 'B '), trims)).toBe(
      '▶user\nQ■\n▶assistant\n⟦A  b■⟧\n▶user\nR■\n▶assistant\n⟦B■⟧\n',
    );
  });

  it('includes white space before the stop token, but no other text', () => {
    expect(masked(chat('Q', 'A'), `${EACH}[{{ m.content }}] \n<|im_end|>{% endfor %}`)).toBe('[Q] \n■[⟦A⟧] \n⟦■⟧');
    expect(masked(chat('Q', 'A'), `${EACH}{{ m.content }} \n<|im_end|>{% endfor %}`)).toBe('Q \n■⟦A \n■⟧');
  });

  it('takes no stop token of a later message', () => {
    const none = `${EACH}{{ m.role }}: {{ m.content }}\n{% endfor %}<|im_end|>`;
    expect(masked(chat('Q', 'A', 'R', 'B'), none)).toBe('user: Q\nassistant: ⟦A⟧\nuser: R\nassistant: ⟦B\n■⟧');
  });

  it('trains an empty answer as its stop token', () => {
    expect(masked(chat('Q', ''))).toBe('▶user\nQ■\n▶assistant\n⟦■⟧\n');
  });

  it('trains each place of a content that is printed twice', () => {
    const twice = `${EACH}{{ m.content }};{% endfor %}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}`;
    expect(masked(chat('Q', 'A'), twice)).toBe('Q;⟦A⟧;Q■⟦A■⟧');
  });

  it('leaves out turns that a template leaves out', () => {
    const last = '{{ messages[-2].content }}>{{ messages[-1].content }}<|im_end|>';
    expect(masked(chat('Q', 'A', 'R', 'B'), last)).toBe('R>⟦B■⟧');
  });

  it('follows contents through JSON, replacements and cut-out reasoning', () => {
    const json = `${EACH}{{ m.content | tojson }}<|im_end|>{% endfor %}`;
    expect(masked(chat('Q', 'a "b"\n'), json)).toBe('"Q"■"⟦a \\"b\\"\\n⟧"⟦■⟧');
    const cut = CHATML.replace("message['content']", "message['content'].split('</think>')[-1]");
    expect(masked(chat('Q', '<think>\nhm\n</think>A'), cut)).toBe('▶user\nQ■\n▶assistant\n⟦A■⟧\n');
  });

  it('follows a template that measures or compares contents', () => {
    const measures =
      `${EACH}{{ m.role }} {{ m.content | length }}: {{ m.content }}<|im_end|>\n{% endfor %}` +
      '{% if add_generation_prompt %}assistant {% endif %}';
    expect(masked(chat('Q', '2: yes'), measures)).toBe('user 1: Q■\nassistant ⟦6: 2: yes■⟧\n');
    const compares = CHATML.replace("message['content'] +", "('yes' if message['content'] == 'yes' else 'no') +");
    expect(masked(chat('Q', 'yes'), compares)).toBe('▶user\nno■\n▶assistant\n⟦yes■⟧\n');
  });

  it('refuses to guess', () => {
    const shouts = `${EACH}{{ m.content | length }}{{ m.content }}{{ m.content }}{% endfor %}{{ add_generation_prompt }}`;
    expect(() => masked(chat('Q', 'A'), shouts)).toThrow(
      "train.jsonl:7: expected the assistant's message 1 in what chat_template.jinja made, got no place that is sure",
    );
  });

  it('works when the conversation uses private-use characters itself', () => {
    expect(masked(chat('\ue000', '\ue001\ue002'))).toBe('▶user\n\ue000■\n▶assistant\n⟦\ue001\ue002■⟧\n');
  });

  it('does not take an ordinary word for a stop token, nor one inside of a content', () => {
    expect(masked(chat('Q', 'A<|im_end|>B'))).toBe('▶user\nQ■\n▶assistant\n⟦A■B■⟧\n');
  });
});

describe('reasoning and tool calls', () => {
  const reasons =
    `${EACH}<|im_start|>{{ m.role }}\n{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}` +
    '{{ m.content }}{% for c in m.tool_calls or [] %}<call>{{ c.function | tojson }}</call>{% endfor %}<|im_end|>\n' +
    '{% endfor %}' +
    '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}';
  const user: Message = { role: 'user', content: 'Q' };
  const call = { type: 'function', function: { name: 'f', arguments: { x: 1 } } };

  it('trains reasoning as it is rendered', () => {
    const row = conversation(user, { role: 'assistant', content: 'A', reasoning_content: ' hm ' });
    expect(masked(row, reasons)).toBe('▶user\nQ■\n▶assistant\n⟦<think> hm </think>A■⟧\n');
  });

  it('trains tool calls as they are rendered, and no answers of tools', () => {
    const row = conversation(
      user,
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', content: '1' },
      { role: 'assistant', content: 'A' },
    );
    expect(masked(row, reasons.replace('{{ m.content }}', "{{ m.content or '' }}"))).toBe(
      '▶user\nQ■\n▶assistant\n⟦<call>{"name": "f", "arguments": {"x": 1}}</call>■⟧\n▶tool\n1■\n▶assistant\n⟦A■⟧\n',
    );
  });

  it('trains calls with the special tokens around them, where the prompt is another text', () => {
    const thinks = reasons
      .replace('{{ m.content }}', "{{ '<think></think>' if m.role == 'assistant' }}{{ m.content }}")
      .replaceAll(/<.?call>/g, '<|begin|>')
      .replace('assistant\n{% endif %}', 'assistant\n<think>\n{% endif %}');
    const row = conversation(
      user,
      { role: 'assistant', content: '', tool_calls: [call] },
      { role: 'tool', content: '1' },
    );
    expect(masked(row, thinks)).toBe(
      '▶user\nQ■\n▶assistant\n<think></think>⟦<|begin|>{"name": "f", "arguments": {"x": 1}}<|begin|>■⟧\n▶tool\n1■\n',
    );
    expect(masked(conversation(user, { role: 'assistant', content: '' }), thinks)).toBe(
      '▶user\nQ■\n▶assistant\n<think></think>⟦■⟧\n',
    );
  });

  it('trains white space that a template keeps on one side, or after reasoning that it cuts out', () => {
    const trimmed = CHATML.replace("message['content']", "message['content'].rstrip()");
    expect(masked(chat('Q', '\n A \n'), trimmed)).toBe('▶user\nQ■\n▶assistant\n⟦\n A■⟧\n');
    const cut = `${CHATML.replace("message['content']", "message['content'].split('</think>')[-1]")}`.replace(
      "assistant\\n' }}{% endif %}",
      "assistant\\n<think>' }}{% endif %}",
    );
    expect(masked(chat('Q', '<think>hm</think>\n\nA'), cut)).toBe('▶user\nQ■\n▶assistant\n⟦\n\nA■⟧\n');
  });

  it('leaves out reasoning that a template leaves out', () => {
    const row = conversation(user, { role: 'assistant', content: 'A', reasoning_content: 'hm' });
    expect(masked(row)).toBe('▶user\nQ■\n▶assistant\n⟦A■⟧\n');
  });
});

describe('templates with generation blocks', () => {
  const prompt = '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}';
  const blocks =
    `${EACH}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}` +
    '{% generation %}[{{ m.content }}]{% endgeneration %}{% else %}{{ m.content }}{% endif %}' +
    `<|im_end|>{{ '\\n' }}{% endfor %}${prompt}`;

  it('lets them decide', () => {
    expect(masked(chat('Q', 'A', 'R', 'B'), blocks)).toBe(
      '▶user\nQ■\n▶assistant\n⟦[A]⟧■\n▶user\nR■\n▶assistant\n⟦[B]⟧■\n',
    );
  });

  it('takes the last ones for last_assistant', () => {
    expect(masked(chat('Q', 'A', 'R', 'B'), blocks, 'last_assistant')).toBe(
      '▶user\nQ■\n▶assistant\n[A]■\n▶user\nR■\n▶assistant\n⟦[B]⟧■\n',
    );
    const turn = '{% generation %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endgeneration %}';
    const headers = `${EACH}${turn}{{ '\\n' }}{% endfor %}${prompt}`;
    expect(masked(chat('Q', 'A'), headers, 'last_assistant')).toBe('▶user\nQ■\n⟦▶assistant\nA■⟧\n');
  });
});

describe('data.train_on', () => {
  const row = chat('Q', 'A', 'R', 'B');

  it.each<[TrainOn, string]>([
    ['assistant', '▶user\nQ■\n▶assistant\n⟦A■⟧\n▶user\nR■\n▶assistant\n⟦B■⟧\n'],
    ['last_assistant', '▶user\nQ■\n▶assistant\nA■\n▶user\nR■\n▶assistant\n⟦B■⟧\n'],
    ['completion', '▶user\nQ■\n▶assistant\nA■\n▶user\nR■\n▶assistant\n⟦B■\n⟧'],
    ['all', '⟦▶user\nQ■\n▶assistant\nA■\n▶user\nR■\n▶assistant\nB■\n⟧'],
  ])('%s', (trainOn, expected) => {
    expect(masked(row, CHATML, trainOn)).toBe(expected);
  });

  it('takes the last answer even when a message follows it', () => {
    const open = conversation(...row.messages, { role: 'user', content: 'S' });
    expect(masked(open, CHATML, 'last_assistant')).toBe(
      '▶user\nQ■\n▶assistant\nA■\n▶user\nR■\n▶assistant\n⟦B■⟧\n▶user\nS■\n',
    );
  });

  it('finds the last answer when history is rendered otherwise', () => {
    const history = `${EACH}{{ m.content if loop.last or m.role == 'user' else '…' }}<|im_end|>{% endfor %}`;
    expect(masked(row, history, 'last_assistant')).toBe('Q■…■R■⟦B■⟧');
    expect(masked(row, history, 'completion')).toBe('Q■…■R■⟦B■⟧');
  });
});

describe('raw rows', () => {
  const place = { file: 'train.jsonl', line: 1 };

  it('trains a completion and the end of the sequence', () => {
    const row = { ...place, kind: 'prompt_completion', prompt: 'P: ', completion: 'C' } as const;
    for (const trainOn of ['assistant', 'last_assistant', 'completion'] as const)
      expect(masked(row, CHATML, trainOn)).toBe('P: ⟦C■⟧');
    expect(masked(row, CHATML, 'all')).toBe('⟦P: C■⟧');
    expect(maskRow(row, { tokenizer, template: null, trainOn: 'all' }).addSpecialTokens).toBe(true);
  });

  it('trains all of a text', () => {
    expect(masked({ ...place, kind: 'text', text: 'T' })).toBe('⟦T■⟧');
    expect(masked({ ...place, kind: 'text', text: 'T<|im_end|>' })).toBe('⟦T■⟧');
  });

  it('needs a template for chats only', () => {
    expect(() => maskRow(chat('Q', 'A'), { tokenizer, template: null, trainOn: 'assistant' })).toThrow(
      'train.jsonl:7: expected a chat template for a chat row, got none with the model',
    );
  });
});
