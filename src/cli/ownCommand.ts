/** How this program is called, for command lines that a person copies. */
import { existsSync } from 'node:fs';
import { delimiter, join, sep } from 'node:path';
import { shellQuote } from './format.ts';

interface Surroundings {
  readonly script: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly isThere: (path: string) => boolean;
}

const OWN: Surroundings = { script: process.argv[1] ?? '', environment: process.env, isThere: existsSync };

/**
 * `npx webgpu-sft` where npm runs it or a project has it installed, `webgpu-sft` where it is a command of the shell, else Node
 * with the file that runs now. Each works in any folder.
 */
export function ownCommand({ script, environment, isThere }: Surroundings = OWN): string {
  if (environment.npm_command === 'exec') return 'npx webgpu-sft';
  const folders = (environment.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  if (folders.some((folder) => isThere(join(folder, 'webgpu-sft')))) return 'webgpu-sft';
  if (script.split(sep).includes('node_modules')) return 'npx webgpu-sft';
  return `node ${shellQuote(script)}`;
}
