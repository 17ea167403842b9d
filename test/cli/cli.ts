/** The command line as a person has it: built, and run as a program of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { build } from 'tsdown';
import { afterAll, beforeAll } from 'vitest';
import { cacheFolder, hashFiles, root } from '../../scripts/common.mjs';

let program = '';

/** Builds the command line, once for each state of the sources. Two folders deep, as in `dist`. */
export async function buildCli(): Promise<string> {
  const folder = join(cacheFolder, `cli-${hashFiles(['src', 'package.json']).slice(0, 12)}`);
  program = join(folder, 'main.js');
  if (existsSync(program)) return program;
  mkdirSync(cacheFolder, { recursive: true });
  const staged = mkdtempSync(join(cacheFolder, 'building-'));
  await build({
    config: false,
    cwd: root,
    entry: { main: 'src/cli/main.ts', quickstart: 'src/cli/quickstart.ts' },
    outDir: staged,
    format: 'esm',
    platform: 'node',
    target: 'es2023',
    fixedExtension: false,
    dts: false,
    // What a chunk is made of: test/cli/loads.test.ts.
    sourcemap: true,
    logLevel: 'error',
  });
  for (const old of readdirSync(cacheFolder)) {
    const path = join(cacheFolder, old);
    const stale = Date.now() - statSync(path).mtimeMs > 3_600_000;
    if (/^(cli-\w{12}|building-)/.test(old) && stale) rmSync(path, { recursive: true });
  }
  try {
    renameSync(staged, folder);
  } catch (error) {
    // Another test process was faster.
    rmSync(staged, { recursive: true });
    if (!existsSync(program)) throw error;
  }
  return program;
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  /** Without what drivers say. */
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Options of Node, before the program. */
  readonly node?: readonly string[];
  /** A command line of a shell, with `$0` for what is run, as in `ulimit -f 8; exec "$@"`. */
  readonly shell?: string;
  readonly uid?: number;
  readonly onStart?: (child: ChildProcess) => void;
  /** Told of everything that is printed so far, on both streams. */
  readonly onOutput?: (text: string, child: ChildProcess) => void;
}

/** Programs that have not ended, such as those of a test that failed. */
const running = new Set<ChildProcess>();

/** Runs `webgpu-sft ARGS` to its end. */
export function runCli(args: readonly string[], options: RunOptions): Promise<Ended> {
  const { cwd, env = {}, node = [], shell, uid, onStart, onOutput } = options;
  const plain = [process.execPath, ...node, program, ...args];
  const [command = '', ...rest] = shell ? ['sh', '-c', shell, 'sh', ...plain] : plain;
  return new Promise((resolve, reject) => {
    const child = spawn(command, rest, {
      cwd,
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(uid !== undefined && { uid, gid: uid }),
    });
    const texts = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        texts[stream] += text;
        onOutput?.(texts.stdout + texts.stderr, child);
      });
    }
    running.add(child);
    onStart?.(child);
    child.on('error', reject);
    child.on('close', (code) => {
      running.delete(child);
      const stderr = texts.stderr.replaceAll(/^Warning: max\w+ artificially reduced.*\n/gm, '');
      resolve({ code, stdout: texts.stdout, stderr });
    });
  });
}

/** A folder for the tests of a file, and the command line built before them. */
export function useCli(): () => string {
  let folder = '';
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'webgpu-sft-cli-'));
    await buildCli();
  });
  afterAll(() => {
    for (const child of running) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  return () => folder;
}

/** Every file of a folder with its size, to see that nothing was left behind. */
export function listFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => `${relative(folder, path)} ${readFileSync(path).length}`)
    .sort();
}
