/** Finds a WebGPU adapter: a real GPU, else an installed software driver, else the one that npm carries. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { canCarry, carriedSwiftshader } from './carried.mjs';
import { cacheFolder, root, SetupError } from './common.mjs';

/** Drivers that run on the CPU, the fastest first. A real GPU goes before all of them. */
const SOFTWARE = [/llvmpipe/i, /swiftshader/i, /microsoft basic render/i];
const SWIFTSHADER = 'SwiftShader Device (Subzero)';

/** Folders with a Chromium that brings its own Vulkan loader and SwiftShader. */
const BROWSERS = ['usr/lib/chromium', 'usr/lib64/chromium-browser', 'usr/lib/chromium-browser', 'opt/google/chrome'];
/** Where drivers lie that the Vulkan loader does not look at by itself: container runtimes mount them here. */
const UNUSUAL_DRIVERS = ['usr/local/nvidia/share/vulkan/icd.d'];
const USUAL_DRIVERS = ['etc/vulkan/icd.d', 'usr/share/vulkan/icd.d', 'usr/local/share/vulkan/icd.d'];

/**
 * Installed drivers and browsers are looked for under this folder. Set, it also hides from the Vulkan loader what lies
 * elsewhere: so a test can play a machine with nothing installed.
 */
export const driverRoot = () => process.env.WEBGPU_SFT_DRIVER_ROOT || '/';

export function softwareRank({ name }) {
  return SOFTWARE.findIndex((pattern) => pattern.test(name));
}

/** The adapters whose name contains `wanted` (in any case), real GPUs first; Dawn's order otherwise. */
export function rankAdapters(adapters, wanted = '') {
  const named = adapters.filter(({ name }) => name.toLowerCase().includes(wanted.toLowerCase()));
  return named.sort((a, b) => softwareRank(a) - softwareRank(b));
}

/** This machine offers no adapter at all. */
export class NoAdapter extends SetupError {}

const filesIn = (folder) => {
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch {
    return [];
  }
};

const under = (folders) => folders.map((folder) => join(driverRoot(), folder));

/** Variables that make the Vulkan loader look at these driver descriptions, besides those that it finds itself. */
function driverVariables(drivers, { alone }) {
  const files = drivers.join(delimiter);
  if (!alone) return files === '' ? {} : { VK_ADD_DRIVER_FILES: files };
  // VK_ICD_FILENAMES is what loaders before 1.3.207 read.
  return { VK_DRIVER_FILES: files || '/none', VK_ICD_FILENAMES: files || '/none' };
}

/** Surroundings to try, in order. Those that are `carried` may have to be fetched, so each is made when its turn comes. */
function surroundings() {
  if (process.platform !== 'linux') return [{ make: () => ({ source: 'the system', library: null, variables: {} }) }];

  // Vulkan drivers complain where there is no private folder for the session.
  const session = process.env.XDG_RUNTIME_DIR ? {} : { XDG_RUNTIME_DIR: join(cacheFolder, 'runtime') };
  if (session.XDG_RUNTIME_DIR) mkdirSync(session.XDG_RUNTIME_DIR, { recursive: true, mode: 0o700 });

  const hidden = driverRoot() !== '/';
  const browsers = under(BROWSERS);
  const drivers = [
    ...under(UNUSUAL_DRIVERS).flatMap(filesIn),
    ...browsers.map((folder) => join(folder, 'vk_swiftshader_icd.json')).filter(existsSync),
    ...(hidden ? under(USUAL_DRIVERS).flatMap(filesIn) : []),
  ];
  const variables = { ...session, ...driverVariables(drivers, { alone: hidden }) };
  const loaders = browsers.map((folder) => join(folder, 'libvulkan.so.1')).filter(existsSync);
  return [
    { make: () => ({ source: 'the installed Vulkan loader', library: null, variables }) },
    ...loaders.map((library) => ({ make: () => ({ source: library, library, variables }) })),
    ...(canCarry ? [{ carried: true, make: () => withCarriedSwiftshader(session) }] : []),
  ];
}

