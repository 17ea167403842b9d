import { describe, expect, test } from 'vitest';
import type { Category } from '../../src/gpu/ledger.ts';
import { CATEGORIES, noBytes, sumBytes } from '../../src/gpu/ledger.ts';
import { bytesOf, type Dtype, defineKernel, type Tensor } from '../../src/kernels/define.ts';
import { newTensor } from '../../src/tensor/memory.ts';
import { checkComplete, mergeSlots, type Plan, planLike, planProgram, slotBytes } from '../../src/tensor/plan.ts';
import { Trace } from '../../src/tensor/trace.ts';
import { random } from '../kernels/harness.ts';
import { traits } from '../kernels/traits.ts';

const names = ['a', 'b', 'c'] as const;

/** Reads up to three tensors and writes one. */
const kernel = defineKernel({
  name: 'test.any',
  uniforms: { count: 'u32' },
  reads: (v: { reads: number }) => Object.fromEntries(names.slice(0, v.reads).map((name) => [name, 'f32'])),
  writes: () => ({ y: 'f32' }),
  source: () => '@compute @workgroup_size(1) fn main() { y[0] = f32(u.count); }',
});

/** A trace by hand: what each command reads and writes. */
class Script extends Trace {
  constructor() {
    super(traits);
  }

  make(label: string, elements: number, options: { dtype?: Dtype; category?: Category } = {}): Tensor {
    return this.tensor(label, [elements], options);
  }

  touch(reads: readonly Tensor[], y: Tensor): void {
    const bound = Object.fromEntries(reads.map((tensor, index) => [names[index], tensor]));
    this.run(kernel, { reads: reads.length }, { ...bound, y } as never, { count: 1 }, [1]);
  }
}

/** First and last command of each transient tensor. */
function livesOf(trace: Trace): Map<number, { tensor: Tensor; first: number; last: number }> {
  const lives = new Map<number, { tensor: Tensor; first: number; last: number }>();
  trace.commands.forEach((command, index) => {
    for (const tensor of command.tensors) {
      if (!trace.transients.has(tensor.id)) continue;
      const life = lives.get(tensor.id);
      if (life) life.last = index;
      else lives.set(tensor.id, { tensor, first: index, last: index });
    }
  });
  return lives;
}

/** What must hold for every plan. */
function checkPlan(trace: Trace, plan: Plan): void {
  const lives = [...livesOf(trace).values()];
  expect(plan.slotOf.size).toBe(lives.length);
  const placeOf = ({ id }: Tensor) => {
    const place = plan.slotOf.get(id);
    if (!place) throw new Error('no place');
    return place;
  };
  for (const { tensor, first, last } of lives) {
    const { category, slot, offset } = placeOf(tensor);
    expect(['logits', tensor.category]).toContain(category);
    expect(offset % 256).toBe(0);
    expect(offset + bytesOf(tensor)).toBeLessThanOrEqual(plan.slots[category]?.[slot] ?? -1);
    for (const { tensor: other, ...life } of lives) {
      if (other.id === tensor.id || life.last < first || life.first > last) continue;
      const shared = placeOf(other);
      if (shared.category !== category || shared.slot !== slot) continue;
      const apart = offset >= shared.offset + bytesOf(other) || shared.offset >= offset + bytesOf(tensor);
      expect(apart, `${tensor.label} and ${other.label} are apart`).toBe(true);
    }
  }
  for (const command of trace.commands) {
    if (command.kind === 'clear') continue;
    const slotsOf = (tensors: readonly Tensor[]) =>
      tensors
        .filter(({ id }) => trace.transients.has(id))
        .map((tensor) => `${placeOf(tensor).category} ${placeOf(tensor).slot}`);
    const read = new Set(slotsOf(command.tensors.slice(0, command.written)));
    for (const slot of slotsOf(command.tensors.slice(command.written))) expect(read.has(slot), slot).toBe(false);
  }
  for (const sizes of Object.values(plan.slots)) expect([...sizes].sort((a, b) => b - a)).toEqual(sizes);
}

