/**
 * `npm run check:size`: what a page pays for the built package, as an application's bundler makes it: minified, gzipped, without
 * what it does not use, without what is loaded when it is first needed. Fails above the limit. Needs `npm run build`.
 */
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';
import { root, SetupError, script } from './common.mjs';

/** Exports that an application uses, and the most kilobytes (of 1000 bytes) that they may cost. */
const APPLICATIONS = [
  {
    name: 'engine, trainer and the Llama family',
    exports: ['Trainer', 'parseConfig', 'requestDevice', 'openModel', 'httpFolder', 'openStore', 'memoryStore'],
    limit: 150,
  },
  { name: 'a page whose engine is in a worker', exports: ['createWorkerTrainer'], limit: 5 },
  { name: 'everything', exports: ['*'], limit: 300 },
];

const ENTRY = 'virtual:application';

/** The chunks that the browser fetches before an application of these exports starts. */
async function bundle(names) {
  const from = JSON.stringify(join(root, 'dist/browser/index.js'));
  const code = names[0] === '*' ? `export * from ${from};` : `export { ${names.join(', ')} } from ${from};`;
  const { output } = await build({
    configFile: false,
    logLevel: 'error',
    worker: { format: 'es' },
    build: {
      write: false,
      target: 'es2023',
      modulePreload: false,
      minify: true,
      rolldownOptions: { input: ENTRY, preserveEntrySignatures: 'strict', output: { format: 'es' } },
    },
    plugins: [
      {
        name: 'application',
        resolveId: (id) => (id === ENTRY ? id : null),
        load: (id) => (id === ENTRY ? code : null),
      },
    ],
  });
  const chunks = new Map(output.filter(({ type }) => type === 'chunk').map((chunk) => [chunk.fileName, chunk]));
  const reached = new Set();
  const reach = (name) => {
    if (!chunks.has(name))
      throw new SetupError(`dist/browser: expected a package without imports, got ${name}`, 'bundle it');
    if (reached.has(name)) return;
    reached.add(name);
    chunks.get(name).imports.forEach(reach);
  };
  for (const { fileName, isEntry } of chunks.values()) if (isEntry) reach(fileName);
  return [...reached].map((name) => chunks.get(name).code);
}

async function checkSize() {
  const over = [];
  for (const { name, exports, limit } of APPLICATIONS) {
    const bytes = (await bundle(exports)).reduce((sum, code) => sum + gzipSync(code).length, 0);
    const size = (bytes / 1000).toFixed(1);
    process.stdout.write(`${name}: ${size} kB gzipped, at most ${limit} kB\n`);
    if (bytes > limit * 1000) over.push(`${name} (${size} kB)`);
  }
  if (over.length > 0) throw new SetupError(`too large: ${over.join(', ')}`, 'look at what was imported since');
}

await script(checkSize);
