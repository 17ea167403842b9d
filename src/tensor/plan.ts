/**
 * Memory of a program: which tensors are alive when, and which of them share a buffer. Needs no GPU.
 *
 * A tensor lives from the first command that touches it to the last. Tensors of one category whose lives do not overlap
 * share a slot (one buffer). Slots are found by decreasing size (Pisarchyk & Lee 2020, arXiv:2001.03288, "greedy by size for
 * shared objects"), so that a slot never grows. Inputs and outputs of one command overlap, so they never share: WebGPU
 * forbids to read and write one buffer in a dispatch.
 */
import { bufferSize } from '../gpu/device.ts';
import { type Bytes, CATEGORIES, type Category, noBytes } from '../gpu/ledger.ts';
import { bytesOf, type Tensor } from '../kernels/define.ts';
import { invariant } from '../platform/errors.ts';
import type { Trace } from './trace.ts';

/** Slots of one category, by decreasing bytes. */
export type SlotSizes = Readonly<Partial<Record<Category, readonly number[]>>>;

export interface Plan {
  readonly slots: SlotSizes;
  /** The slot of each tensor that the program makes, by id. */
  readonly slotOf: ReadonlyMap<number, { readonly category: Category; readonly slot: number }>;
  /** Tensors that must be there before the program runs. */
  readonly persistent: readonly Tensor[];
}

interface Life {
  readonly tensor: Tensor;
  readonly bytes: number;
  readonly first: number;
  last: number;
}

export function planProgram(trace: Trace): Plan {
  const lives = new Map<number, Life>();
  const persistent = new Map<number, Tensor>();
  trace.commands.forEach((command, index) => {
    for (const tensor of command.tensors) {
      if (!trace.transients.has(tensor.id)) persistent.set(tensor.id, tensor);
      else {
        const life = lives.get(tensor.id);
        if (life) life.last = index;
        else lives.set(tensor.id, { tensor, bytes: Math.max(16, bytesOf(tensor)), first: index, last: index });
      }
    }
  });
  const slotOf = new Map<number, { category: Category; slot: number }>();
  const slots: Partial<Record<Category, number[]>> = {};
  for (const category of CATEGORIES) {
    const members = [...lives.values()].filter(({ tensor }) => tensor.category === category);
    if (members.length === 0) continue;
    members.sort((a, b) => b.bytes - a.bytes || a.first - b.first);
    const open: { bytes: number; lives: Life[] }[] = [];
    for (const life of members) {
      let slot = open.findIndex((candidate) =>
        candidate.lives.every((other) => other.last < life.first || life.last < other.first),
      );
      if (slot < 0) slot = open.push({ bytes: life.bytes, lives: [] }) - 1;
      open[slot]?.lives.push(life);
      slotOf.set(life.tensor.id, { category, slot });
    }
    slots[category] = open.map(({ bytes }) => bytes);
  }
  return { slots, slotOf, persistent: [...persistent.values()] };
}

/** The slots that serve several programs which never run at once: the i-th is as large as the largest i-th. */
export function mergeSlots(plans: readonly SlotSizes[]): SlotSizes {
  const merged: Partial<Record<Category, number[]>> = {};
  for (const plan of plans) {
    for (const category of CATEGORIES) {
      const sizes = plan[category];
      if (!sizes) continue;
      const target = merged[category] ?? [];
      merged[category] = target;
      sizes.forEach((bytes, slot) => {
        target[slot] = Math.max(target[slot] ?? 0, bytes);
      });
    }
  }
  return merged;
}

export function slotBytes(slots: SlotSizes): Bytes {
  const bytes = noBytes();
  for (const category of CATEGORIES) {
    for (const size of slots[category] ?? []) bytes[category] += bufferSize(size);
  }
  return bytes;
}

/** Checks that a planned program can be built: everything that it reads was made by it or given to it. */
export function checkComplete(plan: Plan, has: (tensor: Tensor) => boolean): void {
  for (const tensor of plan.persistent) invariant(has(tensor), `${tensor.label} is used but was never made`);
}
