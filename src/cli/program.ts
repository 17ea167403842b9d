/** From what was typed to an exit code: 0 done, 1 failed, 2 wrong command, config or data, 130 interrupted. */
import { SftError } from '../platform/errors.ts';
import { nearest } from '../platform/suggest.ts';
import { VERSION } from '../platform/version.ts';
import { COMMANDS } from './commands.ts';
import { showError, toSftError } from './errors.ts';
import type { Terminal } from './terminal.ts';

/** Runs a command line, without the names of Node and of the program. Resolves to the exit code. */
export async function runProgram(argv: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await dispatch(argv, terminal);
  } catch (thrown) {
    terminal.close();
    const error = toSftError(thrown);
    showError(terminal, error, argv.includes('--debug'));
    return error.exitCode;
  } finally {
    terminal.close();
  }
}

async function dispatch(argv: readonly string[], terminal: Terminal): Promise<number> {
  const [name = '--help', ...typed] = argv;
  if (name === '--help' || name === '-h') return help(terminal);
  if (name === '--version' || name === '-V') {
    terminal.line('out', VERSION);
    return 0;
  }
  if (name === 'help') return typed[0] === undefined ? help(terminal) : dispatch([typed[0], '--help'], terminal);
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!entry) throw unknownCommand(name);
  const [{ parseCall }, spec] = await Promise.all([import('./command.ts'), entry.load()]);
  const call = await parseCall(name, entry.summary, spec, typed, terminal);
  return call ? (await spec.action()).run(call) : 0;
}

function unknownCommand(name: string): SftError {
  const meant = nearest(name, [...Object.keys(COMMANDS), '--help', '--version']);
  const hint = meant ? `did you mean webgpu-sft ${meant}?` : `there are ${Object.keys(COMMANDS).join(', ')}`;
  if (name.startsWith('-')) {
    return new SftError('ARGUMENT', `${name}: expected a command first, got a flag`, { hint });
  }
  return new SftError('ARGUMENT', `webgpu-sft ${name}: unknown command`, { hint });
}

function help(terminal: Terminal): number {
  const { bold, dim } = terminal.colors.out;
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const lines = [
    `${bold('webgpu-sft')} ${VERSION}  fine-tune language models on any GPU, with WebGPU`,
    '',
    `${bold('Usage:')} webgpu-sft <command> [config] [flags]`,
    '',
    ...Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`),
    '',
    `${bold('Examples:')}`,
    '  webgpu-sft check configs/lora_smollm2.yaml',
    '  webgpu-sft train configs/lora_smollm2.yaml --max-steps 100',
    '  webgpu-sft infer configs/lora_smollm2.yaml --prompt "How many days has a leap year?"',
    '',
    dim('webgpu-sft <command> --help shows the flags of a command; docs/config.md explains every key of a config.'),
  ];
  for (const line of lines) terminal.line('out', line);
  return 0;
}
