/**
 * Makes everything ready that the other scripts need: dependencies, the build, a WebGPU adapter and, for the tests, a
 * Chromium. Does only what is missing, and says what it does.
 *
 *     node scripts/setup.mjs           all of it
 *     node scripts/setup.mjs build     builds again; a missing adapter is no failure
 */
import { existsSync, realpathSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { adapterKey, addSwiftshader, driverRoot, findAdapters, NoAdapter, rankAdapters } from './adapters.mjs';
import { findChromium } from './chromium.mjs';
import { cacheFolder, hashFiles, npm, readJson, root, run, SetupError, say, script, writeWhole } from './common.mjs';
import { environmentFile, readEnvironment } from './environment.mjs';

const NODE = [20, 19];

export function checkNode(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > NODE[0] || (major === NODE[0] && minor >= NODE[1])) return;
  throw new SetupError(
    `expected Node ${NODE.join('.')} or newer, got ${version}`,
    'install the current Node from nodejs.org',
  );
}

/** Whether what npm installed (its hidden lock file) is what `package.json` and `package-lock.json` ask for. */
export function isInstalled(manifest, lock, hidden) {
  if (!lock || !hidden) return false;
  const { dependencies, devDependencies } = lock.packages[''];
  const same = (a, b) =>
    JSON.stringify(Object.entries(a ?? {}).sort()) === JSON.stringify(Object.entries(b ?? {}).sort());
  if (!same(dependencies, manifest.dependencies) || !same(devDependencies, manifest.devDependencies)) return false;
  return Object.entries(lock.packages).every(
    ([path, { version, optional, devOptional }]) =>
      path === '' || optional || devOptional || hidden.packages[path]?.version === version,
  );
}

export function install() {
  const read = (path) => readJson(join(root, path));
  if (isInstalled(read('package.json'), read('package-lock.json'), read('node_modules/.package-lock.json'))) return;
  say('installing dependencies');
  const [command, first] = npm();
  const hint = 'check the connection to the npm registry, then run this again';
  const npmRun = (verb) => run(command, [...first, verb, '--loglevel=error'], hint);
  if (existsSync(join(root, 'node_modules'))) return npmRun('install');
  try {
    npmRun('ci');
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say('npm ci refuses the lock file; trying npm install');
    npmRun('install');
  }
}

/** Builds the live page, `dist/dashboard`. */
export function buildDashboard() {
  const page = ['node_modules/vite/bin/vite.js', 'build', 'src/dashboard', '--config', 'src/dashboard/vite.config.ts'];
  // Tests run this too, with another NODE_ENV.
  const env = { ...process.env, NODE_ENV: 'production' };
  run(process.execPath, page, 'the messages above name the file and line', env);
}

function build(again) {
  const key = hashFiles(['src', 'bench', 'tsdown.config.ts', 'tsconfig.json', 'package.json', 'package-lock.json']);
  const stamp = join(cacheFolder, 'build.json');
  if (!again && readJson(stamp)?.key === key && existsSync(join(root, 'dist'))) return;
  say('building');
  rmSync(stamp, { force: true });
  run(
    process.execPath,
    ['node_modules/tsdown/dist/run.mjs', '--logLevel', 'warn'],
    'the messages above name the file and line',
  );
  buildDashboard();
  writeWhole(stamp, JSON.stringify({ key }));
}

function remember(environment) {
  writeWhole(fileURLToPath(environmentFile), `${JSON.stringify(environment, null, 2)}\n`);
  return environment;
}

const NOTHING = { source: 'nothing', library: null, variables: {}, adapters: [] };

/** The surroundings found before, if nothing has changed since. */
function known(key) {
  const environment = readEnvironment();
  return environment?.key === key && (!environment.library || existsSync(environment.library)) ? environment : null;
}

function findAgain(wanted, key) {
  const chromium = readEnvironment()?.chromium ?? null;
  try {
    return remember({ key, ...findAdapters(wanted), chromium });
  } catch (error) {
    if (error instanceof NoAdapter) remember({ ...NOTHING, key, chromium });
    throw error;
  }
}

function adapter(wanted) {
  const key = adapterKey();
  let environment = known(key);
  if (!environment || rankAdapters(environment.adapters, wanted).length === 0) environment = findAgain(wanted, key);
  const [{ name, backend, software }] = rankAdapters(environment.adapters, wanted);
  say(`WebGPU adapter: ${name} [${backend}${software ? ', software' : ''}], through ${environment.source}`);
}

/** Adds a SwiftShader to the adapters that set-up found. */
export function prepareSwiftshader() {
  const environment = readEnvironment();
  const more = addSwiftshader(environment);
  if (more !== environment) remember(more);
}

/** Finds a Chromium for the tests that run in a browser. */
export async function prepareChromium() {
  const environment = readEnvironment();
  const key = (path) => `${driverRoot()} ${path} ${statSync(path, { throwIfNoEntry: false })?.mtimeMs}`;
  if (environment.chromium && environment.chromium.key === key(environment.chromium.path)) return;
  remember({ ...environment, chromium: null });
  const chromium = await findChromium();
  remember({ ...environment, chromium: { ...chromium, key: key(chromium.path) } });
  say(`Chromium for tests: ${chromium.path} (${chromium.source})`);
}

/**
 * Installs, builds and finds an adapter. Returns null, or, where `adapterOptional`, the NoAdapter error of a machine that
 * has none.
 */
export function setup({
  rebuild = false,
  adapterOptional = false,
  wanted = process.env.WEBGPU_SFT_ADAPTER ?? '',
} = {}) {
  checkNode();
  install();
  build(rebuild);
  try {
    adapter(wanted);
    return null;
  } catch (error) {
    if (!adapterOptional || !(error instanceof NoAdapter)) throw error;
    say(`${error.message}; ${error.hint}`);
    return error;
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const building = process.argv[2] === 'build';
  await script(() => setup(building ? { rebuild: true, adapterOptional: true, wanted: '' } : {}));
}
