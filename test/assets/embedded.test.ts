import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, it } from 'vitest';
import { parseTemplate, renderTemplate } from '../../src/data/jinja.ts';
import type { LabelledTokens } from '../../src/data/labels.ts';
import { compileJsonSchema, schemaJson } from '../../src/eval/metrics/schemaJson.ts';

interface Row {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
}

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(`assets/${path}`, root), 'utf8');
const rowsOf = (split: string): Row[] =>
  read(`json-requests/${split}.jsonl`)
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);
const request = (row: Row) => row.messages[0]!.content;
const answer = (row: Row) => row.messages[1]!.content;
const values = (row: Row) => {
  const { intent, ...slots } = JSON.parse(answer(row)) as Record<string, string>;
  return { intent: intent!, slots };
};

const train = rowsOf('train');
const val = rowsOf('val');
const test = rowsOf('test');
const schema = compileJsonSchema(read('json-requests/schema.json'), 'schema.json');
const tokenizer = new Tokenizer(
  JSON.parse(read('tiny-llama/tokenizer.json')),
  JSON.parse(read('tiny-llama/tokenizer_config.json')),
);
const encode = (text: string) => tokenizer.encode(text, { add_special_tokens: false });

describe('json-requests', () => {
  it('has the same number of rows of each intent', () => {
    for (const rows of [train, val, test]) {
      const counts = new Map<string, number>();
      for (const row of rows) counts.set(values(row).intent, (counts.get(values(row).intent) ?? 0) + 1);
      expect(counts.size).toBe(13);
      expect(new Set(counts.values()).size).toBe(1);
    }
    expect([train.length, val.length, test.length]).toEqual([1248, 65, 65]);
  });

  it('answers every request by the schema, with values copied from the request', () => {
    for (const row of [...train, ...val, ...test]) {
      expect(row.messages.map(({ role }) => role)).toEqual(['user', 'assistant']);
      expect(schemaJson(answer(row), schema), answer(row)).toBe(1);
      for (const value of Object.values(values(row).slots)) expect(request(row)).toContain(value);
    }
  });

  it('holds out phrasings and combinations of values', () => {
    const phrasing = (row: Row) => {
      const slots = Object.entries(values(row).slots).toSorted(([, a], [, b]) => b.length - a.length);
      return slots.reduce((text, [slot, value]) => text.replace(value, `{${slot}}`), request(row));
    };
    const combination = (row: Row) => answer(row);
    for (const key of [request, phrasing, combination]) {
      const splits = [train, val, test].map((rows) => new Set(rows.map(key)));
      for (const [a, b] of [
        [0, 1],
        [0, 2],
        [1, 2],
      ] as const) {
        expect([...splits[a]!].filter((text) => splits[b]!.has(text))).toEqual([]);
      }
    }
  });
});

describe('the tokenizer of tiny-llama', () => {
  it('gives back any text', () => {
    const texts = [
      ...test.flatMap((row) => [request(row), answer(row)]),
      'Grüße, 東京 👋🏽 at 7:45?\n\n  {"a": {"b": ["c", 1]}}\t<p>x</p> \u0000 end  ',
    ];
    for (const text of texts)
      expect(tokenizer.decode(encode(text).ids, { clean_up_tokenization_spaces: false })).toBe(text);
  });

  it('has one token for each joint of a flat JSON object', () => {
    const tokens = encode('{"day": "Monday", "time": "noon"}').tokens;
    for (const joint of ['{"', '":Ġ"', '",Ġ"', '"}']) expect(tokens).toContain(joint);
  });

  it('cuts a word in the same way with and without a space before it', () => {
    for (const word of ['Monday', 'kitchen', 'Kovubes']) {
      const spaced = encode(` ${word}`).tokens;
      const bare = encode(word).tokens;
      expect(spaced.join('').slice(1)).toBe(bare.join(''));
      expect(spaced.slice(-1)).toEqual(spaced.length > 1 ? bare.slice(-1) : [`Ġ${bare[0]}`]);
    }
  });

  it('is short: an example of the fine-tuning set has fewer than 80 tokens', () => {
    const template = parseTemplate(read('tiny-llama/chat_template.jinja'));
    const lengths = train.map(({ messages }) => {
      const { text } = renderTemplate(template, {
        messages,
        bos_token: '<|bos|>',
        eos_token: '<|end|>',
        add_generation_prompt: false,
      });
      return encode(text).ids.length;
    });
    expect(Math.max(...lengths)).toBeLessThan(80);
  });

  it('renders chats with a system message and a generation prompt', () => {
    const template = parseTemplate(read('tiny-llama/chat_template.jinja'));
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hello!' },
    ];
    const names = { bos_token: '<|bos|>', eos_token: '<|end|>' };
    const { text } = renderTemplate(template, { messages, ...names, add_generation_prompt: true });
    expect(text).toBe('<|bos|><|system|>Be brief.<|end|><|user|>Hello!<|end|><|assistant|>');
    expect(encode(text).ids.filter((id) => id < 6)).toEqual([1, 3, 2, 4, 2, 5]);
  });
});

describe('scripts/embedded', () => {
  it('makes the files that are committed', async () => {
    const script = fileURLToPath(new URL('scripts/embedded/make.mjs', root));
    await expect(promisify(execFile)(process.execPath, [script, '--check'])).resolves.toBeTruthy();
  });

  it('streams the same pretraining batches from the same seed, with no JSON answer to a request', async () => {
    const module: unknown = await import(new URL('scripts/embedded/stream.mjs', root).href);
    const { pretrainingBatches } = module as {
      pretrainingBatches(options: { seed: number; tokens: number }): Generator<LabelledTokens[]>;
    };
    const take = (seed: number) => {
      const stream = pretrainingBatches({ seed, tokens: 1024 });
      return Array.from({ length: 20 }, () => stream.next().value as LabelledTokens[]);
    };
    const batches = take(7);
    expect(take(7)).toEqual(batches);
    expect(take(8)).not.toEqual(batches);
    for (const batch of batches) {
      const sizes = batch.map(({ inputIds }) => inputIds.length);
      expect(sizes.reduce((a, b) => a + b)).toBeLessThanOrEqual(1024);
      for (const { inputIds, labels } of batch) {
        expect([inputIds[0], inputIds.at(-1)]).toEqual([1, 2]);
        expect(labels.at(-1)).toBe(2);
        expect(labels.every((label, t) => label === -100 || label === inputIds[t])).toBe(true);
        const text = tokenizer.decode([...inputIds], {
          skip_special_tokens: true,
          clean_up_tokenization_spaces: false,
        });
        expect(text).not.toContain('"intent"');
      }
    }
  });
});
