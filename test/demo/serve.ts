/** Builds the demo page and serves it, for all tests of it, below a folder of the server as it may be put anywhere. */
import { preview } from 'vite';
import type { TestProject } from 'vitest/node';
import { buildDemo, demoFolder } from '../../scripts/demo.mjs';

declare module 'vitest' {
  interface ProvidedContext {
    demoUrl: string;
  }
}

/** The page that was built, below a folder of a server of its own. */
export async function serveDemo(port: number): Promise<{ url: string; close: () => Promise<void> }> {
  buildDemo();
  const server = await preview({
    root: demoFolder,
    base: '/some/folder/',
    preview: { port, host: '127.0.0.1' },
    logLevel: 'warn',
  });
  return { url: server.resolvedUrls?.local[0] ?? '', close: () => server.close() };
}

export default async function serve(project: TestProject): Promise<() => Promise<void>> {
  const { url, close } = await serveDemo(4300);
  project.provide('demoUrl', url);
  return close;
}
