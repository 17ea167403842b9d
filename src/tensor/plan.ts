/**
 * Memory of a program: which tensors are alive when, and which of them share a buffer. Needs no GPU.
 *
 * A tensor lives from the first command that touches it to the last. Tensors whose lives do not overlap share a slot (one
 * buffer); so do small ones that live side by side in a large slot. Slots are found by decreasing size (Pisarchyk & Lee
 * 2020, arXiv:2001.03288, "greedy by size for shared objects"), so that a slot never grows; those of logits are found first
 * and are open to everybody while there are no logits. Of two tensors in one slot no command reads one and writes the
 * other: WebGPU forbids to read and write one buffer in a dispatch.
 */
import { bufferSize } from '../gpu/device.ts';
import { type Bytes, CATEGORIES, type Category, noBytes } from '../gpu/ledger.ts';
import { bytesOf, type Tensor } from '../kernels/define.ts';
import { invariant } from '../platform/errors.ts';
import type { Trace } from './trace.ts';

/** Slots of one category, by decreasing bytes. */
export type SlotSizes = Readonly<Partial<Record<Category, readonly number[]>>>;

/** Where a tensor lies: in which slot, and how many bytes after its beginning. */
export interface SlotPlace {
  readonly category: Category;
  readonly slot: number;
  readonly offset: number;
}

/** A tensor that a program makes, with its place. */
export interface Tenant extends SlotPlace {
  readonly tensor: Tensor;
  readonly bytes: number;
  /** The first and the last command that touch it. */
  readonly first: number;
  readonly last: number;
}

export interface Plan {
  readonly slots: SlotSizes;
  /** The tensors that the program makes, in the order in which they are touched first. */
  readonly tenants: readonly Tenant[];
  /** The place of each of them, by id. */
  readonly slotOf: ReadonlyMap<number, SlotPlace>;
  /** Tensors that must be there before the program runs. */
  readonly persistent: readonly Tensor[];
}

type Life = Omit<Tenant, keyof SlotPlace>;

interface Slot {
  readonly category: Category;
  readonly slot: number;
  readonly bytes: number;
  readonly tenants: Tenant[];
}

/** Ranges are bound at multiples of this. */
const ALIGNMENT = 256;

/** Plans a program into slots of its own. */
export function planProgram(trace: Trace): Plan {
  const { lives, persistent, clashes } = livesOf(trace);
  const slots: Slot[] = [];
  const sizes: Partial<Record<Category, number[]>> = {};
  const add = ({ tensor: { category }, bytes }: Life): Slot => {
    sizes[category] ??= [];
    const slot = { category, slot: sizes[category].push(bytes) - 1, bytes, tenants: [] };
    slots.push(slot);
    return slot;
  };
  const placed = new Map<Life, Tenant>();
  for (const category of [...CATEGORIES].sort((a, b) => Number(b === 'logits') - Number(a === 'logits'))) {
    const members = lives.filter(({ tensor }) => tensor.category === category);
    members.sort((a, b) => b.bytes - a.bytes || a.first - b.first);
    for (const life of members) {
      let offset = 0;
      const home = slots.find((slot) => {
        offset = placeIn(slot, life, clashes);
        return offset >= 0;
      });
      const slot = home ?? add(life);
      const tenant = { ...life, category: slot.category, slot: slot.slot, offset: home ? offset : 0 };
      slot.tenants.push(tenant);
      placed.set(life, tenant);
    }
  }
  return toPlan(
    sizes,
    lives.map((life) => placed.get(life) as Tenant),
    persistent,
  );
}

/**
 * Plans a program as one of the same structure and of larger shapes was planned, so that it needs no more memory; it may
 * make fewer logits. Null when the two differ in more than that.
 */
