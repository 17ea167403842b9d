/** Every schedule against transformers. Needs WEBGPU_SFT_ORACLE_PYTHON: a Python with torch and transformers. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { configSchema } from '../../src/train/config.ts';
import { createSchedule } from '../../src/train/schedule.ts';

const python = process.env['WEBGPU_SFT_ORACLE_PYTHON'];

const names = configSchema.shape.train.unwrap().shape.lr_scheduler.unwrap().options;
const totals = [1, 2, 10, 37, 200, 1000];
/** Below 1 a ratio of all steps, else a count, as transformers reads it. */
const warmups = [0, 0.03, 0.5, 1, 7];

it.skipIf(!python)('learning rates equal transformers to 1e-12 of the highest', { timeout: 120_000 }, () => {
  const cases = names.flatMap((name) =>
    totals.flatMap((total) =>
      warmups
        // transformers divides by zero where polynomial has no step after its warm-up.
        .filter((warmup) => name !== 'polynomial' || warmup < total)
        .map((warmup) => ({ name, total, warmup, learning_rate: 3e-4, kwargs: kwargsOf(name, total) })),
    ),
  );
  const script = fileURLToPath(new URL('schedule.py', import.meta.url));
  const { stdout, stderr, status } = spawnSync(python!, [script], {
    input: JSON.stringify(cases),
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  expect(status, stderr).toBe(0);

  const expected = JSON.parse(stdout) as number[][];
  expect(expected.length).toBeGreaterThan(250);
  for (const [index, { name, total, warmup, learning_rate }] of cases.entries()) {
    const rate = createSchedule(
      {
        learning_rate,
        lr_scheduler: name,
        warmup_ratio: warmup < 1 ? warmup : 0.9,
        warmup_steps: warmup < 1 ? 0 : warmup,
      },
      total,
    );
    for (const [step, value] of expected[index]!.entries()) {
      const difference = Math.abs(rate(step) - value);
      expect(difference, `${name}, step ${step} of ${total}, warm-up ${warmup}`).toBeLessThanOrEqual(
        1e-12 * learning_rate,
      );
    }
  }
});

/** The two schedules for which transformers has no default; these values are ours. */
function kwargsOf(name: string, total: number): object {
  if (name === 'cosine_with_min_lr') return { min_lr_rate: 0.1 };
  if (name === 'warmup_stable_decay') return { num_decay_steps: Math.ceil(0.1 * total) };
  return {};
}
