import { existsSync } from 'node:fs';
import { isBuiltin } from 'node:module';
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
const browserEntries = {
  'browser/index': 'src/index.ts',
  // A page that lets a worker do the work should load nothing else.
  'browser/client': 'src/worker/client.ts',
  'browser/worker': 'src/worker/worker.ts',
};

/** How the page's side names the script of its worker. */
const nameWorker = (wanted: string) => ({
  name: 'name-worker',
  renderChunk: (code: string) => code.replace('new URL("./worker.ts", import.meta.url)', wanted),
});

/** A page has no file system: whatever of Node is reached from here is a mistake. */
const noNode = {
  name: 'no-node',
  resolveId(id: string, importer?: string) {
    if (isBuiltin(id)) throw new Error(`${importer}: expected what a browser has, got the Node module ${id}`);
  },
};

/** What is written in packages in a way that pages or bundlers trip over, and what they shall find instead. */
const MENDED = [
  {
    // zod asks whether it may compile schemas by compiling something, which a page with a strict Content-Security-Policy
    // reports as an attack. Its own switch is one for all copies of zod in a page.
    file: 'zod/v4/core/schemas.js',
    found: 'const jit = !core.globalConfig.jitless;',
    wanted: 'const jit = false;',
  },
  {
    // Node only, but webpack looks for the package all the same.
    file: 'unpdf/dist/index.mjs',
    found: 'import.meta.resolve("pdfjs-dist/package.json")',
    wanted: 'undefined',
  },
  {
    // hyparquet reads snappy itself; this copy is WebAssembly, which a page with a strict policy refuses to compile.
    file: 'hyparquet-compressors/src/compressors.js',
    found: 'SNAPPY: snappyUncompressor(),',
    wanted: '',
  },
];

const mendPackages = {
  name: 'mend-packages',
  transform(code: string, id: string) {
    const mend = MENDED.find(({ file }) => id.endsWith(file));
    if (!mend) return;
    if (!code.includes(mend.found)) throw new Error(`${id}: expected "${mend.found}"; the package has changed`);
    return { code: code.replace(mend.found, mend.wanted), map: null };
  },
};

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
      // Node has no such workers, and what renders pages on a server must not look for a script.
      plugins: [nameWorker('"webgpu-sft/worker"')],
    },
    {
      ...shared,
      name: 'browser',
      entry: existing(browserEntries),
      platform: 'browser' as const,
      dts: { entry: 'src/worker/worker.ts' },
      // The built file works as it is, from a script element: everything that it imports lies beside it. It is not minified
      // and can be read without a map; one of PDF.js alone would be larger than the rest of the package.
      sourcemap: false,
      deps: { alwaysBundle: [/.*/], onlyBundle: false as const },
      inputOptions: { resolve: { conditionNames: ['browser', 'import', 'default'] } },
      outputOptions: { chunkFileNames: 'browser/[name]-[hash].js' },
      // Bundlers follow this expression.
      plugins: [noNode, mendPackages, nameWorker('new URL("./worker.js", import.meta.url)')],
    },
  ].filter(({ entry }) => Object.keys(entry).length > 0),
);
