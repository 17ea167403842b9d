/** Where a model stops, and whether what it learns ends there. */
import { IGNORE_INDEX } from '../data/labels.ts';
import type { ChatTemplate } from '../data/template.ts';
import type { TokenizedRow } from '../data/tokenize.ts';
import type { Tokenizer } from '../data/tokenizer.ts';
import type { ModelFiles } from '../model/modelFiles.ts';

/** Ids that end a generation: those of generation_config.json, else of config.json, else the tokenizer's end of sequence. */
export function endTokens(
  { config, generation }: Pick<ModelFiles, 'config' | 'generation'>,
  { eosTokenId }: Pick<Tokenizer, 'eosTokenId'>,
): readonly number[] {
  const ids = generation.eos_token_id ?? config.eos_token_id ?? eosTokenId;
  return (Array.isArray(ids) ? ids : [ids]).filter((id): id is number => typeof id === 'number');
}

/**
 * What to say when answers end with a token at which the model does not stop, or with no such token at all: it would learn
 * never to stop. Null when every answer ends well. Truncated rows do not count, and of several answers of a row the last.
 */
export function endingWarning(
  rows: readonly TokenizedRow[],
  text: ConstructorParameters<typeof Endings>[0],
  ends: readonly number[],
): string | null {
  const endings = new Endings(text, ends);
  for (const row of rows) endings.endsWell(row);
  return endings.warning();
}

/** The same for rows that come one after the other. */
export class Endings {
  readonly #tokenizer: Tokenizer;
  readonly #template: ChatTemplate | null;
  readonly #ends: readonly number[];
  readonly #isSpace: (id: number) => boolean;
  #whole = 0;
  /** Ordinary text counts as one ending, whatever the words are. */
  readonly #bad = new Map<number | 'text', { readonly id: number; readonly rows: number }>();

  constructor(
    { tokenizer, template }: { readonly tokenizer: Tokenizer; readonly template: ChatTemplate | null },
    ends: readonly number[],
  ) {
    this.#tokenizer = tokenizer;
    this.#template = template;
    this.#ends = ends;
    this.#isSpace = spaceTest(tokenizer);
  }

  /** Counts a row. Whether the model stops where it ends, as far as truncation lets one see. */
  endsWell(row: TokenizedRow): boolean {
    if (row.truncated) return true;
    this.#whole += 1;
    const id = endingOf(row, this.#isSpace);
    if (id === null || this.#ends.includes(id)) return true;
    const kind = this.#tokenizer.specialIds.has(id) ? id : 'text';
    const { rows: before } = this.#bad.get(kind) ?? { rows: 0 };
    this.#bad.set(kind, { id, rows: before + 1 });
    return false;
  }

  /** What there is to say of the rows so far. */
  warning(): string | null {
    const [worst] = [...this.#bad.values()].toSorted((a, b) => b.rows - a.rows);
    if (!worst) return null;
    const { id } = worst;
    const named = (one: number): string => `${JSON.stringify(this.#tokenizer.idToToken(one) ?? '')} (${one})`;
    const stops =
      this.#ends.length === 0 ? 'nothing ends its answers' : `it stops at ${this.#ends.map(named).join(', ')} only`;
    const what = `${worst.rows} of ${this.#whole} rows end with`;
    if (this.#tokenizer.specialIds.has(id)) {
      return (
        `${what} ${named(id)}, at which this model does not stop: ${stops}. Add ${id} to eos_token_id in its ` +
        'generation_config.json, or choose a model.chat_template that ends answers as the model does'
      );
    }
    const place = this.#template?.marksGeneration ? ' within {% generation %} … {% endgeneration %}' : '';
    return (
      `${what} ordinary text, such as ${named(id)}, so that nothing teaches the model to stop: ${stops}. ` +
      `Choose a model.chat_template that ends answers so${place}`
    );
  }
}

/** The last trained token that is more than white space. */
function endingOf({ inputIds, labels }: TokenizedRow, isSpace: (id: number) => boolean): number | null {
  for (let t = labels.length - 1; t > 0; t--) {
    if (labels[t] !== IGNORE_INDEX && !isSpace(inputIds[t]!)) return inputIds[t]!;
  }
  return null;
}

function spaceTest(tokenizer: Tokenizer): (id: number) => boolean {
  const known = new Map<number, boolean>();
  return (id) => {
    let answer = known.get(id);
    if (answer === undefined) {
      answer = tokenizer.decode([id]).trim() === '';
      known.set(id, answer);
    }
    return answer;
  };
}
