/**
 * Byte-level BPE: training on text of this folder, and the Hugging Face files that describe the result.
 */

/** Ids 0 to 5. `<|end|>` closes every turn and every plain text, and stops generation. */
export const specialTokens = ['<|pad|>', '<|bos|>', '<|end|>', '<|system|>', '<|user|>', '<|assistant|>'];

/**
 * How text is cut before byte pairs are merged; no token crosses a cut. The four joints of a flat JSON object stay
 * whole, so that they are one token each wherever they occur. Digits stand alone.
 */
const PIECES = '\\{"|": "|", "|"\\}| ?\\p{L}+| ?\\p{N}| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+';

/** `<|bos|>`, then each message as `<|role|>content<|end|>`. */
export const chatTemplate =
  '{{ bos_token }}' +
  "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/** The printable character that stands for each byte in byte-level BPE files (the table of GPT-2). */
const byteSymbols = (() => {
  const printable = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 255 && byte !== 173);
  let shifted = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : shifted++));
})();
const SPACE = byteSymbols[32];

/** Ids in all, and how many of them are known before the spaces' turn comes. */
const VOCAB_SIZE = 1024;
const WORD_VOCAB_SIZE = 760;

/**
 * Learns the merges in two rounds: first inside words, without the space before them; then that space with the first
 * token of a word. So a word is cut in the same way with and without a space before it, and a value that the model
 * copies from a sentence into quotes changes in its first token only.
 * @param {Iterable<string>} texts
 * @returns {{ vocab: Record<string, number>, merges: [string, string][] }}
 */
export function trainBpe(texts) {
  const words = countPieces(texts);
  const symbols = new Set([...specialTokens, ...byteSymbols]);
  const merges = [];
  const mergeUntil = (size, pairs) => {
    while (symbols.size < size) {
      const pair = pairs.mergeMostFrequent();
      merges.push(pair);
      symbols.add(pair.join('')); // two pairs can give one symbol
    }
  };
  const inside = words.map(({ count, symbols: all, spaced }) => ({ count, symbols: spaced ? all.slice(1) : all }));
  mergeUntil(WORD_VOCAB_SIZE, new PairCounts(inside));
  const starts = inside.filter((_, i) => words[i].spaced);
  mergeUntil(
    VOCAB_SIZE,
    new PairCounts(starts.map(({ count, symbols: [first] }) => ({ count, symbols: [SPACE, first] }))),
  );
  return { vocab: Object.fromEntries([...symbols].map((symbol, id) => [symbol, id])), merges };
}

/** Different pieces of the texts as byte symbols, with how often each occurs, in order of first occurrence. */
function countPieces(texts) {
  const counts = new Map();
  const pieces = new RegExp(PIECES, 'gu');
  for (const text of texts) {
    for (const piece of text.match(pieces) ?? []) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  }
  return [...counts].map(([piece, count]) => ({
    count,
    symbols: Array.from(new TextEncoder().encode(piece), (byte) => byteSymbols[byte]),
    spaced: /^ \S/.test(piece),
  }));
}

/** How often each pair of neighbours occurs in the words, kept up to date while pairs are merged. */
class PairCounts {
  #words;
  #counts = new Map();

  constructor(words) {
    this.#words = words;
    for (const word of words) this.#count(word, word.count);
  }

  /** Ties go to the pair that sorts first, so that training is reproducible. */
  mergeMostFrequent() {
    let best = '';
    let most = 0;
    for (const [pair, count] of this.#counts) {
      if (count > most || (count === most && count > 0 && pair < best)) [best, most] = [pair, count];
    }
    if (most === 0) throw new Error('trainBpe: the text has too few different words');
    const [left, right] = best.split(' ');
    for (const word of this.#words) this.#merge(word, left, right);
    return [left, right];
  }

  #merge(word, left, right) {
    const together = (i) => word.symbols[i] === left && word.symbols[i + 1] === right;
    if (!word.symbols.some((_, i) => together(i))) return;
    this.#count(word, -word.count);
    const merged = [];
    for (let i = 0; i < word.symbols.length; i += together(i) ? 2 : 1) {
      merged.push(together(i) ? left + right : word.symbols[i]);
    }
    word.symbols = merged;
    this.#count(word, word.count);
  }

  #count({ symbols }, amount) {
    for (let i = 0; i + 1 < symbols.length; i++) {
      const pair = `${symbols[i]} ${symbols[i + 1]}`;
      this.#counts.set(pair, (this.#counts.get(pair) ?? 0) + amount);
    }
  }
}

/** The content of `tokenizer.json`. */
export function tokenizerJson({ vocab, merges }) {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => ({ id, ...addedToken(content) })),
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: PIECES }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: merges.map((pair) => pair.join(' ')),
    },
  };
}

/** The content of `tokenizer_config.json`. */
export function tokenizerConfig(maxLength) {
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: '<|bos|>',
    eos_token: '<|end|>',
    pad_token: '<|pad|>',
    additional_special_tokens: ['<|system|>', '<|user|>', '<|assistant|>'],
    model_max_length: maxLength,
    padding_side: 'right',
    clean_up_tokenization_spaces: false,
    added_tokens_decoder: Object.fromEntries(specialTokens.map((content, id) => [id, addedToken(content)])),
  };
}

function addedToken(content) {
  return { content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
}
