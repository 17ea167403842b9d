/**
 * Seeded randomness for everything in this folder: 32-bit integer arithmetic only, so that the same seed gives the same
 * text on every machine and every version of Node.
 */

/** FNV-1a over UTF-16 code units, then a finaliser that spreads the bits: text → unsigned 32-bit integer. */
export function hashText(text) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A generator (splitmix32) whose whole state is one integer. */
export class Random {
  #state;

  /** @param {number | string} seed */
  constructor(seed) {
    this.#state = hashText(String(seed));
  }

  /** Unsigned 32-bit integer. */
  next() {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** Integer in [0, count). */
  below(count) {
    return Math.floor((this.next() / 2 ** 32) * count);
  }

  /** Integer in [low, high]. */
  between(low, high) {
    return low + this.below(high - low + 1);
  }

  chance(probability) {
    return this.next() / 2 ** 32 < probability;
  }

  /** @template T @param {readonly T[]} list @returns {T} */
  pick(list) {
    return list[this.below(list.length)];
  }

  /** A new array in random order (Fisher-Yates). @template T @param {readonly T[]} list @returns {T[]} */
  shuffle(list) {
    const result = [...list];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [result[i], result[j]] = [result[j], result[i]];
    }
    return result;
  }
}
