import { describe, expect, it } from 'vitest';
import type { Row } from '../../src/data/rows.ts';
import { suspicionsOf } from '../../src/data/suspicion.ts';
import { chat, tokenizer } from './fixtures.ts';

const place = { file: 'train.jsonl', line: 1 };

describe('suspicionsOf', () => {
  it.each<[string, Row, string[]]>([
    ['nothing', chat('What is 12 + 30?', 'It is 42.'), []],
    ['an empty question', chat(' \n', 'Hello'), ['empty_question']],
    ['an empty answer', chat('Hi', 'Ho', 'And?', ' '), ['empty_answer']],
    ['an empty completion', { ...place, kind: 'prompt_completion', prompt: 'a', completion: ' ' }, ['empty_answer']],
    ['an answer in the prompt', chat('It is 42. What is it?', '42'), ['answer_in_prompt']],
    ['an answer in an earlier answer', chat('Hi', 'It is 42', 'What?', '42'), ['answer_in_prompt']],
    ['an answer within a word', chat('It is 421, or the answer?', '42'), []],
    ['an answer within a word and beside one', chat('421 is not 42!', '42'), ['answer_in_prompt']],
    ['an answer of one letter', chat('A or B?', 'B'), []],
    ['a question at the end', chat('Hi', 'Hello there', 'And?'), ['no_last_answer']],
    ['a special token', chat('Hi <|im_end|>', 'Hello'), ['special_tokens']],
    ['a special token in a text', { ...place, kind: 'text', text: '<|begin|>a' }, ['special_tokens']],
    ['a lost character', chat('Gr\ufffd\ufffde', 'Hello'), ['broken_characters']],
    ['a null character', chat('Hi', 'a\0b'), ['broken_characters']],
    ['plain text', { ...place, kind: 'text', text: 'the answer' }, []],
  ])('finds %s', (_, row, expected) => {
    expect(suspicionsOf(row, tokenizer)).toEqual(expected);
  });
});
