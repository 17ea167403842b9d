import { createColors } from 'picocolors';
import { describe, expect, test } from 'vitest';
import type { Colors } from '../../src/cli/terminal.ts';
import { type DataRow, lossSummary, rowTitle, textLines, tokenLines } from '../../src/cli/tokenView.ts';
import { tokenizer } from '../data/fixtures.ts';

const plain = createColors(false);
/** A row of pieces; those with a star in front are trained. */
function row(...pieces: readonly string[]): DataRow {
  const ids: number[] = [];
  const labels: number[] = [];
  for (const piece of pieces) {
    const trained = piece.startsWith('*');
    for (const id of tokenizer.encode(trained ? piece.slice(1) : piece).ids) {
      ids.push(id);
      labels.push(trained ? id : -100);
    }
  }
  return {
    row: 3,
    file: 'a.jsonl',
    line: 4,
    inputIds: Int32Array.from(ids),
    labels: Int32Array.from(labels),
    tokens: ids.map((id) => tokenizer.idToToken(id)!),
    truncated: false,
  } as unknown as DataRow;
}

describe('a row at the terminal', () => {
  test('says where it is and how much of it is trained', () => {
    const whole = row('<|im_start|>Hi', '*<|im_end|>');
    expect(rowTitle(whole)).toBe('row 3, a.jsonl:4: 4 tokens, 1 trained (*)');
    expect(rowTitle({ ...whole, truncated: true })).toMatch(/ trained \(\*\), truncated$/);
  });

  test('has a line for each token: special ones as spelt, the rest in quotes, parts of a letter as spelt', () => {
    const lines = tokenLines(row('<|im_start|>', '*the\n', '*é'), tokenizer, null, plain);
    expect(lines).toMatchInlineSnapshot(`
      [
        "0    1     <|im_start|>",
        "1  120  *  "t"",
        "2  262  *  "he"",
        "3   14  *  "\\n"",
        "4  199  *  Ã",
        "5  173  *  ©",
      ]
    `);
  });

  test('has bars for losses, the longest for the largest', () => {
    const losses = [null, 2.5, 0.5, 0.25];
    const lines = tokenLines(row('<|im_start|>', '*a', '*b', '*c'), tokenizer, losses, plain);
    expect(lines.map((line) => line.match(/█/g)?.length ?? 0)).toEqual([0, 10, 2, 1]);
    expect(lines.map((line) => line.match(/\d\.\d{3,}/)?.[0])).toEqual([undefined, '2.500', '0.5000', '0.2500']);
    // Columns stand below each other.
    expect(new Set(lines.slice(1).map((line) => line.indexOf('"')))).toHaveProperty('size', 1);
    expect(lossSummary(losses)).toBe('loss 1.083 on average, 2.500 at most');
  });

  test('is a text whose lines end where its lines do and where what is trained begins or ends', () => {
    const lines = textLines(row('<|im_start|>One\n\ntwo', '*It is 1.\nIt is 2.<|im_end|>', '\n'), tokenizer, plain);
    expect(lines).toEqual(['  <|im_start|>One↵', '  ↵', '  two', '* It is 1.↵', '* It is 2.<|im_end|>', '  ↵']);
  });

  test('a letter of several tokens is one letter of the text', () => {
    expect(textLines(row('*naïve 😀'), tokenizer, plain)).toEqual(['* naïve 😀']);
  });

  test('sends no control character to the terminal', () => {
    const evil = row('*\u001b[2J\u0007\u009b1m');
    const shown = [...textLines(evil, tokenizer, plain), ...tokenLines(evil, tokenizer, null, plain)].join('');
    expect(shown).not.toMatch(/\p{Cc}/u);
    expect(shown).toContain('␛[2J␇�1m');
  });

  test('is green where it is trained, cyan where it is special, dim elsewhere', () => {
    const { cyan, dim, green, bold } = createColors(true);
    const lines = (colors: Colors) => tokenLines(row('<|im_start|>', 'a', '*b<|im_end|>'), tokenizer, null, colors);
    const [special, other, trained, end] = lines(plain);
    const expected = [cyan(special!), dim(other!), green(trained!), bold(green(end!))];
    expect(lines(createColors(true))).toEqual(expected);
  });
});
