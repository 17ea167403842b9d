/** A row as a person reads it: a line for each token, then the text, with what is trained of it. */
import type { Dataset } from '../data/dataset.ts';
import type { Tokenizer } from '../data/tokenizer.ts';
import { bar, digits } from './format.ts';
import type { Colors } from './terminal.ts';

export type DataRow = Dataset['rows'][number];

/** The loss of each token; null where it has none. */
export type Losses = readonly (number | null)[];

const LOSS_BAR = 10;

/** `file:line` of a row, how many tokens it has and how many of them are trained. The star is that of the lines below. */
export function rowTitle(row: DataRow): string {
  const trained = row.labels.filter((label) => label >= 0).length;
  const cut = row.truncated ? ', truncated' : '';
  return `row ${row.row}, ${row.file}:${row.line}: ${row.inputIds.length} tokens, ${trained} trained (*)${cut}`;
}

/** Number, id, a star where it is trained, loss and text of each token. The longest bar is the largest loss of the row. */
export function tokenLines(row: DataRow, tokenizer: Tokenizer, losses: Losses | null, colors: Colors): string[] {
  const width = String(row.inputIds.length - 1).length;
  const idWidth = Math.max(...row.inputIds).toString().length;
  const largest = Math.max(...(losses ?? []).map((loss) => loss ?? 0));
  const lossColumn = (loss: number | null | undefined) =>
    typeof loss === 'number'
      ? `${digits(loss, 4).padStart(7)} ${bar(loss / largest, LOSS_BAR)}`
      : ' '.repeat(8 + LOSS_BAR);
  return Array.from(row.inputIds, (id, index) => {
    const trained = isTrained(row, index);
    const columns = [
      String(index).padStart(width),
      String(id).padStart(idWidth),
      trained ? '*' : ' ',
      ...(losses ? [lossColumn(losses[index])] : []),
      quoted(id, row.tokens[index] ?? '', tokenizer),
    ];
    return paint(colors, trained, tokenizer.specialIds.has(id))(columns.join('  '));
  });
}

/** The mean of the losses, and what the longest bar is. */
export function lossSummary(losses: Losses): string {
  const numbers = losses.filter((loss) => loss !== null);
  const mean = numbers.reduce((sum, loss) => sum + loss, 0) / numbers.length;
  return `loss ${digits(mean, 4)} on average, ${digits(Math.max(...numbers), 4)} at most`;
}

/**
 * The text of the tokens, a new line where the text has one (↵) and where what is trained begins or ends; trained lines begin
 * with a star. Control characters are shown, not sent to the terminal.
 */
export function textLines(row: DataRow, tokenizer: Tokenizer, colors: Colors): string[] {
  const lines: string[] = [];
  let [line, trained] = ['', false];
  const end = () => {
    if (line !== '') lines.push((trained ? '* ' : '  ') + line);
    line = '';
  };
  const decoder = tokenizer.createStreamDecoder();
  row.inputIds.forEach((id, index) => {
    const text = decoder.push(id) + (index === row.inputIds.length - 1 ? decoder.flush() : '');
    if (isTrained(row, index) !== trained) end();
    trained = isTrained(row, index);
    const color = paint(colors, trained, tokenizer.specialIds.has(id));
    const parts = text.split('\n');
    parts.forEach((part, number) => {
      const last = number === parts.length - 1;
      const shown = printable(part) + (last ? '' : '↵');
      if (shown !== '') line += color(shown);
      if (!last) end();
    });
  });
  end();
  return lines;
}

function isTrained(row: DataRow, index: number): boolean {
  return (row.labels[index] ?? -1) >= 0;
}

function paint({ green, cyan, dim, bold }: Colors, trained: boolean, special: boolean): (text: string) => string {
  if (trained) return special ? (text) => bold(green(text)) : green;
  return special ? cyan : dim;
}

/** The text of a token in quotes, so that spaces and line ends are seen; special tokens and parts of characters as spelt. */
function quoted(id: number, spelling: string, tokenizer: Tokenizer): string {
  const text = tokenizer.decode([id]);
  const asSpelt = tokenizer.specialIds.has(id) || text === '' || text.includes('\ufffd');
  return printable(asSpelt ? spelling : JSON.stringify(text));
}

/** Control characters as their pictures (␛), those without one as �. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (character) => {
    const code = character.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return code === 0x7f ? '\u2421' : '\ufffd';
  });
}
