/** What a tokenizer that remembers words says, against the library's own. */
import { Tokenizer as Core } from '@huggingface/tokenizers';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/data/files.ts';
import { rememberWords } from '../../src/data/wordMemory.ts';
import { randomStream } from '../../src/platform/random.ts';
import { tokenizerConfig, tokenizerJson } from './fixtures.ts';

/** A vocabulary of whole texts with ▁ for spaces, as Llama 2 and Gemma have it. */
function spaceJson(merges: readonly (readonly [string, string])[], model: JsonObject = {}): JsonObject {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const words = ['<unk>', ...bytes, ...'▁abcth<>\n', '▁cab', ...merges.map((pair) => pair.join(''))];
  return {
    added_tokens: [{ id: 0, content: '<unk>', special: true, normalized: false }],
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
      merges,
      unk_token: '<unk>',
      byte_fallback: true,
      fuse_unk: true,
      ...model,
    },
  };
}

const MERGES = [
  ['▁', 'a'],
  ['▁', '▁'],
  ['t', 'h'],
  ['▁▁', '▁▁'],
  ['▁', 'th'],
  ['b', 'c'],
  ['▁a', 'bc'],
] as const;
const withoutRegex = () => {
  const json = tokenizerJson();
  return { ...json, pre_tokenizer: { type: 'Sequence', pretokenizers: [json['pre_tokenizer']] } };
};

const PIECES = [
  ...['a', 'bc', 'th', 'the', 'answer', ' cab', ' ', '  ', '    ', '\n', '▁', 'x▁a', '<unk>', '<|im_end|>', '12', "'s"],
  ...['é', 'e\u0301', 'Grüße', '日本', '😀', '\u200d', 'incomprehensibilities '.repeat(4)],
];

describe('remembered words', () => {
  it.each<[string, JsonObject]>([
    ['bytes', tokenizerJson()],
    ['bytes in a sequence', withoutRegex()],
    ['whole texts', spaceJson(MERGES)],
    ['whole texts with a token over a space', spaceJson([...MERGES, ['a', '▁'], ['a▁', '▁a']])],
    ['whole texts that are looked up first', spaceJson([...MERGES], { ignore_merges: true })],
    ['whole texts without bytes', spaceJson(MERGES, { byte_fallback: false })],
  ])('%s: the same ids and tokens as from the library', (_, json) => {
    const [plain, remembers] = [new Core(json, tokenizerConfig), new Core(json, tokenizerConfig)];
    rememberWords(remembers);
    const next = randomStream(17, 0);
    for (let text = 0; text < 400; text++) {
      const words = Array.from({ length: next() % 20 }, () => PIECES[next() % PIECES.length]!);
      expect(remembers.encode(words.join(''))).toEqual(plain.encode(words.join('')));
    }
  });

  it('forgets, and knows the words again', () => {
    const [plain, remembers] = [new Core(tokenizerJson(), {}), new Core(tokenizerJson(), {})];
    rememberWords(remembers, 10);
    const text = Array.from({ length: 99 }, (_, word) => `w${word % 33}`).join(' ');
    expect(remembers.encode(text)).toEqual(plain.encode(text));
  });
});
