#!/usr/bin/env node
/** The command `webgpu-sft`. */
import { existsSync } from 'node:fs';
import { showError, toSftError } from './errors.ts';
import { runProgram } from './program.ts';
import { Terminal } from './terminal.ts';

// A checkout knows where set-up found a WebGPU adapter. The path is the same from src/cli and from dist/cli.
const checkout = new URL('../../scripts/environment.mjs', import.meta.url);
if (existsSync(checkout)) {
  const { useAdapterEnvironment } = (await import(checkout.href)) as { useAdapterEnvironment: () => void };
  useAdapterEnvironment();
}

const { argv, stdout, stderr } = process;
const terminal = new Terminal(stdout, stderr, process.env);
process.on('exit', () => terminal.close());

/** Output is handed over before the process ends; a device that still lives must not keep it. */
async function exit(code: number): Promise<never> {
  for (const stream of [stdout, stderr]) await new Promise((resolve) => stream.write('', resolve));
  process.exit(code);
}

// What reads the output has gone, such as `head`. Nobody is left to be told anything; `train` goes on.
terminal.onGone = (target) => {
  if (target === 'out') process.exit(0);
};
process.on('uncaughtException', (thrown) => {
  terminal.close();
  const error = toSftError(thrown);
  showError(terminal, error, argv.includes('--debug'));
  void exit(error.exitCode);
});

await exit(await runProgram(argv.slice(2), terminal));
