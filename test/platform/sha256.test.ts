import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { randomStream } from '../../src/platform/random.ts';
import { Sha256 } from '../../src/platform/sha256.ts';

const next = randomStream(3, 0);
const bytes = Uint8Array.from({ length: 1000 }, () => next());
const wanted = (part: Uint8Array) => createHash('sha256').update(part).digest('hex');

test('SHA-256 of every length around a block', () => {
  for (let length = 0; length < 200; length++) {
    const part = bytes.subarray(0, length);
    expect(new Sha256().update(part).digest()).toBe(wanted(part));
  }
});

test('SHA-256 of pieces of any size', () => {
  for (const size of [1, 7, 63, 64, 65, 999]) {
    const hash = new Sha256();
    for (let at = 0; at < bytes.length; at += size) hash.update(bytes.subarray(at, at + size));
    expect(hash.digest()).toBe(wanted(bytes));
  }
});