describe('planProgram', () => {
  test('a chain of equal tensors needs two slots', () => {
    const trace = new Script();
    let last = trace.make('t0', 100);
    trace.touch([], last);
    for (let i = 1; i < 10; i++) {
      const next = trace.make(`t${i}`, 100);
      trace.touch([last], next);
      last = next;
    }
    const plan = planProgram(trace);
    checkPlan(trace, plan);
    expect(plan.slots).toEqual({ activations: [400, 400] });
  });

  test('a tensor that is read again later keeps its slot', () => {
    const trace = new Script();
    const [kept, a, b, c] = ['kept', 'a', 'b', 'c'].map((label) => trace.make(label, 4)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    trace.touch([], kept);
    trace.touch([kept], a);
    trace.touch([a], b);
    trace.touch([b], c);
    trace.touch([kept], c);
    const plan = planProgram(trace);
    checkPlan(trace, plan);
    expect(plan.slots.activations).toEqual([16, 16, 16]);
  });

  test('inputs and output of one command never share, even where the inputs end there', () => {
    const trace = new Script();
    const [a, b, y] = ['a', 'b', 'y'].map((label) => trace.make(label, 8)) as [Tensor, Tensor, Tensor];
    trace.touch([], a);
    trace.touch([], b);
    trace.touch([a, b], y);
    const { slotOf } = planProgram(trace);
    expect(new Set([a, b, y].map(({ id }) => slotOf.get(id)?.slot)).size).toBe(3);
  });

  test('a smaller tensor fits into a larger slot, logits have their own, bytes are exact', () => {
    const trace = new Script();
    const big = trace.make('big', 1001);
    const half = trace.make('half', 7, { dtype: 'bf16' });
    const logits = trace.make('logits', 33, { category: 'logits' });
    const end = trace.make('end', 1);
    trace.touch([], big);
    trace.touch([], half);
    trace.touch([half], logits);
    trace.touch([logits], end);
    const plan = planProgram(trace);
    checkPlan(trace, plan);
    // `half` and `end` follow `big`; nothing is bound with fewer than 16 bytes.
    expect(plan.slots).toEqual({ activations: [4004], logits: [132] });
    expect(slotBytes(plan.slots)).toEqual({ ...noBytes(), activations: 4016, logits: 144 });
  });

  test('small tensors lie side by side in a large slot, but none that is read while another is written', () => {
    const trace = new Script();
    const [big, a, b, c] = [1000, 100, 100, 100].map((elements, i) => trace.make(`t${i}`, elements)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    trace.touch([], big);
    trace.touch([], a);
    trace.touch([], b);
    trace.touch([a, b], c);
    const plan = planProgram(trace);
    checkPlan(trace, plan);
    expect(plan.slots).toEqual({ activations: [4000, 400] });
    expect(plan.slotOf.get(a.id)).toEqual({ category: 'activations', slot: 0, offset: 0 });
    expect(plan.slotOf.get(b.id)).toEqual({ category: 'activations', slot: 0, offset: 512 });
    expect(plan.slotOf.get(c.id)).toEqual({ category: 'activations', slot: 1, offset: 0 });
  });

  test('other tensors lie where logits are at another time; logits never lie elsewhere', () => {
    const trace = new Script();
    const [before, z, after] = [
      trace.make('before', 50),
      trace.make('z', 60, { category: 'logits' }),
      trace.make('after', 70),
    ] as const;
    trace.touch([], before);
    trace.touch([], z);
    trace.touch([], after);
    const plan = planProgram(trace);
    checkPlan(trace, plan);
    expect(plan.slots).toEqual({ logits: [240], activations: [280] });
    expect(plan.slotOf.get(before.id)?.category).toBe('logits');
  });

  test('tensors that the trace did not make are persistent, each once; a cleared tensor lives from then', () => {
    const trace = new Script();
    const w = newTensor('w', [4], { category: 'weights' });
    const a = trace.make('a', 4);
    const b = trace.make('b', 4);
    trace.clear(a);
    trace.touch([w], b);
    trace.touch([w, b], a);
    const plan = planProgram(trace);
    checkPlan(trace, plan);
    expect(plan.persistent).toEqual([w]);
    expect(plan.slots.activations).toEqual([16, 16]);
    expect(() => checkComplete(plan, () => false)).toThrow('w is used but was never made');
    expect(() => checkComplete(plan, ({ id }) => id === w.id)).not.toThrow();
  });

  test('a tensor that nothing touches costs nothing', () => {
    const trace = new Script();
    trace.make('unused', 1000);
    expect(planProgram(trace)).toMatchObject({ slots: {}, persistent: [] });
  });

  test('random programs: no two live tensors share, and never more bytes than the sum', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const next = random(seed);
      const below = (n: number) => Math.floor(((next() + 1) / 2) * n);
      const trace = new Script();
      const made: Tensor[] = [];
      for (let i = 0; i < 60; i++) {
        const reads = Array.from({ length: below(4) }, () => made[Math.max(0, made.length - 1 - below(12))]).filter(
          (t) => t !== undefined,
        );
        const category = below(4) === 0 ? 'logits' : 'activations';
        const y = trace.make(`t${i}`, 1 + below(500), { category });
        trace.touch(reads, y);
        made.push(y);
      }
      const plan = planProgram(trace);
      checkPlan(trace, plan);
      const all = made.reduce((total, tensor) => total + Math.max(16, bytesOf(tensor)), 0);
      const planned = Object.values(plan.slots)
        .flat()
        .reduce((a, b) => a + b, 0);
      expect(planned).toBeLessThan(all / 2);
      // The most that is alive at one moment is the least that any plan needs.
      const lives = [...livesOf(trace).values()];
      const alive = trace.commands.map((_, at) => {
        const then = lives.filter(({ first, last }) => first <= at && at <= last);
        return then.reduce((total, { tensor }) => total + bytesOf(tensor), 0);
      });
      const peak = Math.max(...alive);
      expect(planned).toBeGreaterThanOrEqual(peak);
    }
  });
});

