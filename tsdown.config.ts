import { existsSync } from 'node:fs';
import { defineConfig } from 'tsdown';

/**
 * Every file of `dist` lies two folders deep, as every file of `src` does: `new URL('../../assets/…', import.meta.url)`
 * means the same before and after the build, whichever chunk the code lands in.
 */
const nodeEntries = {
  'node/index': 'src/index.ts',
  'cli/main': 'src/cli/main.ts',
  'cli/quickstart': 'src/cli/quickstart.ts',
  'bench/main': 'bench/main.ts',
};
const browserEntries = { 'browser/index': 'src/index.ts' };

const existing = (entries: Record<string, string>) =>
  Object.fromEntries(Object.entries(entries).filter(([, source]) => existsSync(source)));

const shared = {
  format: 'esm',
  target: 'es2023',
  sourcemap: true,
  fixedExtension: false,
  checks: { pluginTimings: false },
} as const;

export default defineConfig(
  [
    {
      ...shared,
      name: 'node',
      entry: existing(nodeEntries),
      platform: 'node' as const,
      dts: { entry: 'src/index.ts' },
      outputOptions: { chunkFileNames: 'shared/[name]-[hash].js' },
    },
    {
      ...shared,
      name: 'browser',
      entry: existing(browserEntries),
      platform: 'browser' as const,
      dts: false,
      // A page has no file system: whatever of Node is reached from here is a mistake.
      inputOptions: { resolve: { conditionNames: ['browser', 'import', 'default'] } },
    },
  ].filter(({ entry }) => Object.keys(entry).length > 0),
);
