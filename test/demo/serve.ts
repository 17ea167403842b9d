/** Builds the demo page and serves it, for all tests of it, below a folder of the server as it may be put anywhere. */
import { preview } from 'vite';
import type { TestProject } from 'vitest/node';
import { buildDemo, demoFolder } from '../../scripts/demo.mjs';

declare module 'vitest' {
  interface ProvidedContext {
    demoUrl: string;
  }
}

export default async function serve(project: TestProject): Promise<() => Promise<void>> {
  buildDemo();
  const server = await preview({
    root: demoFolder,
    base: '/some/folder/',
    preview: { port: 4300, host: '127.0.0.1' },
    logLevel: 'warn',
  });
  project.provide('demoUrl', server.resolvedUrls?.local[0] ?? '');
  return () => server.close();
}
