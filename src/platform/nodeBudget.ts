/**
 * How much memory an adapter has for a run. WebGPU does not say, so the tools of the system are asked, one after the other.
 * Each of them may be missing, print nonsense or hang; then the next one is asked, and in the end there is a guess.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { freemem, platform, totalmem } from 'node:os';
import type { MemoryFinding } from './types.ts';

/** What detection asks of the machine; tests give recorded answers. */
export interface Surroundings {
  /** `process.platform`. */
  readonly system: string;
  /** What a program prints, null when it is missing, fails or is too slow. */
  readonly run: (file: string, args: readonly string[]) => Promise<string | null>;
  /** A small text file, null when it cannot be read. */
  readonly readText: (path: string) => Promise<string | null>;
  /** Names in a folder, none when it cannot be read. */
  readonly list: (path: string) => Promise<readonly string[]>;
  /** `graphics()` of the package systeminformation. */
  readonly graphics: () => Promise<unknown>;
  /** Bytes of main memory. */
  readonly freeMemory: () => number;
  readonly totalMemory: () => number;
}

const MIB = 2 ** 20;
const TOOL_MS = 5000;
/** Of what is free, what a run may take: drivers and the desktop need some, and memory is lost between buffers. */
const SHARE_OF_FREE = 0.95;
/** Main memory is also that of this process and of all others. */
const SHARE_OF_MAIN = 0.5;
/** Of Apple's unified memory, what Metal recommends to use at most is two thirds or more. */
const SHARE_OF_UNIFIED = 0.6;
const GUESS = 4 * 2 ** 30;

/** A card as a tool describes it, in bytes. */
interface Card {
  readonly name: string;
  readonly free: number;
}

/** Bytes that a run may take on an adapter, and how that is known. */
export async function findMemory(
  adapter: { readonly name: string; readonly software: boolean },
  surroundings: Surroundings = machine,
): Promise<MemoryFinding> {
  const main = await freeMain(surroundings);
  if (adapter.software) {
    return { bytes: Math.floor(main * SHARE_OF_MAIN), source: 'half of the free main memory, where the adapter runs' };
  }
  const tools: readonly (readonly [string, (s: Surroundings) => Promise<readonly Card[]>])[] = [
    ['nvidia-smi', nvidiaCards],
    ['the amdgpu driver', amdCards],
    ['systeminformation', controllerCards],
    ['vulkaninfo', vulkanCards],
  ];
  for (const [tool, ask] of tools) {
    const cards = await inTime(ask(surroundings)).catch(() => []);
    const named = (cards ?? []).filter(({ name, free }) => isSameCard(name, adapter.name) && free > 0);
    const [first] = named;
    if (!first) continue;
    // Cards of one name cannot be told apart: the fullest one is what can be relied on.
    const free = Math.min(...named.map((card) => card.free));
    const which = named.length > 1 ? `, the fullest of ${named.length} cards named ${first.name}` : '';
    return { bytes: Math.floor(free * SHARE_OF_FREE), source: `95 % of what ${tool} says is free${which}` };
  }
  if (surroundings.system === 'darwin') {
    const bytes = Math.floor(surroundings.totalMemory() * SHARE_OF_UNIFIED);
    return { bytes, source: '60 % of the unified memory' };
  }
  const bytes = Math.floor(Math.min(GUESS, main * SHARE_OF_MAIN));
  return { bytes, source: 'a guess: no tool knows the memory of this adapter', guess: true };
}

/** Whether a tool's name for a card means the adapter: one contains the other, vendors and punctuation left out. */
function isSameCard(card: string, adapter: string): boolean {
  const plain = (name: string) =>
    name
      .toLowerCase()
      .replace(/\(.*?\)|\b(nvidia|amd|ati|intel|corporation|inc|advanced micro devices|graphics|series)\b/g, ' ')
      .replace(/[^a-z0-9]+/g, ' ')
      .trim();
  const [a, b] = [plain(card), plain(adapter)];
  return a !== '' && b !== '' && (a === b || ` ${a} `.includes(` ${b} `) || ` ${b} `.includes(` ${a} `));
}

async function nvidiaCards({ run }: Surroundings): Promise<readonly Card[]> {
  const query = '--query-gpu=uuid,pci.bus_id,name,memory.total,memory.free';
  const text = await run('nvidia-smi', [query, '--format=csv,noheader,nounits']);
  return (text ?? '').split('\n').flatMap((line) => {
    const [uuid = '', , name = '', total = '', free = ''] = line.split(',').map((cell) => cell.trim());
    const known = uuid.startsWith('GPU-') && /^\d+$/.test(total) && /^\d+$/.test(free) && Number(free) <= Number(total);
    return known ? [{ name, free: Number(free) * MIB }] : [];
  });
}

