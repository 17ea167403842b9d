/**
 * Most words of a text have come before. The tokenizer library cuts each of them anew, or finds it in a queue that costs as
 * much; here, what became of a word is kept in a map. Nothing that comes out changes.
 */

import type { Tokenizer as Core, PreTokenizer } from '@huggingface/tokenizers';
import { BPE, ByteLevelPreTokenizer, SequencePreTokenizer } from '@huggingface/tokenizers';
import { LETTER_OF_BYTE } from './offsets.ts';

/** When there are so many, all are forgotten: some 20 MB. */
const MOST_WORDS = 1 << 16;
/** In UTF-16 units; longer ones hardly come again. */
const LONGEST_WORD = 64;

/** Makes a tokenizer remember words, up to `most` of them. */
export function rememberWords({ model, pre_tokenizer }: Core, most = MOST_WORDS): void {
  rememberSpellings(pre_tokenizer, most);
  if (!(model instanceof BPE)) return;
  const encode = model.encode.bind(model);
  const tokensOf = remembering((word) => encode([word]), most);
  const cutFurther = canCutBeforeSpace(model);
  model.encode = (words) => {
    const tokens: string[] = [];
    for (const word of words) {
      for (const piece of cutFurther ? word.split(BEFORE_SPACE) : [word]) {
        for (const token of tokensOf(piece)) tokens.push(token);
      }
    }
    return tokens;
  };
}

const BEFORE_SPACE = /(?<=[^▁])(?=▁)/;

/**
 * Tokenizers without words (Llama 2, Mistral, Gemma) merge across a whole text, with ▁ for spaces. Where no token has a ▁
 * after something else, no merge reaches over such a place, and what is before and after it can be merged alone.
 */
function canCutBeforeSpace(model: BPE): boolean {
  const plain = !model.ignore_merges && !model.continuing_subword_suffix && !model.end_of_word_suffix;
  return plain && !model.merges.some((pair) => BEFORE_SPACE.test(pair.join('')));
}

/** Bytes of words as letters: the slow half of cutting a text into words. */
function rememberSpellings(part: PreTokenizer | null, most: number): void {
  if (part instanceof SequencePreTokenizer) for (const one of part.tokenizers) rememberSpellings(one, most);
  if (!(part instanceof ByteLevelPreTokenizer)) return;
  const encoder = new TextEncoder();
  const spell = remembering((word) => Array.from(encoder.encode(word), (byte) => LETTER_OF_BYTE[byte]!).join(''), most);
  part.pre_tokenize_text = (text) => {
    const whole = part.add_prefix_space && !text.startsWith(' ') ? ` ${text}` : text;
    return (part.use_regex ? (whole.match(part.pattern) ?? []) : [whole]).map(spell);
  };
}

/** The same function, which answers for a word that it has seen without being called. */
function remembering<T>(compute: (word: string) => T, most: number): (word: string) => T {
  const known = new Map<string, T>();
  return (word) => {
    const before = known.get(word);
    if (before !== undefined) return before;
    const result = compute(word);
    if (word.length > LONGEST_WORD) return result;
    if (known.size === most) known.clear();
    // A copy: a slice would keep the whole text alive that it is of.
    known.set(` ${word}`.slice(1), result);
    return result;
  };
}
