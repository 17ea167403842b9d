import { playwright } from '@vitest/browser-playwright';
import { defineConfig, type TestProjectConfiguration } from 'vitest/config';
import { launchOptions } from './scripts/chromium.mjs';
import { readEnvironment } from './scripts/environment.mjs';

/** What set-up found on this machine; a project that needs more than that is left out (and `npm test` says which). */
const environment = readEnvironment();
const adapters: { name: string }[] = environment?.adapters ?? [];
const python = process.env.WEBGPU_SFT_ORACLE_PYTHON;

const KERNELS = 'test/kernels/**/*.test.ts';
const GPU = [KERNELS, 'test/tensor/**/*.test.ts', 'test/**/gpu/**/*.test.ts'];
const BROWSER = 'test/browser/**/*.test.ts';
const ORACLE = 'test/oracle/**/*.test.ts';
/** Of the built demo page, driven from Node. */
const DEMO = 'test/demo/**/*.test.ts';

/** Forks, not threads: drivers read environment variables of the process, and may take the process down with them. */
const inNode = {
  pool: 'forks' as const,
  setupFiles: ['scripts/useAdapter.mjs'],
  // A path that leads nowhere may be the id of a model; no test asks the public hub.
  env: { HF_HUB_OFFLINE: '1' },
};

const project = (test: NonNullable<Extract<TestProjectConfiguration, { test?: unknown }>['test']>, order: number) => ({
  extends: true as const,
  test: { ...test, sequence: { groupOrder: order } },
});

const projects = [
  project(
    {
      ...inNode,
      name: 'unit',
      include: ['test/**/*.test.ts'],
      exclude: [...GPU, BROWSER, ORACLE, DEMO],
      testTimeout: 20_000,
    },
    0,
  ),
];
if (!environment || adapters.length > 0) {
  projects.push(project({ ...inNode, name: 'gpu', include: GPU, exclude: [BROWSER, ORACLE], testTimeout: 120_000 }, 1));
}
if (adapters.some(({ name }) => /swiftshader/i.test(name))) {
  const env = { WEBGPU_SFT_ADAPTER: 'SwiftShader' };
  projects.push(project({ ...inNode, name: 'swiftshader', env, include: [KERNELS], testTimeout: 240_000 }, 2));
}
if (environment?.chromium) {
  const browser = {
    enabled: true,
    headless: true,
    screenshotFailures: false,
    provider: playwright({ launchOptions: launchOptions(environment.chromium) }),
    instances: [{ browser: 'chromium' as const }],
  };
  projects.push(project({ name: 'browser', browser, include: [KERNELS, BROWSER], testTimeout: 240_000 }, 3));
}
if (environment?.chromium) {
  const globalSetup = ['test/demo/serve.ts'];
  projects.push(project({ name: 'demo', include: [DEMO], globalSetup, testTimeout: 120_000 }, 4));
}
if (python) {
  projects.push(
    project({ ...inNode, name: 'oracle', include: [ORACLE], testTimeout: 900_000, hookTimeout: 900_000 }, 5),
  );
}

export default defineConfig({
  // Dependencies that Vite would otherwise meet in the middle of a run, reloading the page under the tests.
  optimizeDeps: {
    include: [
      'wgsl-preprocessor/wgsl-preprocessor.js',
      'zod',
      'yaml',
      '@cfworker/json-schema',
      '@huggingface/tokenizers',
      'fflate',
      'hyparquet',
      'mammoth',
      'unpdf',
    ],
  },
  test: { projects, maxWorkers: 2, hookTimeout: 120_000 },
});
