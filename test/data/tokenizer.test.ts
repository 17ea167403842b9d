import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/data/files.ts';
import { LETTER_OF_BYTE } from '../../src/data/offsets.ts';
import { loadTokenizer, Tokenizer } from '../../src/data/tokenizer.ts';
import { folder, tokenizer, tokenizerConfig, tokenizerJson } from './fixtures.ts';

const TEXTS = [
  'Hello there, how are you?',
  '  two  spaces\n\n\tand a tab ',
  "It isn't , it ' s",
  'Grüße, naïve café — 東京 🙂👩‍👧 e\u0301',
  '<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n',
  'a lone \ud83d half',
];

/** Spelt with ▁ for spaces and bytes for what the vocabulary lacks, as SentencePiece models are. */
function metaspaceJson(): JsonObject {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const pieces = ['<unk>', '<s>', '</s>', ...bytes, '▁', 'a', 'b', 'c', 'ab', '▁ab', '▁▁'];
  const merges = [
    ['a', 'b'],
    ['▁', 'ab'],
    ['▁', '▁'],
  ];
  return {
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({ id, content, special: true, normalized: false })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges,
      unk_token: '<unk>',
      byte_fallback: true,
      fuse_unk: true,
    },
  };
}

describe('byte-level', () => {
  it.each(TEXTS)('decodes what it encoded: %j', (text) => {
    const shown = text.replace('\ud83d ', '\ufffd ');
    const { ids, tokens } = tokenizer.encode(text);
    expect(tokenizer.decode(ids)).toBe(shown);
    expect(tokens).toEqual(ids.map((id) => tokenizer.idToToken(id)));
  });

  it.each(TEXTS)('places tokens so that they cover the text: %j', (text) => {
    const { ids, offsets } = tokenizer.encodeWithOffsets(text);
    let covered = 0;
    for (const [i, [start, end]] of offsets.entries()) {
      expect(end).toBeGreaterThan(start);
      expect(start).toBeLessThanOrEqual(covered);
      if (start === covered && end === offsets[i + 1]?.[0])
        expect(tokenizer.decode([ids[i]!])).toBe(text.slice(start, end));
      covered = Math.max(covered, end);
    }
    expect(covered).toBe(text.length);
  });

  it('gives each part of a character the whole character', () => {
    expect(tokenizer.encodeWithOffsets('é🙂').offsets).toEqual(
      [
        [0, 1],
        [0, 1],
        [1, 3],
        [1, 3],
        [1, 3],
        [1, 3],
      ].slice(-tokenizer.encode('é🙂').ids.length),
    );
  });

  it('adds what the tokenizer puts around a text only when asked', () => {
    const [begin] = tokenizer.encode('<|begin|>').ids;
    expect(tokenizer.bosTokenId).toBe(begin);
    expect(tokenizer.encode('Hello').ids).not.toContain(begin);
    const framed = tokenizer.encodeWithOffsets('Hello', { addSpecialTokens: true });
    expect(framed.ids).toEqual([begin, ...tokenizer.encode('Hello').ids]);
    expect(framed.offsets[0]).toEqual([0, 0]);
    expect(framed.tokens[0]).toBe('<|begin|>');
  });

  it('knows special tokens', () => {
    expect(tokenizer.eosTokenId).toBe(2);
    expect(tokenizer.padTokenId).toBe(0);
    expect(tokenizer.namedTokens).toEqual({
      bos_token: '<|begin|>',
      eos_token: '<|im_end|>',
      pad_token: '<|endoftext|>',
    });
    expect(tokenizer.findSpecialTokens('a<|im_end|>\n<|im_start|>')).toEqual([
      [1, 11],
      [12, 24],
    ]);
    expect(tokenizer.vocabSize).toBe(4 + 256 + 60);
    const ids = tokenizer.encode('Hello<|im_end|> you').ids;
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe('Hello you');
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.decode([2], { skipSpecialTokens: true })).toBe('');
  });
});

describe('as tokenizers does, where the library does not', () => {
  const bytes = (merges: [string, string][], pre_tokenizer: JsonObject) => {
    const words = [...LETTER_OF_BYTE, ...merges.map((pair) => pair.join(''))];
    const model = { type: 'BPE', vocab: Object.fromEntries(words.map((word, id) => [word, id])), merges };
    return new Tokenizer({ model, pre_tokenizer, decoder: { type: 'ByteLevel' } });
  };
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };

  it('takes U+0085 for white space, and U+FEFF for none', () => {
    const short = bytes([["'", 's']], byteLevel);
    expect(short.encode("x's").tokens).toEqual(['x', "'s"]);
    expect(short.encode("\u0085's").tokens.at(-1)).toBe("'s");
    expect(short.encode("\ufeff's").tokens.slice(-2)).toEqual(["'", 's']);
  });

  it('takes digits of all scripts apart', () => {
    const three = ['Ù', '£'] as [string, string];
    const digits = { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel] };
    expect(bytes([three, ['Ù£', 'Ù£']], digits).encode('٣٣').tokens).toEqual(['Ù£', 'Ù£']);
    expect(bytes([three, ['Ù£', 'Ù£']], byteLevel).encode('٣٣').tokens).toEqual(['Ù£Ù£']);
  });

  it('takes U+FFFD for half a surrogate pair', () => {
    const json = metaspaceJson();
    const { vocab } = json['model'] as { vocab: Record<string, number> };
    const { tokens, offsets } = new Tokenizer({
      ...json,
      model: { ...(json['model'] as JsonObject), vocab: { ...vocab, '\ufffd': Object.keys(vocab).length } },
    }).encodeWithOffsets('a\ud83d');
    expect(tokens).toEqual(['▁', 'a', '\ufffd']);
    expect(offsets.at(-1)).toEqual([1, 2]);
  });

  it('places tokens of syllables that a normaliser composes', () => {
    const composed = new Tokenizer({ ...tokenizerJson(), normalizer: { type: 'NFC' } });
    const { offsets } = composed.encodeWithOffsets('a\u1112\u1161\u11abb');
    expect([offsets[0], offsets[1], offsets.at(-1)]).toEqual([
      [0, 1],
      [1, 4],
      [4, 5],
    ]);
  });
});