/** The driver's files carry no name that a person would know; they speak for any adapter of AMD. */
async function amdCards({ system, list, readText }: Surroundings): Promise<readonly Card[]> {
  if (system !== 'linux') return [];
  const root = '/sys/class/drm';
  const folders = (await list(root)).filter((name) => /^card\d+$/.test(name));
  const cards = await Promise.all(
    folders.map(async (folder) => {
      const number = async (file: string) => {
        const text = (await readText(`${root}/${folder}/device/${file}`))?.trim() ?? '';
        return /^\d+$/.test(text) ? Number(text) : Number.NaN;
      };
      return (await number('mem_info_vram_total')) - (await number('mem_info_vram_used'));
    }),
  );
  return cards.filter((free) => free > 0).map((free) => ({ name: 'Radeon', free }));
}

async function controllerCards({ graphics }: Surroundings): Promise<readonly Card[]> {
  const { controllers } = ((await graphics()) ?? {}) as { controllers?: readonly Record<string, unknown>[] };
  return (controllers ?? []).flatMap(({ name, model, memoryFree, vram, vramDynamic }) => {
    const mib = [memoryFree, vram].find((value) => typeof value === 'number' && value > 0) as number | undefined;
    const title = [name, model].find((value) => typeof value === 'string' && value !== '') as string | undefined;
    return mib === undefined || title === undefined || vramDynamic === true ? [] : [{ name: title, free: mib * MIB }];
  });
}

/** Heaps as `vulkaninfo` prints them: for each device a name, and heaps with size, budget and flags. */
async function vulkanCards({ run }: Surroundings): Promise<readonly Card[]> {
  const text = (await run('vulkaninfo', [])) ?? '';
  return text.split(/^GPU\d+:$/m).flatMap((section) => {
    const name = /^\s*deviceName\s*=\s*(.+)$/m.exec(section)?.[1]?.trim();
    const heaps = section.split(/memoryHeaps\[\d+\]:/).slice(1);
    const sizes = heaps.filter((heap) => heap.includes('MEMORY_HEAP_DEVICE_LOCAL_BIT')).map(heapBytes);
    const free = Math.max(0, ...sizes);
    return name === undefined || free === 0 ? [] : [{ name, free }];
  });
}

/** What a heap has left for this process; its size where the driver keeps no budget. */
function heapBytes(heap: string): number {
  const number = (key: string) => Number(new RegExp(`\\b${key}\\s*=\\s*(\\d+)`).exec(heap)?.[1] ?? 0);
  const [size, budget, usage] = [number('size'), number('budget'), number('usage')];
  return budget > 0 ? Math.max(0, Math.min(size, budget - usage)) : size;
}

/** Main memory that can be had, as far as the container of this process allows. */
async function freeMain({ system, readText, freeMemory }: Surroundings): Promise<number> {
  if (system !== 'linux') return freeMemory();
  const info = await readText('/proc/meminfo');
  const available = Number(/^MemAvailable:\s+(\d+) kB$/m.exec(info ?? '')?.[1] ?? 0) * 1024 || freeMemory();
  const number = async (file: string) => Number((await readText(`/sys/fs/cgroup/${file}`))?.trim() || Number.NaN);
  const left = (await number('memory.max')) - (await number('memory.current'));
  return Number.isFinite(left) ? Math.min(available, Math.max(0, left)) : available;
}

/** Gives up on an answer that does not come. */
async function inTime<T>(answer: Promise<T>): Promise<T | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), 2 * TOOL_MS);
    timer.unref();
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a program that must be done in a few seconds. */
export function runTool(file: string, args: readonly string[], timeout = TOOL_MS): Promise<string | null> {
  return new Promise((resolve) => {
    const options = { timeout, killSignal: 'SIGKILL', maxBuffer: 16 * MIB, windowsHide: true } as const;
    execFile(file, [...args], options, (error, stdout) => resolve(error ? null : stdout)).on('error', () =>
      resolve(null),
    );
  });
}

const machine: Surroundings = {
  system: platform(),
  run: runTool,
  readText: (path) => readFile(path, 'utf8').catch(() => null),
  list: (path) => readdir(path).catch(() => []),
  graphics: async () => (await import('systeminformation')).graphics(),
  freeMemory: freemem,
  totalMemory: totalmem,
};
