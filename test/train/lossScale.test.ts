import { describe, expect, it } from 'vitest';
import { LossScale } from '../../src/train/lossScale.ts';

describe('LossScale', () => {
  it('begins as GradScaler does, halves at once and doubles after 2000 good steps', () => {
    const scale = new LossScale();
    expect(scale.state).toEqual({ scale: 65536, growth_tracker: 0, skipped_steps: 0 });
    expect(scale.book(1.5)).toEqual({ scale: 65536, growth_tracker: 1, skipped_steps: 0 });
    expect(scale.book(Number.POSITIVE_INFINITY)).toEqual({ scale: 32768, growth_tracker: 0, skipped_steps: 1 });
    for (let step = 1; step < 2000; step++) scale.book(1);
    expect(scale.state).toEqual({ scale: 32768, growth_tracker: 1999, skipped_steps: 1 });
    expect(scale.book(0)).toEqual({ scale: 65536, growth_tracker: 0, skipped_steps: 1 });
    expect([...scale.values]).toEqual([65536, 0]);
  });

  it('gives up when no scale helps', () => {
    const scale = new LossScale();
    const forever = () => {
      for (;;) scale.book(Number.NaN);
    };
    expect(forever).toThrow('loss scale: expected at least 0.0001');
    expect(scale.state.skipped_steps).toBe(30);
  });
});