export function planLike(trace: Trace, { slots, tenants }: Plan): Plan | null {
  const { lives, persistent, clashes } = livesOf(trace);
  const models = { logits: [] as Tenant[], others: [] as Tenant[] };
  for (const tenant of tenants) models[tenant.tensor.category === 'logits' ? 'logits' : 'others'].push(tenant);
  const next = { logits: 0, others: 0 };
  const placed: Tenant[] = [];
  for (const life of lives) {
    const kind = life.tensor.category === 'logits' ? 'logits' : 'others';
    const model = models[kind][next[kind]++];
    if (!model || model.tensor.category !== life.tensor.category || model.bytes < life.bytes) return null;
    placed.push({ ...life, category: model.category, slot: model.slot, offset: model.offset });
  }
  if (next.others !== models.others.length) return null;
  const bySlot = new Map<string, Tenant[]>();
  for (const tenant of placed) {
    const slot = `${tenant.category} ${tenant.slot}`;
    const others = bySlot.get(slot) ?? [];
    if (others.some((other) => areAtOdds(tenant, other, clashes))) return null;
    others.push(tenant);
    bySlot.set(slot, others);
  }
  return toPlan(slots, placed, persistent);
}

function toPlan(slots: SlotSizes, tenants: readonly Tenant[], persistent: readonly Tensor[]): Plan {
  const slotOf = tenants.map(({ tensor, category, slot, offset }) => [tensor.id, { category, slot, offset }] as const);
  return { slots, tenants, slotOf: new Map(slotOf), persistent };
}

interface Lives {
  /** Of the tensors that the program makes, by the first command that touches them. */
  readonly lives: readonly Life[];
  readonly persistent: readonly Tensor[];
  /** Ids of the tensors that some command reads while it writes a given one, and the other way round. */
  readonly clashes: ReadonlyMap<number, ReadonlySet<number>>;
}

function livesOf({ commands, transients }: Trace): Lives {
  const lives = new Map<number, { tensor: Tensor; bytes: number; first: number; last: number }>();
  const persistent = new Map<number, Tensor>();
  const clashes = new Map<number, Set<number>>();
  const clash = (a: number, b: number) => clashes.set(a, (clashes.get(a) ?? new Set()).add(b));
  commands.forEach((command, index) => {
    for (const tensor of command.tensors) {
      if (!transients.has(tensor.id)) persistent.set(tensor.id, tensor);
      else {
        const life = lives.get(tensor.id);
        if (life) life.last = index;
        else lives.set(tensor.id, { tensor, bytes: Math.max(16, bytesOf(tensor)), first: index, last: index });
      }
    }
    if (command.kind === 'clear') return;
    for (const { id: read } of command.tensors.slice(0, command.written)) {
      for (const { id: written } of command.tensors.slice(command.written)) {
        clash(read, written);
        clash(written, read);
      }
    }
  });
  return { lives: [...lives.values()], persistent: [...persistent.values()], clashes };
}

const meet = (a: Life, b: Life) => a.first <= b.last && b.first <= a.last;

/** The first free offset of a slot for a tensor, -1 when there is none. */
function placeIn({ bytes, tenants }: Slot, life: Life, clashes: Lives['clashes']): number {
  if (life.bytes > bytes) return -1;
  const neighbours = tenants.filter((other) => meet(other, life));
  const enemies = clashes.get(life.tensor.id);
  if (neighbours.some(({ tensor }) => enemies?.has(tensor.id))) return -1;
  let offset = 0;
  for (const other of neighbours.sort((a, b) => a.offset - b.offset)) {
    if (offset + life.bytes <= other.offset) break;
    offset = Math.max(offset, Math.ceil((other.offset + other.bytes) / ALIGNMENT) * ALIGNMENT);
  }
  return offset + life.bytes <= bytes ? offset : -1;
}

/** Whether two tensors cannot lie where they do, in one slot. */
function areAtOdds(a: Tenant, b: Tenant, clashes: Lives['clashes']): boolean {
  if (!meet(a, b)) return false;
  const overlap = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
  return overlap || (clashes.get(a.tensor.id)?.has(b.tensor.id) ?? false);
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
