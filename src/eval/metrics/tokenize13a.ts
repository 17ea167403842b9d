/** The tokenizer of mteval-v13a, as sacrebleu does it (`tokenizer_13a.py`). */
import { splitSpaces } from './pythonText.ts';

/** Each in the text that the one before has left. */
const RULES: readonly (readonly [RegExp, string])[] = [
  // Punctuation and symbols of ASCII but for . , - and the apostrophe.
  [/([{-~[-` -&(-+:-@/])/gu, ' $1 '],
  // A period or a comma that no digit comes before, or that no digit follows.
  [/([^0-9])([.,])/gu, '$1 $2 '],
  [/([.,])([^0-9])/gu, ' $1 $2'],
  // A dash after a digit.
  [/([0-9])(-)/gu, '$1 $2 '],
];

export function tokenize13a(text: string): string[] {
  const plain = text
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>');
  return splitSpaces(RULES.reduce((line, [pattern, by]) => line.replace(pattern, by), ` ${plain} `));
}
