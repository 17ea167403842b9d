/** `webgpu-sft dashboard`: the live page over one run or many, also when they have ended. */
import { statSync } from 'node:fs';
import { SftError } from '../../platform/errors.ts';
import { type Call, say } from '../command.ts';
import { serveDashboard } from '../dashboard/server.ts';
import { findRuns } from '../dashboard/tail.ts';
import { DEFAULT_PORT } from '../defaults.ts';
import { counted } from '../format.ts';
import { stopSignals } from '../stopSignals.ts';

/** Resolves to the exit code. */
export async function run(call: Call): Promise<number> {
  const folder = call.arguments[0] ?? 'outputs';
  const { port = DEFAULT_PORT } = call.options as { port?: number };
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new SftError('ARGUMENT', `dashboard: expected a folder of runs, there is no ${folder}`, {
      hint: 'name the output_dir of a run, or the folder above several',
    });
  }
  const stop = stopSignals(call.terminal);
  const page = await serveDashboard(folder, port);
  try {
    const runs = await findRuns(folder);
    call.terminal.line('out', page.url);
    say(call, `${counted(runs.length, 'run')} in ${folder}; new ones appear by themselves; Ctrl-C ends it`);
    await new Promise((resolve) => stop.signal.addEventListener('abort', resolve));
  } finally {
    await page.close();
    stop.release();
  }
  return 0;
}
