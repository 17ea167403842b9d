/** Training as a person sees it: what is said, what is written, how it stops, and what happens when something fails. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { sums } from '../../fixtures.ts';
import { type Ended, listFiles } from '../cli.ts';
import { useTinyRun } from './tinyRun.ts';

const { cli, at, read, trained } = useTinyRun();

describe('train', () => {
  test('says what it does, in plain lines', () => {
    const { code, stdout, stderr } = trained();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = stdout.split('\n');
    expect(lines.some((line) => line.includes('\u001b'))).toBe(false);
    expect(lines.slice(0, 5)).toEqual([
      'reading train.jsonl',
      'read 20 rows of train.jsonl: 20 × qa',
      'reading val.jsonl',
      expect.stringMatching(/^read \d+ rows? of val\.jsonl: \d+ × qa$/),
      expect.stringMatching(/^loading weights, /),
    ]);
    for (const fact of ['model', 'trained', 'rows', 'steps', 'adapter', 'memory']) {
      expect(
        lines.some((line) => line.startsWith(`${fact} `)),
        fact,
      ).toBe(true);
    }
    expect(lines.filter((line) => line.startsWith('step ')).map((line) => line.split('  ')[0])).toEqual([
      'step 2/6',
      'step 4/6',
      'step 6/6',
    ]);
    expect(lines.filter((line) => line.startsWith('eval '))).toHaveLength(2);
    expect(lines.filter((line) => line.startsWith('checkpoint '))).toHaveLength(2);
    expect(lines.filter((line) => line.includes('┤'))).toHaveLength(8);
    expect(lines.at(-2)).toMatch(/^try: node .*main\.js infer run\.yaml --prompt 'Hello!'$/);
  });

  test('keeps what it said in training_log.txt', () => {
    expect(read('outputs/run/training_log.txt')).toBe(trained().stdout);
  });

  test('--quiet says nothing', async () => {
    const ended = await cli(['train', 'run.yaml', '--output-dir', 'outputs/quiet', '--max-steps', '1', '--quiet']);
    expect(ended).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(read('outputs/quiet/training_log.txt')).toContain('step 1/1');
  });

  test('--dry-run writes nothing', async () => {
    const before = listFiles(at());
    const ended = await cli(['train', 'run.yaml', '--output-dir', 'outputs/dry', '--dry-run']);
    expect(ended.code).toBe(0);
    expect(ended.stdout).toMatch(/^speed {5}at most \d+\.\d\d s a step/m);
    expect(listFiles(at())).toEqual(before);
    expect(existsSync(at('outputs/dry'))).toBe(false);
  });

  test('goes on when nobody reads what it says', async () => {
    const args = ['train', 'run.yaml', '--output-dir', 'outputs/piped', '--max-steps', '3'];
    const ended = await cli(args, { shell: '"$@" | head -1; true' });
    expect(ended.stdout).toBe('reading train.jsonl\n');
    expect(existsSync(at('outputs/piped/final_model/adapter_model.safetensors'))).toBe(true);
    expect(read('outputs/piped/training_log.txt')).toContain('done in');
  });
});

describe('stopping', () => {
  const endless = (run: string, ...more: string[]) => [
    ...['train', 'run.yaml', '--output-dir', `outputs/${run}`, '--max-steps', '5000'],
    ...['--set', 'train.eval_strategy=no', '--set', 'train.load_best_model_at_end=false', ...more],
  ];

  test('Ctrl-C saves and prints the line that continues', async () => {
    const args = endless('stopped');
    let told = false;
    const ended = await cli(args, {
      onOutput(text, child) {
        if (told || !/step +2\/5000/.test(text)) return;
        told = true;
        // One key press that comes twice, as with npx: the terminal tells the program, and npm tells it again.
        child.kill('SIGINT');
        child.kill('SIGINT');
      },
    });
    expect(ended.code).toBe(130);
    const saved =
      /^error\[INTERRUPTED\]: stopped after step (\d+); saved outputs\/stopped\/checkpoint-\1\nhint: \S.*\n$/;
    const step = Number(saved.exec(ended.stderr)?.[1]);
    expect(step).toBeGreaterThanOrEqual(2);
    const line = ended.stdout.split('\n').find((one) => one.startsWith('webgpu-sft train'));
    expect(line).toBe(`webgpu-sft ${args.join(' ')} --resume-from last`);
    expect(existsSync(at('outputs/stopped/.lock'))).toBe(false);

    const typed = line?.split(' ').slice(1) ?? [];
    const more = await cli([...typed, '--max-steps', String(step + 2)]);
    expect(more).toMatchObject({ code: 0, stderr: '' });
    expect(more.stdout).toContain(`from step ${step}`);
    expect(existsSync(at('outputs/stopped/final_model'))).toBe(true);
  });

  test('a second signal stops at once', async () => {
    // One step of four thousand rows: it would take a minute.
    writeFileSync(at('many.jsonl'), sums(4000));
    const long = ['--train-data', 'many.jsonl', '--batch-size', '1', '--set', 'train.gradient_accumulation_steps=4000'];
    const sent = { first: false, second: false };
    const ended = await cli(endless('twice', ...long), {
      onOutput(text, child) {
        if (!sent.first && text.includes('memory ')) sent.first = child.kill('SIGTERM');
        if (sent.second || !text.includes('again to stop at once')) return;
        sent.second = true;
        setTimeout(() => child.kill('SIGTERM'), 300);
      },
    });
    expect(ended.code).toBe(130);
    expect(ended.stderr).not.toContain('saved');
  });
});

describe('while it runs', () => {
  const checkpoints = (run: string) =>
    listFiles(at('outputs', run)).filter((name) => !/^(events|config|backend|memory|train)/.test(name));

  const hooked = (name: string, env: Record<string, string>) => ({
    node: ['--import', pathToFileURL(join(import.meta.dirname, `${name}.mjs`)).href],
    env,
  });

  test('a lost device', async () => {
    const ended = await cli(
      ['train', 'run.yaml', '--output-dir', 'outputs/lost'],
      hooked('loseDevice', { LOSE_AT: '40' }),
    );
    expect(ended.stderr).toMatch(/^warning: WebGPU device .* was lost: .*; a new device goes on from .*\n$/);
    expect(ended.code).toBe(0);
    const adapter = (run: string) => readFileSync(at('outputs', run, 'final_model/adapter_model.safetensors'));
    expect(adapter('lost')).toEqual(adapter('run'));
  });

  test('a full disk', async () => {
    const hook = hooked('fillDisk', { FREE_BYTES: '30000' });
    const ended = await cli(['train', 'run.yaml', '--output-dir', 'outputs/filled'], hook);
    expect(ended.stderr).toMatch(/error\[IO\]: outputs\/filled\/\S+: could not be written: .*\nhint: .*\n$/);
    expect(ended.code).toBe(1);
    expect(checkpoints('filled')).toEqual([]);
  });

  test('an output folder that cannot be written', async () => {
    writeFileSync(at('taken'), '');
    const ended = await cli(['train', 'run.yaml', '--output-dir', 'taken/run']);
    expect(ended.stderr).toMatch(/^error\[IO\]: taken\/run: could not be written: .*\nhint: .*\n$/);
    expect(ended.code).toBe(1);
    rmSync(at('taken'));
  });

  test('another run in the same folder', async () => {
    let second: Promise<Ended> | undefined;
    const args = ['train', 'run.yaml', '--output-dir', 'outputs/shared', '--max-steps', '5000'];
    const first = await cli(args, {
      onOutput(text, child) {
        if (second || !/step +2\/5000/.test(text)) return;
        second = cli(args).finally(() => child.kill('SIGTERM'));
      },
    });
    expect(first.code).toBe(130);
    const ended = await second;
    expect(ended?.code).toBe(1);
    expect(ended?.stderr).toMatch(/^error\[BUSY\]: outputs\/shared: /m);
    expect(read('outputs/shared/training_log.txt')).not.toContain('BUSY');
  });
});