/** Adds the SwiftShader that npm carries, with its loader, which knows every variable. */
function withCarriedSwiftshader(variables) {
  const { library, driver } = carriedSwiftshader();
  const chosen = process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES || driverRoot() !== '/';
  const known = (variables.VK_ADD_DRIVER_FILES ?? '').split(delimiter).filter(Boolean);
  const added = driverVariables([...known, driver], { alone: Boolean(chosen) });
  return { source: 'the Vulkan loader that npm carries', library, variables: { ...variables, ...added } };
}

/** Adapters that open in such surroundings, best first. */
function probe({ library, variables }) {
  const args = [join(root, 'scripts/probe.mjs'), JSON.stringify({ library, variables })];
  const env = { ...process.env, ...variables };
  const child = spawnSync(process.execPath, args, { cwd: root, env, encoding: 'utf8', timeout: 60_000 });
  if (child.status !== 0) return [];
  return rankAdapters(JSON.parse(child.stdout)).map((entry) => ({ ...entry, software: softwareRank(entry) >= 0 }));
}

const VARIABLES = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES', 'VK_ADD_DRIVER_FILES', 'LD_LIBRARY_PATH', 'XDG_RUNTIME_DIR'];
const LIBRARIES = ['/usr/lib', '/usr/lib64', '/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu'];
const DEVICES = ['/dev/dri', '/dev/nvidia0', '/dev/dxg'];

/** Changes when something was installed or removed that may offer other adapters. */
export function adapterKey() {
  const places = [
    ...['/etc/ld.so.cache', ...LIBRARIES.map((folder) => `${folder}/libvulkan.so.1`), ...DEVICES],
    ...under([...USUAL_DRIVERS, ...UNUSUAL_DRIVERS, ...BROWSERS]),
    join(homedir(), '.local/share/vulkan/icd.d'),
    join(root, 'node_modules/webgpu/package.json'),
  ];
  const state = places.map((place) => {
    const found = statSync(place, { throwIfNoEntry: false });
    return [place, found?.mtimeMs, found?.size];
  });
  const variables = VARIABLES.map((name) => process.env[name] ?? '');
  const facts = [root, process.version, process.arch, driverRoot(), variables, state];
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex');
}

const MISSING = {
  linux:
    'install the Vulkan driver of your GPU, or the software one (Debian, Ubuntu: apt-get install mesa-vulkan-drivers)',
  darwin: 'WebGPU needs a Mac with Metal; in a virtual machine, give it a GPU',
  win32: 'install the current driver of your GPU',
};

const missingHint = () => MISSING[process.platform] ?? MISSING.linux;

/**
 * Surroundings with an adapter whose name contains `wanted`, or with the best there is when it is empty. Throws NoAdapter
 * where there is none at all, and a SetupError when only the name is wrong.
 */
export function findAdapters(wanted) {
  const seen = new Set();
  let problem = 'no Vulkan driver answers';
  for (const { carried, make } of surroundings()) {
    // Fetching what npm carries makes sense where there is nothing, or where it is what was asked for.
    if (carried && seen.size > 0 && !SWIFTSHADER.toLowerCase().includes(wanted.toLowerCase())) continue;
    try {
      const found = make();
      const adapters = probe(found);
      if (rankAdapters(adapters, wanted).length > 0) return { ...found, adapters };
      for (const { name } of adapters) seen.add(name);
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      problem = error.message;
    }
  }
  if (seen.size === 0) throw new NoAdapter(`found no WebGPU adapter: ${problem}`, missingHint());
  const names = [...seen].map((name) => `"${name}"`).join(', ');
  throw new SetupError(`WEBGPU_SFT_ADAPTER: no adapter is named like "${wanted}"`, `there are: ${names}`);
}

/** The same surroundings with a SwiftShader among the adapters, for the tests that must pass on it too. */
export function addSwiftshader(environment) {
  const has = ({ adapters }) => adapters.some(({ name }) => /swiftshader/i.test(name));
  if (has(environment)) return environment;
  if (!canCarry) throw new SetupError('SwiftShader is carried for Linux x64 only', 'run these tests there');
  const more = withCarriedSwiftshader(environment.variables);
  const found = { ...environment, ...more, adapters: probe(more) };
  if (!has(found)) throw new SetupError('the SwiftShader that npm carries does not open', missingHint());
  return found;
}
