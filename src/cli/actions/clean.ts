/** `webgpu-sft clean`: removes what the other commands have made from files that stay. */
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../../train/config.ts';
import { agrees } from '../agree.ts';
import { type Call, printJson, say } from '../command.ts';
import { readDataConfig } from '../dataFiles.ts';
import { bytes, table } from '../format.ts';

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const { yes = false } = call.options as { yes?: boolean };
  const found = generated(await readDataConfig(call)).map((path) => ({ path, bytes: sizeOf(path) }));
  if (found.length === 0) {
    say(call, 'there is nothing to remove');
    if (call.json) printJson(call, []);
    return 0;
  }
  if (!call.json) {
    for (const line of table(
      found.map(({ path, bytes: size }) => [path, bytes(size)]),
      [1],
    ))
      call.terminal.line('out', line);
  }
  if (!yes && !(await agrees(call, 'remove them?', 'clean'))) {
    say(call, 'nothing was removed');
    return 0;
  }
  for (const { path } of found) rmSync(path, { recursive: true });
  say(call, 'removed');
  if (call.json) printJson(call, found);
  return 0;
}

/** Everything that `process`, `style`, `render`, `train` and `eval` have made and that is there. Never raw data, configs, models. */
function generated({ output_dir, data }: Config): string[] {
  const splits = [data.train_path, data.val_path, data.test_path].filter((path) => path !== null);
  const raw = data.raw_path;
  const rows = existsSync(raw) ? splits.filter((path) => path.endsWith('.jsonl') && path !== raw && isFile(path)) : [];
  const copies = ['processed_with_style', 'rendered']
    .map((name) => join('data', name))
    .flatMap((folder) => filesOf(folder).map((name) => join(folder, name)))
    .filter((path) => /(train|val|test)\.jsonl$/.test(path));
  return [...new Set([...rows, ...copies, ...runsIn(output_dir)])];
}

/** The folder of a run, which `backend.json` shows it to be; its checkpoints and results are all that is in it. */
function runsIn(folder: string): string[] {
  return isFile(join(folder, 'backend.json')) && isFile(join(folder, 'config.yaml')) ? [folder] : [];
}

const isFile = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

const filesOf = (folder: string) => (existsSync(folder) ? readdirSync(folder) : []);

function sizeOf(path: string): number {
  const entry = statSync(path);
  if (!entry.isDirectory()) return entry.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}
