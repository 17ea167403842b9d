/** How much memory a page may use. */
import { expect, it } from 'vitest';
import { findMemory, probe } from '../../src/platform/browserBudget.ts';

const MIB = 2 ** 20;

it('a trial takes what it is allowed to take, and gives it back', async () => {
  expect(await probe(0)).toBe(0);
  for (let round = 0; round < 3; round++) {
    const touched = await probe(160 * MIB);
    expect(touched).toBeGreaterThanOrEqual(64 * MIB);
    expect(touched).toBeLessThanOrEqual(160 * MIB);
  }
});

it('a software adapter gets a share of the main memory, which is a guess', async () => {
  const found = await findMemory({ software: true });
  expect(found).toMatchObject({ guess: true });
  expect(found.bytes).toBeGreaterThanOrEqual(64 * MIB);
  // Browsers tell at most 32 GiB of main memory.
  expect(found.bytes).toBeLessThanOrEqual(8 * 2 ** 30);
});
