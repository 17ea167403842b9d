/** What a buffer holds. The categories of the memory plan, of `memory.json` and of `memory-check`. */
export const CATEGORIES = [
  'weights',
  'adapters',
  'gradients',
  'optimizer',
  'activations',
  'logits',
  'staging',
] as const;
/** One of `CATEGORIES`. */
export type Category = (typeof CATEGORIES)[number];
/** Bytes of each category. */
export type Bytes = Record<Category, number>;

export function noBytes(): Bytes {
  return Object.fromEntries(CATEGORIES.map((category) => [category, 0])) as Bytes;
}

/** Bytes of all categories together. */
export function sumBytes(bytes: Bytes): number {
  return CATEGORIES.reduce((sum, category) => sum + bytes[category], 0);
}

/** Exact bytes of GPU buffers that are alive, by category. V8 and WebGPU know neither; so they are counted here. */
export class Ledger {
  readonly live: Bytes = noBytes();
  /** Buffers alive. */
  count = 0;
  /** The largest total that was ever alive, and the categories at that moment. */
  peak: { bytes: number; categories: Bytes } = { bytes: 0, categories: noBytes() };

  add(category: Category, bytes: number): void {
    this.live[category] += bytes;
    this.count += 1;
    const total = sumBytes(this.live);
    if (total > this.peak.bytes) this.peak = { bytes: total, categories: { ...this.live } };
  }

  remove(category: Category, bytes: number): void {
    this.live[category] -= bytes;
    this.count -= 1;
  }

  /** Forgets the peak, so that the next one is that of what follows. */
  resetPeak(): void {
    this.peak = { bytes: sumBytes(this.live), categories: { ...this.live } };
  }
}
