/** What `check` says of the rows of a run, read one at a time: of each row a few bytes are kept. */
import type { DatasetReport, MeasuredRow } from '../data/dataset.ts';
import { countTrained, IGNORE_INDEX, type LabelledTokens } from '../data/labels.ts';
import { type Row, whereOf } from '../data/rows.ts';
import { hashText, type Split } from '../data/split.ts';
import { SUSPICIONS, type Suspicion, suspicionsOf } from '../data/suspicion.ts';
import type { DroppedRow, TokenizedRow } from '../data/tokenize.ts';
import type { Tokenizer } from '../data/tokenizer.ts';
import { rowContent } from '../data/writeRows.ts';
import type { Endings } from '../eval/endTokens.ts';
import { Finds, type Found } from './found.ts';

/** What is worth a look among the rows of a split; none of it is an error. */
export interface SplitFindings {
  /** The longest rows before truncation, the longest first. */
  readonly longest: readonly { readonly where: string; readonly tokens: number }[];
  /** Rows that lost tokens to `data.truncation`. */
  readonly truncated: Found;
  /** Rows that the same split has before, word for word: `rows.jsonl:9 as rows.jsonl:2`. */
  readonly repeated: Found;
  /** Rows that an earlier split has: rows that are evaluated on what was learnt. */
  readonly inEarlierSplit: Found;
  /** Rows that are probably not what was meant; kinds without a row are left out. */
  readonly suspicious: Readonly<Partial<Record<Suspicion, Found>>>;
}

/** A split as `check` found it. */
export interface CheckedSplit {
  readonly split: Split;
  readonly report: DatasetReport;
  readonly findings: SplitFindings;
}

const MOST_LONGEST = 5;

/** Looks at the rows of all splits of a run, one split after the other. */
export class RowInspector {
  readonly #tokenizer: Tokenizer;
  readonly #endings: Endings | null;
  /** The first row with each content, as 53 bits. */
  readonly #seen = new Map<number, { readonly split: Split; readonly where: string }>();

  /** `endings`: where the model stops, where that is known. */
  constructor(tokenizer: Tokenizer, endings: Endings | null) {
    this.#tokenizer = tokenizer;
    this.#endings = endings;
  }

  /** Looks at each row of a split that it is given; `findings` says what was seen. */
  inspect(split: Split): { see: (row: Row, result: TokenizedRow | DroppedRow) => void; findings: () => SplitFindings } {
    const longest: { where: string; tokens: number }[] = [];
    const truncated = new Finds();
    const repeated = new Finds();
    const inEarlierSplit = new Finds();
    const suspicious = new Map<Suspicion, Finds>();
    return {
      see: (row, result) => {
        const where = whereOf(row);
        const tokens = result.wholeLength;
        if (longest.length < MOST_LONGEST || tokens > longest.at(-1)!.tokens) {
          longest.push({ where, tokens });
          longest.sort((a, b) => b.tokens - a.tokens);
          longest.splice(MOST_LONGEST);
        }
        const trained = 'dropped' in result ? null : result;
        if (trained?.truncated) truncated.add(where);
        const before = this.#firstAs(row, split, where);
        if (before) (before.split === split ? repeated : inEarlierSplit).add(`${where} as ${before.where}`);
        const endsWell = trained === null || (this.#endings?.endsWell(trained) ?? true);
        const all = suspicionsOf(row, this.#tokenizer);
        for (const suspicion of endsWell ? all : [...all, 'no_end_of_turn' as const]) {
          const finds = suspicious.get(suspicion) ?? new Finds();
          suspicious.set(suspicion, finds);
          finds.add(where);
        }
      },
      findings: () => ({
        longest,
        truncated: truncated.found,
        repeated: repeated.found,
        inEarlierSplit: inEarlierSplit.found,
        suspicious: Object.fromEntries(
          (Object.keys(SUSPICIONS) as Suspicion[]).flatMap((name) => {
            const finds = suspicious.get(name);
            return finds ? [[name, finds.found]] : [];
          }),
        ),
      }),
    };
  }

  /** The first row with the same content, or null where this is it. */
  #firstAs(row: Row, split: Split, where: string) {
    const hash = hashText(JSON.stringify(rowContent(row)));
    const before = this.#seen.get(hash);
    if (before === undefined) this.#seen.set(hash, { split, where });
    return before ?? null;
  }
}

/**
 * Rows without what they say: the memory plan needs to know how many tokens each has and how many of them are trained, and
 * rows that agree in both can be one. What is trained is taken to be at the end, where answers are.
 */
export class RowSizes {
  readonly #ids: Int32Array;
  /** Tokens that are not trained, and then those that are. */
  readonly #labels: Int32Array;
  readonly #known = new Map<string, MeasuredRow>();

  /** No row has more than `most` tokens. */
  constructor(most: number) {
    this.#ids = new Int32Array(most);
    this.#labels = new Int32Array(2 * most).fill(IGNORE_INDEX, 0, most);
  }

  of(row: LabelledTokens & { readonly truncated: boolean }): MeasuredRow {
    const tokens = row.inputIds.length;
    const trained = countTrained(row);
    const key = `${tokens} ${trained} ${row.truncated}`;
    let size = this.#known.get(key);
    if (size === undefined) {
      const start = this.#ids.length - (tokens - trained);
      const labels = this.#labels.subarray(start, start + tokens);
      size = { inputIds: this.#ids.subarray(0, tokens), labels, truncated: row.truncated };
      this.#known.set(key, size);
    }
    return size;
  }
}
