import { describe, expect, test } from 'vitest';
import { resumeCommand } from '../../src/cli/actions/train.ts';
import { parseCall } from '../../src/cli/command.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { runProgram } from '../../src/cli/program.ts';
import { Terminal } from '../../src/cli/terminal.ts';
import { fakeStream } from './fakeStream.ts';

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const [out, err] = [fakeStream(), fakeStream()];
  const code = await runProgram(argv, new Terminal(out, err));
  return { code, out: out.text(), err: err.text() };
}

const error = (line: string, hint: string) => ({ code: 2, out: '', err: `error[ARGUMENT]: ${line}\nhint: ${hint}\n` });

describe('help', () => {
  test.each([[], ['--help'], ['-h'], ['help']])('of the program: %s', async (...argv) => {
    const { code, out, err } = await run(...argv);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    for (const name of Object.keys(COMMANDS)) expect(out).toMatch(new RegExp(`^ {2}${name} `, 'm'));
  });

  test.each(Object.keys(COMMANDS))('of %s, with an example', async (name) => {
    const { code, out, err } = await run(name, '--help');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(new RegExp(`Usage: webgpu-sft ${name} (?:[\\[<]\\w+[\\]>] )+\\[flags\\]`));
    expect(out).toMatch(new RegExp(`Examples?:\\n {2}.*webgpu-sft ${name}`));
    for (const flag of ['--config', '--set', '--quiet', '--verbose', '--debug']) expect(out).toContain(flag);
  });

  test.each(Object.keys(COMMANDS))('the examples of %s have its flags and arguments', async (name) => {
    const { summary, load } = COMMANDS[name]!;
    const spec = await load();
    for (const example of spec.examples.filter((line) => line.includes('webgpu-sft '))) {
      const [, typed = ''] = /webgpu-sft (.*?)(?: +[#>|<] .*)?$/.exec(example) ?? [];
      const [first, ...rest] = [...typed.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) =>
        word.replaceAll(/["']/g, ''),
      );
      expect(first).toBe(name);
      expect(await parseCall(name, summary, spec, rest, new Terminal(fakeStream(), fakeStream()))).not.toBeNull();
    }
  });

  test('flags of a config key bring its sentence', async () => {
    expect((await run('train', '--help')).out).toMatch(/--lr <X> +train\.learning_rate: Highest learning rate/);
  });

  test('version', async () => expect((await run('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/));
});

describe('what is not known', () => {
  test('a command', async () => {
    expect(await run('trian')).toEqual(error('webgpu-sft trian: unknown command', 'did you mean webgpu-sft train?'));
    expect(await run('gpuinfo')).toEqual(
      error('webgpu-sft gpuinfo: unknown command', 'did you mean webgpu-sft gpu-info?'),
    );
    expect((await run('dance')).err).toMatch(/hint: there are init, process, style, render, train, eval, infer/);
    expect((await run('toString')).err).toContain('unknown command');
  });

  test('a flag', async () => {
    const unknown = (flag: string, meant: string) =>
      error(`${flag}: unknown flag of webgpu-sft train`, `did you mean ${meant}?`);
    expect(await run('train', '--max-stepps', '3')).toEqual(unknown('--max-stepps', '--max-steps'));
    expect(await run('train', '--no-4bits')).toEqual(unknown('--no-4bits', '--no-4bit'));
    expect(await run('train', '--ouput-dir=x')).toEqual(unknown('--ouput-dir', '--output-dir'));
    expect((await run('train', '--zzz')).err).toContain('hint: webgpu-sft train --help lists the flags');
    expect((await run('train', '--json')).err, 'where there is no result to read').toContain('unknown flag');
    expect((await run('--quiet', 'train')).err).toContain('--quiet: expected a command first');
    expect((await run('--verson')).err).toContain('hint: did you mean webgpu-sft --version?');
    expect(await run('check', '--json=1')).toEqual(error('--json: expected no value, got 1', 'give --json alone'));
  });

  test('a flag without its value, a value that does not fit', async () => {
    expect((await run('train', '--lr')).err).toMatch(/^error\[ARGUMENT\]: --lr: expected a value/);
    expect((await run('inspect', '--row', '-1')).err).toMatch(/^error\[ARGUMENT\]: --row: expected a whole number/);
    expect((await run('inspect', '--split', 'trian')).err).toMatch(/hint: did you mean train\?/);
    expect((await run('train', 'a.yaml', 'b.yaml')).err).toMatch(/expected one config, got a\.yaml b\.yaml/);
    expect((await run('dashboard', 'a', 'b')).err).toMatch(/dashboard: expected at most 1 argument, got a b/);
    expect((await run('models', 'downlaod', 'a/b')).err).toMatch(/\[action\]: .*\nhint: did you mean download\?/);
  });
});

test('--debug shows where an error comes from', async () => {
  expect((await run('train', 'none.yaml')).err.trimEnd().split('\n')).toHaveLength(2);
  expect((await run('train', 'none.yaml', '--debug')).err).toMatch(/\n +at /);
});

test('the line that continues a run', () => {
  expect(resumeCommand(['run.yaml', '--lr', '1e-4'])).toBe('webgpu-sft train run.yaml --lr 1e-4 --resume-from last');
  expect(resumeCommand(['--resume-from', 'x/checkpoint-3', 'a b.yaml', '--resume-from=last', '--set', "a='x'"])).toBe(
    `webgpu-sft train 'a b.yaml' --set 'a='\\''x'\\''' --resume-from last`,
  );
});
