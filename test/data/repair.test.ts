import { describe, expect, it } from 'vitest';
import { repairPages, withoutRunningLines } from '../../src/data/repair.ts';
import { randomStream } from '../../src/platform/random.ts';

describe('headers and footers', () => {
  const body = ['The first rule.', 'Of sums.', 'A longer text.', 'And more.', 'The end.'];

  it('go, with page numbers that count along', () => {
    const pages = body.map((text, i) => `Annual report\n\n${text}\nSo ${text}\n\nPage ${i + 7} of 30\n`);
    expect(withoutRunningLines(pages).map((page) => page.trim())).toEqual(body.map((text) => `${text}\nSo ${text}`));
    expect(repairPages(pages)).toBe(body.map((text) => `${text}\nSo ${text}`).join('\n\n'));
  });

  it('may differ on left and right pages, and be missing on the first', () => {
    const pages = body.map((text, i) => {
      if (i === 0) return text;
      return i % 2 === 0 ? `${i}  Book\n${text}` : `Chapter  ${i}\n${text}`;
    });
    // Two right pages and two left ones are too few; with a further pair of each they are enough.
    expect(withoutRunningLines(pages)).toEqual(pages);
    const more = [...pages, `Chapter 5\nFive.`, `6 Book\nSix.`, `Chapter 7\nSeven.`, `8 Book\nEight.`];
    expect(withoutRunningLines(more)).toEqual([...body, 'Five.', 'Six.', 'Seven.', 'Eight.']);
  });

  it('are not what only looks like them', () => {
    const two = ['Title\nOne.', 'Title\nTwo.'];
    expect(withoutRunningLines(two)).toEqual(two);
    const tables = ['4 8\nOne.', '15 16\nTwo.', '23 42\nThree.'];
    expect(withoutRunningLines(tables)).toEqual(tables);
    const inside = ['One.\nNote\nx\ny\nz\na', 'Two.\nq\nw\nNote\nr\ns', 'Three.\nf\ng\nh\nj\nNote'];
    expect(withoutRunningLines(inside)).toEqual(inside);
  });
});

describe('words', () => {
  it('that a line end cuts are whole again', () => {
    expect(repairPages(['An exam-\nple of this.'])).toBe('An example\nof this.');
    expect(repairPages(['An exam-\n  ple, of'])).toBe('An example,\nof');
    expect(repairPages(['ex\u00ad\nample\nnext'])).toBe('example\nnext');
    expect(repairPages(['Do\u2010\nnau\u2010\ndampf\n'])).toBe('Donaudampf');
  });

  it('keep a hyphen that the document writes elsewhere, and where it is no cut', () => {
    expect(repairPages(['A well-known fact is well-\nknown here.'])).toBe('A well-known fact is well-known\nhere.');
    expect(repairPages(['Anna-\nMaria\n- one\n- two\n3-\nfold'])).toBe('Anna-\nMaria\n- one\n- two\n3-\nfold');
  });

  it('and sentences that a page end cuts go on', () => {
    expect(repairPages(['It goes on to the exam-', 'ple and ends.', 'Next page.', '', 'Last'])).toBe(
      'It goes on to the example\nand ends.\n\nNext page.\n\nLast',
    );
    expect(repairPages(['The sentence', 'goes on.'])).toBe('The sentence\ngoes on.');
  });
});

it('of random pages no letter is lost or moved', () => {
  for (let seed = 0; seed < 100; seed++) {
    const next = randomStream(seed, 1);
    const words = ['the', 'exam-\nple', 'Text.', 'Grüße,', 'well-', 'known', 'x'];
    const page = () =>
      Array.from({ length: 5 + (next() % 30) }, () => words[next() % 7]! + ' \n\n'[next() % 3]!).join('');
    const pages = Array.from({ length: next() % 8 }, (_, i) => `${page()}\nend ${String.fromCharCode(97 + i)}`);
    const headed = pages.map((text, i) => `start ${String.fromCharCode(97 + i)}\n${text}`);
    const letters = (text: string) => text.replace(/[\s-]/g, '');
    expect(letters(repairPages(headed))).toBe(letters(headed.join('')));
  }
});
