/** Questions that have to be agreed to before something is lost. */
import { createInterface } from 'node:readline/promises';
import { SftError } from '../platform/errors.ts';
import type { Call } from './command.ts';

/** Whether a person says yes. `command`: what does the same without asking. Throws `ARGUMENT` where there is nobody to ask. */
export async function agrees({ terminal }: Call, question: string, command: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new SftError('ARGUMENT', `${command}: expected a terminal to ask at, there is none`, {
      hint: `webgpu-sft ${command} --yes removes it without asking`,
    });
  }
  terminal.close();
  const line = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await line.question(`${question} [y/N] `)).trim());
  } finally {
    line.close();
  }
}