describe('planLike', () => {
  /** A forward pass, `chunks` of logits, a backward pass. */
  function program(T: number, chunks: number, extra = 0): Script {
    const trace = new Script();
    const [x, y, dx] = [trace.make('x', T * 8), trace.make('y', T), trace.make('dx', T * 9)] as const;
    trace.touch([], x);
    trace.touch([x], y);
    for (let i = 0; i < chunks; i++) {
      const z = trace.make('z', 40, { category: 'logits' });
      trace.touch([y], z);
      trace.touch([z], dx);
    }
    for (let i = 0; i < extra; i++) trace.touch([dx], trace.make('extra', 1));
    trace.touch([dx], x);
    return trace;
  }

  test('a smaller program of the same structure takes the same slots', () => {
    const large = planProgram(program(100, 3));
    for (const [T, chunks] of [
      [100, 3],
      [64, 3],
      [99, 1],
      [1, 2],
    ] as const) {
      const trace = program(T, chunks);
      const plan = planLike(trace, large);
      expect(plan?.slots).toEqual(large.slots);
      checkPlan(trace, plan as Plan);
    }
  });

  test('there is none for a larger one or another structure', () => {
    const large = planProgram(program(100, 3));
    expect(planLike(program(101, 3), large)).toBeNull();
    expect(planLike(program(100, 4), large)).toBeNull();
    expect(planLike(program(50, 3, 1), large)).toBeNull();
    expect(planLike(program(50, 3), planProgram(program(100, 3, 1)))).toBeNull();
  });
});

describe('prune', () => {
  test('drops what nobody reads, and what only that read', () => {
    const trace = new Script();
    const kept = newTensor('kept', [4], { category: 'weights' });
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((label) => trace.make(label, 4)) as [Tensor, Tensor, Tensor, Tensor];
    trace.clear(d);
    trace.touch([kept], a);
    trace.touch([a], b);
    trace.touch([b], c);
    trace.touch([a], kept);
    trace.touch([kept], d);
    trace.prune();
    expect(trace.commands.map(({ tensors }) => tensors.at(-1)?.label)).toEqual(['a', 'kept']);
  });
});

describe('mergeSlots', () => {
  test('the i-th slot is as large as the largest i-th', () => {
    expect(mergeSlots([{ activations: [9, 4] }, { activations: [7, 5, 2], logits: [3] }, {}])).toEqual({
      activations: [9, 5, 2],
      logits: [3],
    });
    expect(mergeSlots([])).toEqual({});
  });

  test('leaves its arguments alone', () => {
    const one = { activations: [1] };
    mergeSlots([one, { activations: [2] }]);
    expect(one).toEqual({ activations: [1] });
  });

  test('bytes of slots count what their buffers will have', () => {
    expect(sumBytes(slotBytes({ staging: [1, 17], weights: [16] }))).toBe(16 + 32 + 16);
    expect(CATEGORIES.every((category) => slotBytes({})[category] === 0)).toBe(true);
  });
});
