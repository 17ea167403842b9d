/** What `process`, `style` and `render` share. */
import type { Config } from '../train/config.ts';
import { setOverride } from '../train/configOverrides.ts';
import type { RewriteReport } from '../train/rewrite.ts';
import type { RowFileOptions } from '../train/rowFiles.ts';
import type { Call } from './command.ts';
import { showSources } from './downloads.ts';
import { counted } from './format.ts';
import { readConfig } from './readConfig.ts';
import { untilStopped } from './stopSignals.ts';

/** The configuration of a command that opens no model: without a config, one need not be named either. Throws `CONFIG`. */
export async function readDataConfig(call: Call): Promise<Config> {
  const { path, overrides = [] } = call.config;
  if (path !== undefined) return (await readConfig(call)).config;
  const config = { ...call.config, overrides: [setOverride('model.name=none'), ...overrides] };
  return (await readConfig({ ...call, config })).config;
}

/** Runs what reads and writes rows: shows at the terminal how many, and ends at Ctrl-C before any file is replaced. */
export function withRows<T>(call: Call, run: (options: RowFileOptions) => Promise<T>): Promise<T> {
  return untilStopped(call.terminal, (signal) => run({ ...rowProgress(call), signal }));
}

/** Shows how many rows are read or written, and what comes from a hub. */
function rowProgress(call: Call): RowFileOptions {
  const { terminal, quiet } = call;
  if (quiet) return {};
  return {
    ...showSources(call),
    onProgress: (doing, file, rows) => {
      const what = doing === 'reading' ? `reading ${file}` : `writing the rows of ${file}`;
      terminal.setStatus('err', `${what}: ${counted(rows, 'row')}`);
    },
  };
}

/** One line for each file that was written. */
export function showFiles({ terminal }: Call, { files }: RewriteReport): void {
  for (const { from, to, rows } of files) terminal.line('out', `${to}: ${counted(rows, 'row')} of ${from}`);
}
