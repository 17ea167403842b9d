// Writes docs/config.md and configs/schema.json from the schema in src/train/config.ts.
//
//   node scripts/docs.mjs           writes them
//   node scripts/docs.mjs --check   writes nothing, and exits 1 when a file differs from what would be written

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createServer } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
const check = process.argv.includes('--check');

// Node 20 cannot load TypeScript by itself; vite can, without a build and without listening to anything.
const vite = await createServer({
  root,
  configFile: false,
  logLevel: 'error',
  server: { middlewareMode: true, ws: false, watch: null },
  optimizeDeps: { noDiscovery: true },
});
const { configMarkdown, configSchemaJson } = await vite.ssrLoadModule('/src/train/configDocs.ts');
await vite.close();

const files = { 'docs/config.md': configMarkdown(), 'configs/schema.json': configSchemaJson() };
for (const [path, text] of Object.entries(files)) {
  const old = await readFile(join(root, path), 'utf8').catch(() => undefined);
  if (old === text) continue;
  if (check) {
    console.error(`${path} differs from the schema; run: node scripts/docs.mjs`);
    process.exitCode = 1;
  } else {
    await writeFile(join(root, path), text);
    console.log(`wrote ${path}`);
  }
}
