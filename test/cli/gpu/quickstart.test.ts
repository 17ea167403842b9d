/** What `npm start` runs: the embedded model learns its task, over weights of 4 bits too. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { useAdapterEnvironment } from '../../../scripts/environment.mjs';
import { buildCli } from '../cli.ts';

let quickstart = '';
let folder = '';
beforeAll(async () => {
  useAdapterEnvironment();
  quickstart = join(await buildCli(), '../quickstart.js');
  folder = mkdtempSync(join(tmpdir(), 'sft-quickstart-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const run = async (...args: string[]) =>
  promisify(execFile)(process.execPath, [quickstart, ...args], { cwd: folder }).then(
    ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
    ({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }) => ({ code, stdout, stderr }),
  );

test('answers with JSON after qlora, and not before', async () => {
  const { code, stdout } = await run('--mode', 'qlora');
  expect(code).toBe(0);
  const share = (name: string) => Number(new RegExp(`^${name} .* (\\S+) %$`, 'm').exec(stdout)?.[1]);
  expect(share('before')).toBe(0);
  expect(share('after')).toBeGreaterThan(90);
  expect(stdout).toContain('mode qlora');
  expect(existsSync(join(folder, 'outputs/quickstart/final_model/adapter_model.safetensors'))).toBe(true);
});

test.each([
  [['--mode', 'full'], /error\[ARGUMENT\]: --mode: expected lora or qlora, got "full"/],
  [['--steps', '0'], /error\[ARGUMENT\]: --steps: expected a whole number from 1, got "0"/],
])('%j is an error', async (args, says) => {
  const { code, stderr } = await run(...args);
  expect(code).toBe(2);
  expect(stderr).toMatch(says);
});
