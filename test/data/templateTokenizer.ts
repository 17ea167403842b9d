/** A tokenizer for a chat template alone: its special tokens are those that the template spells. */
import type { JsonObject } from '../../src/data/files.ts';
import { Tokenizer } from '../../src/data/tokenizer.ts';
import { tokenizerJson } from './fixtures.ts';

export const SPECIAL_NAMES = { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' };

const SPECIAL =
  /<[|｜][^|｜<>\s]+[|｜]>|<\|(?:turn|channel)>|<(?:turn|channel)\|>|<(?:start|end)_of_turn>|<end_of_utterance>|\[\/?[A-Z_]{3,}\]/g;

export function tokenizerFor(template: string): Tokenizer {
  const json = tokenizerJson();
  const { vocab } = json['model'] as { vocab: Record<string, number> };
  const spelt = [...template.matchAll(SPECIAL)].map(([token]) => token);
  const added = [...new Set([...Object.values(SPECIAL_NAMES), ...spelt])].filter((token) => !(token in vocab));
  const first = Object.keys(vocab).length;
  const tokens = added.map((content, i) => ({ id: first + i, content, special: true, normalized: false }));
  return new Tokenizer(
    { ...json, added_tokens: [...(json['added_tokens'] as JsonObject[]), ...tokens] },
    SPECIAL_NAMES,
  );
}
