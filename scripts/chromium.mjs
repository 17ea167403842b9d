/** Finds a Chromium whose pages get a WebGPU adapter, for the tests that run in a browser. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { driverRoot } from './adapters.mjs';
import { canCarry, carriedChromium } from './carried.mjs';
import { root, run, SetupError, say } from './common.mjs';

/** WebGPU on SwiftShader, on every machine alike, and no talk with hosts of its own. */
export const chromiumFlags = [
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const APPLICATIONS = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
  'C:\\Program Files (x86)\\Google\\Chrome\\Application\\chrome.exe',
];

/** With a driver root, only browsers under it count as installed. */
function installed() {
  const hidden = driverRoot() !== '/';
  const folders = hidden ? [join(driverRoot(), 'usr/bin')] : (process.env.PATH ?? '').split(delimiter);
  const paths = [
    ...NAMES.flatMap((name) => folders.map((folder) => join(folder, name))),
    ...(hidden ? [] : APPLICATIONS),
  ];
  return [...new Set(paths)].filter((path) => existsSync(path));
}

async function playwrights() {
  const { chromium } = await import('playwright');
  const path = chromium.executablePath();
  return existsSync(path) ? [path] : [];
}

function packaged() {
  const allowed = process.env.CI || process.env.WEBGPU_SFT_INSTALL === '1';
  if (!allowed || process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return [];
  say('installing Chromium with apt-get');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update', '-q'], '', env);
  run('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'chromium'], '', env);
  return installed();
}

/** Where a Chromium may be, in the order of preference; the later ones install something. */
const SOURCES = [
  ['installed', async () => installed().map((path) => ({ path }))],
  ["Playwright's", async () => (await playwrights()).map((path) => ({ path }))],
  ['installed by apt-get', async () => packaged().map((path) => ({ path }))],
  ['carried by npm', async () => (canCarry ? [carriedChromium()] : [])],
];

/** Starts the browser and asks for an adapter in a page; null when it works, else what went wrong. */
function trouble({ path, libraries }) {
  const args = [join(root, 'scripts/probeChromium.mjs'), JSON.stringify({ path, libraries })];
  const child = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8', timeout: 60_000 });
  if (child.status === 0) return null;
  return child.stderr.split('\n').find((line) => /error/i.test(line)) ?? `exit code ${child.status}`;
}

/** Options that make Playwright launch such a browser. */
export function launchOptions({ path, libraries }) {
  const env = libraries ? { ...process.env, LD_LIBRARY_PATH: libraries } : { ...process.env };
  return { executablePath: path, args: chromiumFlags, env };
}

/** A Chromium that works: `{ path, libraries, source }`. Throws a SetupError where none can be had. */
export async function findChromium() {
  const problems = [];
  for (const [source, list] of SOURCES) {
    try {
      for (const browser of await list()) {
        const problem = trouble(browser);
        if (problem === null) return { source, libraries: null, ...browser };
        problems.push(`${browser.path}: ${problem}`);
      }
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      problems.push(error.message);
    }
  }
  const because = problems.length > 0 ? ` (${problems.join('; ')})` : '';
  throw new SetupError(`found no Chromium with WebGPU${because}`, 'install Chromium or Chrome');
}
