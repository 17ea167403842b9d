/**
 * Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
 *
 * The numbers of a stream are a pure function of (seed, stream, index), so nothing has to be saved to continue them and
 * every machine draws the same.
 */

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;

type Block = readonly [number, number, number, number];

/** The ten rounds: a 128-bit counter and a 64-bit key, as 32-bit words, to four random 32-bit words. */
export function philox4x32(counter: Block, key: readonly [number, number]): Block {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low0 = Math.imul(MULTIPLIER_0, c0);
    const low1 = Math.imul(MULTIPLIER_1, c2);
    [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
    k0 = (k0 + WEYL_0) | 0;
    k1 = (k1 + WEYL_1) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** The upper 32 bits of the 64-bit product of two unsigned 32-bit integers. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16); // < 2^33, exact
  const carry = aLow * bHigh + (middle % 0x10000);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) | 0;
}

/** Unsigned 32-bit numbers, one after the other: stream `stream` of `seed` (both non-negative safe integers). */
export function randomStream(seed: number, stream: number): () => number {
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0] as const;
  const [streamLow, streamHigh] = [stream >>> 0, Math.floor(stream / 2 ** 32) >>> 0];
  let index = 0;
  let block: Block = [0, 0, 0, 0];
  return () => {
    if (index % 4 === 0) block = philox4x32([index / 4, 0, streamLow, streamHigh], key);
    return block[index++ % 4]!;
  };
}

/**
 * The numbers 0 … n-1 in random order: Fisher-Yates from the end, each index drawn without bias (draws beyond the last
 * whole multiple of the range are thrown away).
 */
export function shuffled(n: number, seed: number, stream: number): Uint32Array<ArrayBuffer> {
  const order = Uint32Array.from({ length: n }, (_, index) => index);
  const next = randomStream(seed, stream);
  for (let last = n - 1; last > 0; last--) {
    const range = last + 1;
    const limit = 2 ** 32 - (2 ** 32 % range);
    let draw = next();
    while (draw >= limit) draw = next();
    const other = draw % range;
    const held = order[last]!;
    order[last] = order[other]!;
    order[other] = held;
  }
  return order;
}
