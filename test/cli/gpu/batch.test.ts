/** A batch file from outside: what is done is skipped, a failure stops nothing, and `clean` takes away what a run has made. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { root } from '../../../scripts/common.mjs';
import { listFiles, runCli, useCli } from '../cli.ts';

const folder = useCli();

const CONFIG = `model: {name: ${JSON.stringify(join(root, 'assets/tiny-llama'))}, max_seq_len: 128}
tuning: {mode: lora}
train: {max_steps: 1, batch_size: 2, gradient_accumulation_steps: 1, eval_strategy: "no"}
`;
const ROWS = Array.from({ length: 10 }, (_, i) => `{"question": "Question ${i}?", "answer": "Answer ${i}."}\n`).join(
  '',
);

function project(name: string): string {
  const cwd = join(folder(), name);
  mkdirSync(cwd);
  writeFileSync(join(cwd, 'small.yaml'), CONFIG);
  writeFileSync(join(cwd, 'good.jsonl'), ROWS);
  writeFileSync(join(cwd, 'bad.jsonl'), '{"question": "Half a row\n');
  return cwd;
}

describe('batch', () => {
  test('goes on after a failure, and skips what is done', async () => {
    const cwd = project('a batch');
    const file =
      'datasets: {bad: bad.jsonl, good: good.jsonl}\nconfigs: [small.yaml]\nstyles: {plain: null, short: Be brief.}\neval: false\n';
    writeFileSync(join(cwd, 'batch.yaml'), file);
    const first = await runCli(['batch', 'batch.yaml', '--json'], { cwd });
    expect(first.code, first.stderr).toBe(1);
    const statuses = ({ stdout }: { stdout: string }) =>
      Object.fromEntries(
        (JSON.parse(stdout) as { name: string; status: string }[]).map(({ name, status }) => [name, status]),
      );
    expect(statuses(first)).toEqual({
      'bad-small-plain': 'failed',
      'bad-small-short': 'failed',
      'good-small-plain': 'done',
      'good-small-short': 'done',
    });
    expect(first.stderr).toMatch(/bad-small-plain +failed: error\[DATA\]: bad\.jsonl:1/);
    const run = join(cwd, 'outputs/batch/good-small-short');
    expect(existsSync(join(run, 'final_model/adapter_model.safetensors'))).toBe(true);
    expect(readFileSync(join(run, 'config.yaml'), 'utf8')).toContain('style: Be brief.');

    writeFileSync(join(cwd, 'bad.jsonl'), ROWS);
    const second = await runCli(['batch', 'batch.yaml'], { cwd });
    expect(second.code, second.stderr).toBe(0);
    expect(second.stdout).toMatch(/^run +status .*\n(bad-\S+ +done .*\n){2}(good-\S+ +skipped .*\n){2}$/);
  });

  test.each([
    ['datasets: {}\nconfigs: [a.yaml]', /b\.yaml: datasets: expected at least one data set/],
    ['datasets: {a: x.jsonl}\nconfigs: []', /b\.yaml:2:\d+: configs: /],
    ['datasets: {a: x.jsonl}\nconfig: [a.yaml]', /b\.yaml:2:1: config: unknown key\nhint: did you mean configs\?/],
    ['datasets: {a: x.jsonl}\nconfigs: [a/x.yaml, b/x.yaml]', /two called x/],
    ['datasets: [', /b\.yaml:1:\d+: not YAML/],
  ])('%j is wrong', async (text, message) => {
    const cwd = join(folder(), 'wrong');
    mkdirSync(cwd, { recursive: true });
    writeFileSync(join(cwd, 'b.yaml'), text);
    const { code, stderr } = await runCli(['batch', 'b.yaml'], { cwd });
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
  });
});

describe('clean', () => {
  test('removes what was made, and nothing else', async () => {
    const cwd = project('to clean');
    writeFileSync(join(cwd, 'run.yaml'), `${CONFIG}data: {raw_path: good.jsonl}\n`);
    const before = listFiles(cwd);
    const refused = await runCli(['clean', 'run.yaml'], { cwd });
    expect(refused).toMatchObject({ code: 0, stderr: 'there is nothing to remove\n' });
    for (const command of ['process', 'render', 'train']) {
      expect((await runCli([command, 'run.yaml'], { cwd })).code, command).toBe(0);
    }
    writeFileSync(join(cwd, 'data/mine.jsonl'), ROWS);
    expect(await runCli(['clean', 'run.yaml'], { cwd })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--yes'),
    });
    expect((await runCli(['clean', 'run.yaml', '--yes'], { cwd })).code).toBe(0);
    expect(listFiles(cwd)).toEqual([...before, `data/mine.jsonl ${ROWS.length}`].sort());
  });
});
