/** A small byte-level BPE tokenizer made on the spot, a chat template, and files in memory. */
import type { JsonObject } from '../../src/data/files.ts';
import { LETTER_OF_BYTE } from '../../src/data/offsets.ts';
import type { ChatRow, Message } from '../../src/data/rows.ts';
import { ChatTemplate } from '../../src/data/template.ts';
import { Tokenizer } from '../../src/data/tokenizer.ts';
import { bytesFolder, bytesSource } from '../../src/platform/sources.ts';
import type { ReadableFolder, ReadableSource } from '../../src/platform/types.ts';

const CORPUS =
  'user assistant system Hello there, how are you today? I am fine, thanks. What is 12 + 30? It is 42. ' +
  'The answer is in the text; the text is the answer. Grüße, naïve café. def add(a, b):\n    return a + b\n';

export const SPECIAL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|begin|>'] as const;

/** Merges the most frequent pair of the corpus, again and again. */
function trainMerges(text: string, count: number): [string, string][] {
  const words = text.match(/ ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+/gu)!;
  let spelt = words.map((word) => Array.from(new TextEncoder().encode(word), (byte) => LETTER_OF_BYTE[byte]!));
  const merges: [string, string][] = [];
  while (merges.length < count) {
    const counts = new Map<string, number>();
    for (const word of spelt) {
      for (let i = 1; i < word.length; i++) {
        const pair = `${word[i - 1]!} ${word[i]!}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const [best] = [...counts].toSorted((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0]!;
    const [left, right] = best.split(' ') as [string, string];
    merges.push([left, right]);
    spelt = spelt.map((word) => {
      const merged: string[] = [];
      for (const piece of word) {
        if (piece === right && merged.at(-1) === left) merged[merged.length - 1] = left + right;
        else merged.push(piece);
      }
      return merged;
    });
  }
  return merges;
}

/** The content of a tokenizer.json: special tokens, bytes, merges. BOS is put in front of raw text. */
export function tokenizerJson(): JsonObject {
  const merges = trainMerges(CORPUS, 60);
  const words = [...SPECIAL, ...LETTER_OF_BYTE, ...merges.map((pair) => pair.join(''))];
  return {
    added_tokens: SPECIAL.map((content, id) => ({ id, content, special: true, normalized: false })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<|begin|>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [],
      special_tokens: {},
    },
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: Object.fromEntries(words.map((word, id) => [word, id])), merges },
  };
}

export const tokenizerConfig = {
  bos_token: '<|begin|>',
  eos_token: '<|im_end|>',
  pad_token: { content: '<|endoftext|>', special: true },
  clean_up_tokenization_spaces: true,
};

export const tokenizer = new Tokenizer(tokenizerJson(), tokenizerConfig);

export const CHATML =
  '{% for message in messages %}' +
  "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

export function template(text: string = CHATML): ChatTemplate {
  return new ChatTemplate(text, 'chat_template.jinja', tokenizer.namedTokens);
}

export function source(content: string | Uint8Array, name = 'train.jsonl'): ReadableSource {
  return bytesSource(name, typeof content === 'string' ? new TextEncoder().encode(content) : content);
}

export function jsonl(...rows: unknown[]): ReadableSource {
  return source(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

export function folder(files: Readonly<Record<string, string | JsonObject>>): ReadableFolder {
  const bytes = (content: string | JsonObject) =>
    new TextEncoder().encode(typeof content === 'string' ? content : JSON.stringify(content));
  return bytesFolder('model', new Map(Object.entries(files).map(([path, content]) => [path, bytes(content)])));
}

/** A chat row from turns that alternate, a user's first. */
export function chat(...contents: string[]): ChatRow {
  const messages = contents.map((content, i): Message => ({ role: i % 2 === 0 ? 'user' : 'assistant', content }));
  return { kind: 'chat', file: 'train.jsonl', line: 7, messages };
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}
