/** How errors are shown: two lines on stderr, `error[CODE]: where: what` and `hint: what to do`. */
import { type ErrorCode, SftError } from '../platform/errors.ts';
import type { Terminal } from './terminal.ts';

/** For errors that bring no hint of their own. */
const HINTS: Readonly<Record<ErrorCode, string>> = {
  ARGUMENT: 'webgpu-sft --help lists commands; webgpu-sft <command> --help lists flags',
  CONFIG: 'docs/config.md lists every key; webgpu-sft check lists every problem',
  DATA: 'correct the row; webgpu-sft check lists every bad row',
  TEMPLATE: 'choose another template with model.chat_template',
  MODEL: 'give a folder in Hugging Face layout: config.json, *.safetensors, tokenizer.json',
  ADAPTER: 'give a PEFT adapter folder that was made for this base model',
  RESUME: 'give a checkpoint-<step> folder of this run, or start anew without --resume-from',
  NO_GPU: 'webgpu-sft gpu-info lists adapters; npm start in a checkout sets up a software adapter',
  OUT_OF_MEMORY: 'webgpu-sft memory-check shows the plan; use a smaller batch, shorter rows or a lower rank',
  DEVICE_LOST: 'continue with --resume-from last',
  WORKER_LOST: 'reload the page',
  GPU: 'webgpu-sft doctor tests every kernel on this adapter',
  KERNEL: 'set tuning.backend: portable; report it with what webgpu-sft doctor --report writes',
  IO: 'check the path, its permissions and the space on the disk',
  BUSY: 'wait until the other run has ended, or choose another --output-dir',
  NUMERIC: 'use a lower learning rate',
  INTERRUPTED: 'start the command again',
  INTERNAL: 'run it again with --debug and report what it shows, with what webgpu-sft doctor --report writes',
};

/** Any thrown value as an error of this project. */
export function toSftError(error: unknown): SftError {
  if (error instanceof SftError) return error;
  if (error instanceof Error && error.name === 'AbortError') {
    return new SftError('INTERRUPTED', 'stopped; nothing was written', { cause: error });
  }
  return new SftError('INTERNAL', error instanceof Error ? error.message : String(error), { cause: error });
}

/** Shows an error. With `debug` also the rest of its message, its stack and its causes. */
export function showError(terminal: Terminal, error: SftError, debug: boolean): void {
  const { red, cyan, dim } = terminal.colors.err;
  const [first = '', ...rest] = error.message.split('\n');
  terminal.line('err', `${red(`error[${error.code}]:`)} ${first}`);
  terminal.line('err', `${cyan('hint:')} ${(error.hint ?? HINTS[error.code]).replaceAll('\n', ' ')}`);
  if (!debug) return;
  for (const line of rest) terminal.line('err', dim(line));
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    terminal.line('err', dim(cause.stack ?? String(cause)));
  }
}