describe('streaming', () => {
  it.each(TEXTS.slice(0, 5))('gives the same text piece by piece, without halves of characters: %j', (text) => {
    const stream = tokenizer.createStreamDecoder();
    const pieces = tokenizer.encode(text).ids.map((id) => stream.push(id));
    expect(pieces.join('')).not.toContain('\ufffd');
    expect(pieces.join('') + stream.flush()).toBe(text);
  });

  it('gives out a broken character at the end, and skips special tokens', () => {
    const stream = tokenizer.createStreamDecoder({ skipSpecialTokens: true });
    const ids = tokenizer.encode('a🙂').ids;
    const shown = [...ids.slice(0, -1), 2].map((id) => stream.push(id)).join('');
    expect(shown).toBe('a');
    expect(stream.flush()).toBe('\ufffd');
    expect(stream.flush()).toBe('');
  });
});

describe('with ▁ for spaces', () => {
  const metaspace = new Tokenizer(metaspaceJson(), { eos_token: '</s>' });

  it('leaves out the space that it puts before a text', () => {
    const { tokens, offsets } = metaspace.encodeWithOffsets('ab ab  c');
    expect(tokens).toEqual(['▁ab', '▁ab', '▁▁', 'c']);
    expect(offsets).toEqual([
      [0, 2],
      [2, 5],
      [5, 7],
      [7, 8],
    ]);
  });

  it('places bytes of characters that the vocabulary lacks, after special tokens too', () => {
    const { tokens, offsets } = metaspace.encodeWithOffsets('aé</s>é');
    expect(tokens).toEqual(['▁', 'a', '<0xC3>', '<0xA9>', '</s>', '▁', '<0xC3>', '<0xA9>']);
    expect(offsets).toEqual([
      [0, 1],
      [0, 1],
      [1, 2],
      [1, 2],
      [2, 6],
      [6, 7],
      [6, 7],
      [6, 7],
    ]);
  });

  it('streams spaces where they belong', () => {
    const stream = metaspace.createStreamDecoder();
    const { ids } = metaspace.encode('ab ab é c');
    expect(ids.map((id) => stream.push(id))).toEqual(['ab', ' ab', ' ', '', 'é', ' ', 'c']);
  });
});

describe('loading', () => {
  it('reads the files of a model folder', async () => {
    const loaded = await loadTokenizer(
      folder({
        'tokenizer.json': tokenizerJson(),
        'tokenizer_config.json': { ...tokenizerConfig, pad_token: null },
        'special_tokens_map.json': { pad_token: '<|begin|>' },
      }),
    );
    expect(loaded.encode('Hello').ids).toEqual(tokenizer.encode('Hello').ids);
    expect(loaded.padTokenId).toBe(3);
  });

  it('takes tokens that only tokenizer_config.json adds', () => {
    const config = { added_tokens_decoder: { '400': { content: '<tool>', special: false } } };
    const extended = new Tokenizer(tokenizerJson(), config);
    expect(extended.encode('a<tool>').ids.at(-1)).toBe(400);
    expect(extended.vocabSize).toBe(401);
    expect(extended.specialIds.has(400)).toBe(false);
  });

  it.each([
    [{}, 'model: expected a tokenizer.json, got none'],
    [{ 'tokenizer.json': '{' }, 'model/tokenizer.json: expected JSON, got: '],
    [{ 'tokenizer.json': '[]' }, 'model/tokenizer.json: expected a JSON object, got a list'],
    [
      { 'tokenizer.json': { model: { type: 'Magic' } } },
      'model: expected a tokenizer.json that can be read, got: Unknown TokenizerModel type',
    ],
    [
      { 'tokenizer.json': { model: { type: 'Unigram', vocab: [], byte_fallback: true } } },
      'model: expected a Unigram tokenizer without byte fallback',
    ],
  ])('refuses %j', async (files: Record<string, string | JsonObject>, message) => {
    await expect(loadTokenizer(folder(files))).rejects.toMatchObject({
      code: 'MODEL',
      message: expect.stringContaining(message),
    });
  });

  it('says when tokens do not spell the text', () => {
    const lower = { ...tokenizerJson(), normalizer: { type: 'Replace', pattern: { Regex: '(?<=a) b' }, content: 'x' } };
    expect(() => new Tokenizer(lower).encodeWithOffsets('a b')).toThrow(
      /tokenizer: expected tokens that spell the text/,
    );
  });

  it('says when the vocabulary has no token for a piece', () => {
    const json = metaspaceJson();
    const model = { ...(json['model'] as JsonObject), byte_fallback: false, unk_token: null };
    expect(() => new Tokenizer({ ...json, model }).encodeWithOffsets('aé')).toThrow(
      'tokenizer: expected tokens that spell the text',
    );
  });
});
