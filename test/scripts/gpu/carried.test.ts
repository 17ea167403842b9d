import { existsSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { addSwiftshader, findAdapters } from '../../../scripts/adapters.mjs';
import { canCarry } from '../../../scripts/carried.mjs';

/** Fetching takes 70 MB, so this runs where that was done before, and in CI. */
const fetched = existsSync(new URL('../../../.cache/carried/libvulkan.so.1', import.meta.url));
const carried = test.runIf(canCarry && (fetched || process.env.CI));

let nothing: string;
beforeEach(() => {
  nothing = mkdtempSync(join(tmpdir(), 'nothing-installed-'));
});
afterEach(() => {
  rmdirSync(nothing);
  vi.unstubAllEnvs();
});

carried('with nothing installed, npm carries a SwiftShader that gives a device', () => {
  vi.stubEnv('WEBGPU_SFT_DRIVER_ROOT', nothing);
  const { source, library, adapters } = findAdapters('');
  expect(source).toBe('the Vulkan loader that npm carries');
  expect(existsSync(library ?? '')).toBe(true);
  expect(adapters).toEqual([{ backend: 'vulkan', name: 'SwiftShader Device (Subzero)', software: true }]);
});

carried('a wrong name lists those that exist', () => {
  const error = {
    message: 'WEBGPU_SFT_ADAPTER: no adapter is named like "no such adapter"',
    hint: expect.stringMatching(/^there are: ".+"/),
  };
  expect(() => findAdapters('no such adapter')).toThrow(expect.objectContaining(error));
});

carried('a SwiftShader is added where there is none', () => {
  const bare = { source: '', library: null, variables: {}, adapters: [] };
  expect(addSwiftshader(bare).adapters.map(({ name }: { name: string }) => name)).toContain(
    'SwiftShader Device (Subzero)',
  );
});
