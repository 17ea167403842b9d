/** The fenced blocks of a page of docs/, and commands of it as a reader's shell runs them. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { root } from '../../scripts/common.mjs';
import { buildCli, type Ended, runCli } from '../cli/cli.ts';

export interface Block {
  /** `sh`, `yaml`, `text` …; empty where the page says none. */
  readonly language: string;
  readonly text: string;
}

/** The blocks of one section of a page, in their order; of the whole page without a heading. */
export function blocksOf(page: string, heading?: string): readonly Block[] {
  const whole = readFileSync(join(root, page), 'utf8');
  const [, rest = null] = heading === undefined ? ['', whole] : whole.split(`\n## ${heading}\n`);
  if (rest === null) throw new Error(`${page}: no heading ${heading}`);
  const section = heading === undefined ? rest : (rest.split(/\n## /)[0] ?? '');
  return [...section.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({
    language,
    text,
  }));
}

/** Runs the lines of a shell, in which `npx webgpu-sft` and `webgpu-sft` are what was built from these sources. */
export async function runShell(lines: string, cwd: string): Promise<Ended> {
  const program = await buildCli();
  const bin = join(cwd, '.bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, 'npx'), `#!/bin/sh\nshift\nexec '${process.execPath}' '${program}' "$@"\n`);
  writeFileSync(join(bin, 'webgpu-sft'), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`);
  for (const name of ['npx', 'webgpu-sft']) chmodSync(join(bin, name), 0o755);
  const env = { PATH: [bin, process.env['PATH']].join(delimiter), npm_command: 'exec' };
  return runCli([], { cwd, env, shell: `set -e\n${lines}` });
}

/** A pattern for what is printed: a line `…` of the page is any lines, and the end of a line after ` …` is any text. */
export function shown(text: string): RegExp {
  const escaped = text.trimEnd().replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  const pattern = escaped.replaceAll(/^ *…\n/gm, '(?:.*\\n)*?').replaceAll(/ …$/gm, ' .*');
  return new RegExp(`^${pattern}$`, 'm');
}
