/** What the scripts share. Plain Node and nothing else: they run before anything is installed. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));
/** What set-up makes and may remove at any time. Not in version control. */
export const cacheFolder = join(root, '.cache');

/** The user's folder for large things that can be made again and serve every checkout, by the custom of the system. */
export function userCache() {
  const custom = {
    darwin: () => join(homedir(), 'Library/Caches'),
    win32: () => process.env.LOCALAPPDATA ?? join(homedir(), 'AppData/Local'),
  };
  const folder = process.env.XDG_CACHE_HOME || (custom[process.platform]?.() ?? join(homedir(), '.cache'));
  return join(folder, 'webgpu-sft');
}

/** The Python environment of `npm run test:oracle`, made or not. */
export function oracleEnvironment() {
  const folder = join(userCache(), 'oracle');
  return {
    folder,
    python: join(folder, ...(process.platform === 'win32' ? ['Scripts', 'python.exe'] : ['bin', 'python'])),
  };
}

/** Something that a person has to do before set-up can go on; `hint` names the one thing. */
export class SetupError extends Error {
  constructor(message, hint) {
    super(message);
    this.hint = hint;
  }
}

/** Standard output belongs to the command that is set up for (it may be JSON), so set-up speaks on standard error. */
export function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

/** Runs the body of a script; an expected failure becomes two lines and exit code 1. Resolves to whether it ended well. */
export async function script(main) {
  try {
    await main();
    return true;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`error[SETUP]: ${error.message}\nhint: ${error.hint}\n`);
    process.exitCode = 1;
    return false;
  }
}

/** Runs a command to its end with its output on standard error; throws a SetupError when it fails. */
export function run(command, args, hint, env = process.env) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], env });
  if (status !== 0) throw new SetupError(`${command} ${args[0]}: ${error?.message ?? `exit code ${status}`}`, hint);
}

/** Runs Node on a script that talks to the person; resolves to its exit code. Ctrl-C reaches it through the terminal. */
export function runNode(args, env = process.env) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit', env });
    const wait = () => {};
    const forward = () => child.kill('SIGTERM');
    process.on('SIGINT', wait).on('SIGTERM', forward);
    child.on('exit', (code, signal) => {
      process.off('SIGINT', wait).off('SIGTERM', forward);
      resolve(code ?? (signal === 'SIGINT' ? 130 : 1));
    });
  });
}

/** How to call npm: the one that runs this script, or the one on the path. Returns `[command, arguments before yours]`. */
export function npm() {
  const cli = process.env.npm_execpath;
  if (cli?.endsWith('npm-cli.js')) return [process.execPath, [cli]];
  return process.platform === 'win32' ? ['cmd.exe', ['/c', 'npm']] : ['npm', []];
}

/** Hash of files (paths relative to the root, folders recursive) by name and content. Absent ones count as such. */
export function hashFiles(paths) {
  const hash = createHash('sha256');
  const add = (path) => {
    let names;
    try {
      names = readdirSync(join(root, path)).sort();
    } catch (error) {
      hash.update(`${path}\0`);
      if (error.code === 'ENOTDIR') hash.update(readFileSync(join(root, path)));
      return;
    }
    for (const name of names) add(`${path}/${name}`);
  };
  paths.forEach(add);
  return hash.digest('hex');
}

/** Parsed JSON, or null where there is none that can be read. */
export function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}

/** Writes a file whole or not at all. */
export function writeWhole(path, content, mode) {
  mkdirSync(dirname(path), { recursive: true });
  const staged = `${path}.${process.pid}`;
  writeFileSync(staged, content, { mode });
  renameSync(staged, path);
}
