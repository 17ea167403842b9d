/** `webgpu-sft batch`: many runs from one file. Each is a process of its own, so that one that fails takes no other with it. */
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { SftError } from '../../platform/errors.ts';
import { readBatchFile } from '../batch/file.ts';
import { type Arguments, type BatchRun, begin, commandsOf, isDone, resultsOf, runsOf } from '../batch/runs.ts';
import { type Call, printJson, say } from '../command.ts';
import { counted, digits, duration, shellQuote, table } from '../format.ts';
import { ownCommand } from '../ownCommand.ts';
import { stopSignals } from '../stopSignals.ts';

type Status = 'done' | 'skipped' | 'failed' | 'interrupted';

interface Result {
  readonly name: string;
  readonly status: Status;
  readonly folder: string;
  readonly seconds: number;
  /** The last line that a failed command wrote. */
  readonly error: string | null;
  readonly results: Readonly<Record<string, number>>;
}

/** What the program itself keeps of each command, in the run's folder. */
const LOG = 'batch.log';

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const file = await readBatchFile(call.arguments[0] ?? '');
  const runs = runsOf(file);
  say(call, `${counted(runs.length, 'run')} in ${file.output_dir}`);
  const stop = stopSignals(call.terminal);
  const found: Result[] = [];
  try {
    for (const [index, run] of runs.entries()) {
      if (stop.signal.aborted) break;
      found.push(await doRun(call, run, file.eval, `${index + 1}/${runs.length}`, stop.signal));
    }
  } finally {
    stop.release();
  }
  if (call.json) printJson(call, found);
  else for (const line of table(rowsOf(found))) call.terminal.line('out', line);
  say(call, `look at them together: ${ownCommand()} dashboard ${shellQuote(file.output_dir)}`);
  if (stop.signal.aborted) {
    throw new SftError('INTERRUPTED', `stopped with ${counted(runs.length - found.length, 'run')} to go`, {
      hint: 'the same command goes on where this one has stopped',
    });
  }
  return found.some(({ status }) => status === 'failed') ? 1 : 0;
}

async function doRun(
  call: Call,
  run: BatchRun,
  evaluates: boolean,
  number: string,
  signal: AbortSignal,
): Promise<Result> {
  const { terminal } = call;
  const { name, folder } = run;
  const begun = performance.now();
  const end = (status: Status, error: string | null = null): Result => {
    const seconds = (performance.now() - begun) / 1000;
    terminal.setStatus('err', null);
    say(
      call,
      `${number}  ${name}  ${status}${status === 'done' ? ` in ${duration(seconds)}` : ''}${error ? `: ${error}` : ''}`,
    );
    return { name, status, folder, seconds, error, results: resultsOf(run) };
  };
  if (isDone(run, evaluates)) return end('skipped');
  const commands = commandsOf(run, evaluates);
  mkdirSync(folder, { recursive: true });
  begin(run);
  for (const command of commands) {
    if (!terminal.isScreen('err')) say(call, `${number}  ${name}  ${command[0]}`);
    const { code, last } = await runCommand(call, command, join(folder, LOG), `${number}  ${name}`, signal);
    if (signal.aborted) return end('interrupted');
    if (code !== 0) return end('failed', last || `webgpu-sft ${command[0]} ended with ${code}`);
  }
  return end('done');
}

/** Runs this program with other arguments; what it prints goes to a log, its newest line to the status line. */
async function runCommand(
  { terminal, verbose }: Call,
  command: Arguments,
  log: string,
  name: string,
  signal: AbortSignal,
): Promise<{ code: number | null; last: string }> {
  const file = createWriteStream(log, { flags: 'a' });
  file.write(`$ ${['webgpu-sft', ...command].map(shellQuote).join(' ')}\n`);
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1] ?? '', ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '' },
  });
  const stop = () => child.kill('SIGINT');
  signal.addEventListener('abort', stop);
  let error = '';
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      file.write(text);
      const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('Warning: max'));
      error = lines.find((line) => line.startsWith('error[')) ?? error;
      terminal.setStatus('err', `${name}  ${lines.at(-1) ?? ''}`);
      if (verbose) for (const line of lines) terminal.line('err', `${name}  ${line}`);
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  signal.removeEventListener('abort', stop);
  await new Promise((resolve) => file.end(resolve));
  return { code, last: error };
}

function rowsOf(found: readonly Result[]): string[][] {
  const names = [...new Set(found.flatMap(({ results }) => Object.keys(results)))];
  const cells = found.map(({ name, status, results, folder }) => [
    name,
    status,
    ...names.map((key) => (results[key] === undefined ? '' : digits(results[key], 4))),
    folder,
  ]);
  return [['run', 'status', ...names, 'folder'], ...cells];
}
