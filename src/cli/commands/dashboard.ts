/** How `webgpu-sft dashboard` is called. */
import { type CommandSpec, wholeNumber } from '../command.ts';
import { DEFAULT_PORT } from '../defaults.ts';

export const dashboard: CommandSpec = {
  arguments: [['[dir]', 'folder of a run, or of many; outputs if left out']],
  examples: ['webgpu-sft dashboard outputs/run', 'webgpu-sft dashboard outputs --port 8080'],
  addFlags: (command) =>
    void command.option('--port <N>', `port on this machine; ${DEFAULT_PORT} if left out`, wholeNumber('--port')),
  action: () => import('../actions/dashboard.ts'),
};
