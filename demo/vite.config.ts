/** Builds the demo page to `demo/dist`: static files that work from any server, in any folder, with no special headers. */
import { createHash } from 'node:crypto';
import { defineConfig, type Plugin } from 'vite';

const SERVICE_WORKER = 'service-worker.js';

/** Writes the names of all files of the page, and a version that changes with them, into the service worker. */
function precache(): Plugin {
  return {
    name: 'precache',
    apply: 'build',
    generateBundle: {
      order: 'post',
      handler(_, bundle) {
        const worker = bundle[SERVICE_WORKER];
        if (worker?.type !== 'chunk') return;
        const files = Object.values(bundle).filter(
          ({ fileName }) => fileName !== SERVICE_WORKER && !fileName.endsWith('.map'),
        );
        const hash = createHash('sha256');
        for (const file of files) hash.update(file.fileName).update(file.type === 'chunk' ? file.code : file.source);
        // The folder instead of its index.html: servers answer the latter with a redirection, which a page may not come from.
        const names = files.map(({ fileName }) => (fileName === 'index.html' ? './' : fileName)).sort();
        worker.code = worker.code
          .replace('__VERSION__', hash.digest('hex').slice(0, 16))
          .replace(/["'`]__FILES__["'`]/, JSON.stringify(names));
      },
    },
  };
}

export default defineConfig({
  root: import.meta.dirname,
  base: './',
  appType: 'mpa',
  publicDir: false,
  plugins: [precache()],
  worker: { format: 'es' },
  build: {
    target: 'es2023',
    // A model must not be data in a script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 2000,
    rolldownOptions: {
      checks: { pluginTimings: false },
      input: {
        index: `${import.meta.dirname}/index.html`,
        'service-worker': `${import.meta.dirname}/src/serviceWorker.ts`,
      },
      output: {
        entryFileNames: ({ name }) => (name === 'service-worker' ? SERVICE_WORKER : 'assets/[name]-[hash].js'),
      },
    },
  },
});
