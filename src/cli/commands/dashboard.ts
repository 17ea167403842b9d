/** `webgpu-sft dashboard`: the live page over one run or many, also when they have ended. */
import { statSync } from 'node:fs';
import { SftError } from '../../platform/errors.ts';
import { type CommandSpec, say, wholeNumber } from '../command.ts';
import { DEFAULT_PORT, serveDashboard } from '../dashboard/server.ts';
import { findRuns } from '../dashboard/tail.ts';
import { counted } from '../format.ts';
import { stopSignals } from '../stopSignals.ts';

export const dashboard: CommandSpec = {
  arguments: [['[dir]', 'folder of a run, or of many; outputs if left out']],
  examples: ['webgpu-sft dashboard outputs/run', 'webgpu-sft dashboard outputs --port 8080'],
  addFlags: (command) =>
    void command.option('--port <N>', `port on this machine; ${DEFAULT_PORT} if left out`, wholeNumber('--port')),
  async run(call) {
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
  },
};
