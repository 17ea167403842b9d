/**
 * Text of printed pages made into running text: without what every page repeats, and with the words whole that a line or a
 * page has cut.
 */

/** Lines at either end of a page that may be repeated on others. */
const EDGE_LINES = 3;
/** A line is repeated when so many pages nearby have it too: left and right pages may differ. */
const MIN_TWINS = 2;
const NEARBY = 4;

/**
 * Joins the pages of a document.
 *
 * - A first or last line that pages nearby have too is a header or footer and goes, with a page number in it that counts
 *   along. Three pages at least have to have it, so a document of two pages keeps all.
 * - `exam-⏎ple` becomes `example⏎`. The hyphen stays where the document writes the word with one elsewhere, and nowhere
 *   without.
 * - Pages are joined as paragraphs, but where one ends in the middle of a sentence.
 */
export function repairPages(pages: readonly string[]): string {
  return joinWords(joinPages(withoutRunningLines(pages)));
}

/** A line with its numbers taken out: `Page 12 of 30` is `Page # of #` and 12, 30. */
interface EdgeLine {
  readonly stem: string;
  readonly numbers: readonly number[];
}

function edgeLine(line: string): EdgeLine {
  const text = line.trim().replace(/\s+/g, ' ');
  return { stem: text.replace(/\d+/g, '#'), numbers: Array.from(text.matchAll(/\d+/g), ([digits]) => Number(digits)) };
}

/** A line at the end of a page, and how many lines go when it is the last to go. */
interface Edge extends EdgeLine {
  readonly depth: number;
}

/** The pages without headers and footers; their other lines are as they were. */
export function withoutRunningLines(pages: readonly string[]): string[] {
  const lines = pages.map((page) => page.split(/\r\n|[\n\r]/));
  const above = runningLines(lines);
  const below = runningLines(lines.map((page) => page.toReversed()));
  return lines.map((page, index) =>
    page.slice(above[index], Math.max(above[index]!, page.length - below[index]!)).join('\n'),
  );
}

/** How many lines at the beginning of each page are repeated on pages nearby; blank lines before them count. */
function runningLines(pages: readonly (readonly string[])[]): number[] {
  const edges = pages.map((lines): Edge[] =>
    lines
      .flatMap((line, index) => (line.trim() === '' ? [] : [{ ...edgeLine(line), depth: index + 1 }]))
      .slice(0, EDGE_LINES),
  );
  return edges.map((own, page) => {
    const first = own.findIndex((line) => !isRepeated(line, page, edges));
    return (first === -1 ? own.at(-1) : own[first - 1])?.depth ?? 0;
  });
}

function isRepeated(line: EdgeLine, page: number, edges: readonly (readonly Edge[])[]): boolean {
  const nearby = edges.slice(Math.max(0, page - NEARBY), page + NEARBY + 1);
  const start = Math.max(0, page - NEARBY);
  const twins = nearby.filter((others, index) => {
    const distance = start + index - page;
    return distance !== 0 && others.some((other) => areTwins(line, other, distance));
  });
  return twins.length >= MIN_TWINS;
}

/** The same words, and numbers that are the same or count along with the pages. */
function areTwins(line: EdgeLine, other: EdgeLine, distance: number): boolean {
  if (line.stem !== other.stem) return false;
  return line.numbers.every((number, index) => [0, distance].includes(other.numbers[index]! - number));
}

function joinPages(pages: readonly string[]): string {
  return pages
    .map((page) => page.replace(/^(?:[^\S\n]*\n)+/, '').trimEnd())
    .filter((page) => page !== '')
    .reduce((text, page) => {
      const goesOn = /[\p{L}\d,;\-‐\u00ad]$/u.test(text) && /^\s*\p{Ll}/u.test(page);
      return text + (goesOn ? '\n' : '\n\n') + page;
    }, '')
    .trimStart();
}

/** A word that a line end has cut, and what stands after it without a space. */
const CUT_WORD = /(\p{L}+)([-‐\u00ad])\n[^\S\n]*(\p{Ll}\p{M}*(?:\p{L}|\p{M})*)(\S*)[^\S\n]*(\n?)/gu;

function joinWords(text: string): string {
  const known = new Set(text.toLowerCase().match(/\p{L}+(?:[-‐]\p{L}+)*/gu));
  for (;;) {
    const joined = text.replace(CUT_WORD, (_, left: string, hyphen: string, right: string, rest: string) => {
      const whole = (left + right).toLowerCase();
      const hyphened = `${left}${hyphen}${right}`.toLowerCase();
      const keeps = hyphen !== '\u00ad' && known.has(hyphened) && !known.has(whole);
      return `${left}${keeps ? hyphen : ''}${right}${rest}\n`;
    });
    if (joined === text) return text.trimEnd();
    text = joined;
  }
}
