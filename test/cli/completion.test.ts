/** What shells complete, and what a start loads. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildCommand } from '../../src/cli/command.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { buildCli, runCli, useCli } from './cli.ts';

const folder = useCli();
const script = async (shell: string) => {
  const { code, stdout, stderr } = await runCli(['completion', shell], { cwd: folder() });
  expect([code, stderr]).toEqual([0, '']);
  return stdout;
};

describe('bash', () => {
  beforeAll(async () => writeFileSync(join(folder(), 'completion.bash'), await script('bash')));

  /** What is offered after a command line, as bash would. */
  const offered = (line: string) => {
    const words = line.split(' ');
    const ask = `source completion.bash; COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _webgpu_sft; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return execFileSync('bash', ['-c', ask], { cwd: folder(), encoding: 'utf8' })
      .split('\n')
      .filter((word) => word !== '');
  };

  test('completes commands, flags and words', () => {
    expect(offered('webgpu-sft ')).toEqual(Object.keys(COMMANDS));
    expect(offered('webgpu-sft me')).toEqual(['merge', 'memory-check']);
    expect(offered('webgpu-sft train --max')).toEqual(['--max-steps', '--max-length']);
    expect(offered('webgpu-sft infer run.yaml --temp')).toEqual(['--temperature']);
    expect(offered('webgpu-sft models ')).toEqual(['list', 'download', 'remove']);
    expect(offered('webgpu-sft completion z')).toEqual(['zsh']);
    expect(offered('webgpu-sft train conf'), 'then bash offers files').toEqual([]);
    expect(offered('webgpu-sft nothing --')).toEqual([]);
  });

  test('is registered, with files where it has nothing', () => {
    const shown = execFileSync('bash', ['-c', 'source completion.bash; complete -p webgpu-sft'], {
      cwd: folder(),
      encoding: 'utf8',
    });
    expect(shown.trim()).toBe('complete -o default -F _webgpu_sft webgpu-sft');
  });
});

test.each(['zsh', 'fish'])('%s has every command and every flag', async (shell) => {
  const text = await script(shell);
  for (const [name, { summary, load }] of Object.entries(COMMANDS)) {
    const { options } = (await buildCommand(name, summary, await load())).command;
    for (const { long } of [...options, { long: '--help' }]) {
      expect(text).toContain(shell === 'fish' ? `from ${name}' -l ${long!.slice(2)} ` : `'${long}:`);
    }
    expect(text).toContain(shell === 'fish' ? `-a ${name} -d '` : `'${name}:`);
  }
  // An apostrophe in a description ends no quotation.
  expect(text.replaceAll(/\\'|'\\''/g, '').match(/'/g)!.length % 2).toBe(0);
});

test('a shell that nobody knows', async () => {
  expect(await runCli(['completion', 'bosh'], { cwd: folder() })).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^error\[ARGUMENT\]: .*bash, zsh, fish, got "bosh"\nhint: did you mean bash\?\n$/),
  });
  expect((await runCli(['completion'], { cwd: folder() })).code).toBe(2);
});

test('a start loads no package but that for colours, and little of its own', async () => {
  const files = new Map<string, string>();
  const packages = new Set<string>();
  const load = (path: string) => {
    if (files.has(path)) return;
    const text = readFileSync(path, 'utf8');
    files.set(path, text);
    const { statements } = ts.createSourceFile(path, text, ts.ScriptTarget.Latest);
    for (const statement of statements) {
      if (!ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement)) continue;
      const name = (statement.moduleSpecifier as ts.StringLiteral | undefined)?.text;
      if (name?.startsWith('.')) load(join(dirname(path), name));
      else if (name !== undefined && !name.startsWith('node:')) packages.add(name);
    }
  };
  load(await buildCli());
  expect([...packages]).toEqual(['picocolors']);
  const size = [...files.values()].reduce((sum, text) => sum + text.length, 0);
  expect(size).toBeLessThan(30_000);
});
