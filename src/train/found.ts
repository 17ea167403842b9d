/** What is said of many rows: how many they are, and where the first ones stand. */

export interface Found {
  readonly count: number;
  /** `file:line` of the first ones, with what there is to say of each. */
  readonly first: readonly string[];
}

const MOST_NAMED = 5;

/** Counts places and keeps the first ones. */
export class Finds {
  #count = 0;
  readonly #first: string[] = [];

  add(place: string): void {
    this.#count += 1;
    if (this.#first.length < MOST_NAMED) this.#first.push(place);
  }

  get found(): Found {
    return { count: this.#count, first: this.#first };
  }
}
