/**
 * `npm run demo`: makes everything ready, builds the demo page and serves it on this machine.
 *
 *     npm run demo -- --port 8080
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cacheFolder, hashFiles, readJson, root, run, SetupError, say, script, writeWhole } from './common.mjs';
import { checkNode, install } from './setup.mjs';

export const demoFolder = join(root, 'demo');

/** Builds `demo/dist`, unless what is there was built from the same files. */
export function buildDemo() {
  const key = hashFiles([
    'src',
    'assets',
    'demo/src',
    'demo/index.html',
    'demo/vite.config.ts',
    'package.json',
    'package-lock.json',
  ]);
  const stamp = join(cacheFolder, 'demo.json');
  if (readJson(stamp)?.key === key && existsSync(join(demoFolder, 'dist/index.html'))) return;
  say('building the demo page');
  const args = ['node_modules/vite/bin/vite.js', 'build', 'demo', '--logLevel', 'warn'];
  // Tests run this too, with another NODE_ENV.
  const env = { ...process.env, NODE_ENV: 'production' };
  run(process.execPath, args, 'the messages above name the file and line', env);
  writeWhole(stamp, JSON.stringify({ key }));
}

function askedPort() {
  const hint = 'npm run demo -- --port N';
  let values;
  try {
    ({ values } = parseArgs({ options: { port: { type: 'string', default: '4173' } } }));
  } catch (error) {
    throw new SetupError(`npm run demo: ${error.message}`, hint);
  }
  const port = Number(values.port);
  if (Number.isInteger(port) && port > 0 && port < 65536) return port;
  throw new SetupError(`--port: expected a number from 1 to 65535, got ${values.port}`, hint);
}

if (process.argv[1] && process.argv[1] === import.meta.filename) {
  await script(async () => {
    const port = askedPort();
    checkNode();
    install();
    buildDemo();
    const { preview } = await import('vite');
    // A port that is taken is no reason to fail: the next one is.
    const server = await preview({ root: demoFolder, preview: { port, host: '127.0.0.1' }, logLevel: 'warn' });
    process.stdout.write(`the demo page is at ${server.resolvedUrls.local[0]}\n`);
  });
}
