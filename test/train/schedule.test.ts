import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/train/configCheck.ts';
import type { ScheduleOptions } from '../../src/train/schedule.ts';
import { createSchedule, warmupSteps } from '../../src/train/schedule.ts';

const base: ScheduleOptions = { learning_rate: 2, lr_scheduler: 'linear', warmup_ratio: 0, warmup_steps: 0 };

function rates(options: Partial<ScheduleOptions>, total: number): number[] {
  const rate = createSchedule({ ...base, ...options }, total);
  return Array.from({ length: total + 1 }, (_, step) => rate(step));
}

describe('warm-up', () => {
  it('takes the ratio of all steps, rounded up', () => {
    expect(warmupSteps({ ...base, warmup_ratio: 0.03 }, 100)).toBe(3);
    expect(warmupSteps({ ...base, warmup_ratio: 0.03 }, 101)).toBe(4);
    expect(warmupSteps({ ...base, warmup_ratio: 0.03 }, 1)).toBe(1);
  });

  it('takes the count when it is above 0', () => {
    expect(warmupSteps({ ...base, warmup_ratio: 0.5, warmup_steps: 7 }, 100)).toBe(7);
  });

  it('begins at 0 and reaches the learning rate when it ends', () => {
    expect(rates({ lr_scheduler: 'constant_with_warmup', warmup_steps: 4 }, 6)).toEqual([0, 0.5, 1, 1.5, 2, 2, 2]);
  });

  it('may be as long as the run', () => {
    const schedulers = ['linear', 'cosine', 'polynomial', 'inverse_sqrt', 'warmup_stable_decay'] as const;
    for (const lr_scheduler of schedulers) {
      const values = rates({ lr_scheduler, warmup_steps: 4 }, 4);
      expect(values.slice(0, 4)).toEqual([0, 0.5, 1, 1.5]);
      expect(values[4]).toBeGreaterThanOrEqual(0);
    }
  });
});

describe('course', () => {
  it('linear falls to 0', () => {
    expect(rates({ warmup_steps: 1 }, 5)).toEqual([0, 2, 1.5, 1, 0.5, 0]);
  });

  it('cosine is at half in the middle', () => {
    const values = rates({ lr_scheduler: 'cosine' }, 4);
    expect(values[0]).toBe(2);
    expect(values[2]).toBeCloseTo(1, 12);
    expect(values[4]).toBeCloseTo(0, 12);
  });

  it('cosine_with_restarts has one cycle and stays at 0', () => {
    const rate = createSchedule({ ...base, lr_scheduler: 'cosine_with_restarts' }, 4);
    expect(rate(2)).toBeCloseTo(1, 12);
    expect([rate(4), rate(5)]).toEqual([0, 0]);
  });

  it('polynomial ends at 1e-7', () => {
    expect(rates({ lr_scheduler: 'polynomial' }, 4)[4]).toBeCloseTo(1e-7, 15);
  });

  it('constant has no warm-up', () => {
    expect(rates({ lr_scheduler: 'constant', warmup_steps: 2 }, 2)).toEqual([2, 2, 2]);
  });

  it('inverse_sqrt halves at four times the warm-up', () => {
    expect(rates({ lr_scheduler: 'inverse_sqrt', warmup_steps: 4 }, 16)[16]).toBeCloseTo(1, 12);
  });

  it('cosine_with_min_lr ends at a tenth', () => {
    expect(rates({ lr_scheduler: 'cosine_with_min_lr' }, 4)[4]).toBeCloseTo(0.2, 12);
  });

  it('warmup_stable_decay falls in the last tenth', () => {
    const values = rates({ lr_scheduler: 'warmup_stable_decay', warmup_steps: 2 }, 40);
    expect(values.slice(2, 37).every((value) => value === 2)).toBe(true);
    expect(values[38]).toBeCloseTo(1, 12);
    expect(values[40]).toBe(0);
  });
});

it('takes the section train of a configuration', () => {
  const { train } = parseConfig({ model: { name: 'm' }, tuning: { mode: 'lora' } });
  expect(createSchedule(train, 100)(3)).toBe(2e-4);
});
