/** The quick start from outside, in an empty folder whose path has a space. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ownCommand } from '../../../src/cli/ownCommand.ts';
import { buildCli, listFiles, runCli, useCli } from '../cli.ts';

const folder = useCli();

describe('init --yes', () => {
  test('and the three commands that it prints work, in any folder', async () => {
    const cwd = join(folder(), 'an empty folder');
    mkdirSync(cwd);
    const made = await runCli(['init', '--yes', '--set', 'train.max_steps=2'], {
      cwd,
      env: { PATH: '', npm_command: '' },
    });
    expect(made.code, made.stderr).toBe(0);
    const program = await buildCli();
    const commands = made.stdout.trimEnd().split('\n');
    expect(commands).toHaveLength(3);
    for (const line of commands) {
      expect(line).toContain(program);
      // As a shell would take it: the program and its arguments.
      const { code, stdout, stderr } = await runCli([], { cwd, shell: line });
      expect(code, `${line}\n${stderr}`).toBe(0);
      if (line.includes(' infer ')) expect(stdout.trim()).not.toBe('');
    }
    expect(existsSync(join(cwd, 'outputs/run/final_model/adapter_model.safetensors'))).toBe(true);
  });

  test('a second one overwrites nothing that was changed', async () => {
    const cwd = join(folder(), 'twice');
    mkdirSync(cwd);
    await runCli(['init', '--yes', 'a b'], { cwd });
    const config = join(cwd, 'a b/configs/config_run.yaml');
    writeFileSync(config, `${readFileSync(config, 'utf8')}\n# mine\n`);
    const before = listFiles(cwd);
    const again = await runCli(['init', '--yes', 'a b'], { cwd });
    expect(again).toMatchObject({ code: 0, stdout: expect.stringMatching(/^cd 'a b'\n/) });
    expect(again.stderr).toContain('configs/config_run.yaml is yours and was left as it is');
    expect(listFiles(cwd)).toEqual(before);
  });

  test.each([
    [['init'], /expected a terminal to ask at/],
    [['init', '--yes', 'file'], /expected a folder, got the file file/],
    [['init', '--yes', 'new', '--set', 'train.max_stps=1'], /config_run\.yaml:\d+:\d+: train\.max_stps: unknown key/],
  ])('%j is an error, and nothing is written', async (args, message) => {
    const cwd = join(folder(), 'wrong');
    mkdirSync(cwd, { recursive: true });
    writeFileSync(join(cwd, 'file'), '');
    const { code, stderr } = await runCli(args, { cwd });
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
    expect(listFiles(cwd)).toEqual(['file 0']);
  });
});

test.each([
  [{ npm_command: 'exec', PATH: '/bin' }, '/cache/_npx/1/node_modules/.bin/webgpu-sft', [], 'npx webgpu-sft'],
  [{ PATH: '/bin:/usr/bin' }, '/usr/bin/webgpu-sft', ['/usr/bin/webgpu-sft'], 'webgpu-sft'],
  [{ PATH: '/bin' }, '/app/node_modules/webgpu-sft/dist/cli/main.js', [], 'npx webgpu-sft'],
  [{}, '/a b/dist/cli/main.js', [], "node '/a b/dist/cli/main.js'"],
])('with %j and %s', (environment, script, files: string[], command) => {
  expect(ownCommand({ script, environment, isThere: (path) => files.includes(path) })).toBe(command);
});
