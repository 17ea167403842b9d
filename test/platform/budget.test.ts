/** The memory of an adapter, from recorded answers of the tools that know it. */
import { describe, expect, test } from 'vitest';
import { findMemory, runTool, type Surroundings } from '../../src/platform/nodeBudget.ts';

const GIB = 2 ** 30;
const MIB = 2 ** 20;

/** A machine on which nothing is known, but for what is given. */
function machine(known: Partial<Omit<Surroundings, 'run'>> & { tools?: Record<string, string | null> } = {}) {
  const asked: string[] = [];
  const { tools = {}, ...rest } = known;
  const surroundings: Surroundings = {
    system: 'linux',
    run: async (file) => {
      asked.push(file);
      return tools[file] ?? null;
    },
    readText: async () => null,
    list: async () => [],
    graphics: async () => ({ controllers: [], displays: [] }),
    freeMemory: () => 12 * GIB,
    totalMemory: () => 16 * GIB,
    ...rest,
  };
  return { asked, surroundings };
}

const find = (name: string, known: Parameters<typeof machine>[0] = {}) =>
  findMemory({ name, software: false }, machine(known).surroundings);
const mib = (count: number) => Math.floor(count * MIB * 0.95);

const SMI = 'GPU-1f2e, 00000000:01:00.0, NVIDIA GeForce RTX 4060, 8188, 7807\n';
const TWO = `GPU-aa, 00000000:01:00.0, NVIDIA GeForce RTX 3090, 24576, 24200
GPU-bb, 00000000:02:00.0, NVIDIA GeForce RTX 3060, 12288, 11900
`;
const TWINS = `GPU-aa, 00000000:01:00.0, NVIDIA GeForce RTX 3060, 12288, 11900
GPU-bb, 00000000:02:00.0, NVIDIA GeForce RTX 3060, 12288, 4100
`;
const VULKANINFO = `==========
VULKANINFO
==========

Device Properties and Extensions:
=================================
GPU0:
VkPhysicalDeviceProperties:
---------------------------
	apiVersion        = 1.3.289 (4206881)
	deviceName        = Intel(R) Arc(tm) A770 Graphics (DG2)

VkPhysicalDeviceMemoryProperties:
=================================
memoryHeaps: count = 2
	memoryHeaps[0]:
		size   = 17079205888 (0x3fa000000) (15.91 GiB)
		budget = 15371285299 (0x394333333) (14.32 GiB)
		usage  = 1073741824 (0x40000000) (1.00 GiB)
		flags: count = 1
			MEMORY_HEAP_DEVICE_LOCAL_BIT
	memoryHeaps[1]:
		size   = 33554432000 (0x7d0000000) (31.25 GiB)
		budget = 30198988800 (0x708000000) (28.12 GiB)
		usage  = 0 (0x00000000) (0.00 B)
		flags:
			None

GPU1:
VkPhysicalDeviceProperties:
---------------------------
	deviceName        = llvmpipe (LLVM 15.0.6, 256 bits)
memoryHeaps: count = 1
	memoryHeaps[0]:
		size   = 25232932864 (0x5e0000000) (23.50 GiB)
		flags: count = 1
			MEMORY_HEAP_DEVICE_LOCAL_BIT
`;

describe('nvidia-smi', () => {
  test('the card of that name', async () => {
    expect(await find('NVIDIA GeForce RTX 4060', { tools: { 'nvidia-smi': SMI } })).toEqual({
      bytes: mib(7807),
      source: '95 % of what nvidia-smi says is free',
    });
    const two = { tools: { 'nvidia-smi': TWO } };
    expect((await find('NVIDIA GeForce RTX 3060', two)).bytes).toBe(mib(11900));
    expect((await find('GeForce RTX 3090', two)).bytes).toBe(mib(24200));
  });

  test('of twins the fullest one', async () => {
    expect(await find('NVIDIA GeForce RTX 3060', { tools: { 'nvidia-smi': TWINS } })).toEqual({
      bytes: mib(4100),
      source: '95 % of what nvidia-smi says is free, the fullest of 2 cards named NVIDIA GeForce RTX 3060',
    });
  });

  test('a 3060 Ti is no 3060, and an Intel adapter none of them', async () => {
    const tools = { 'nvidia-smi': SMI.replace('4060', '3060'), vulkaninfo: VULKANINFO };
    expect(await find('NVIDIA GeForce GTX 1060', { tools })).toMatchObject({ guess: true });
    expect((await find('Intel(R) Arc(tm) A770 Graphics (DG2)', { tools })).source).toMatch(/vulkaninfo/);
  });

  test.each([
    ['nothing', null],
    ['an error page', 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.\n'],
    ['no numbers', 'GPU-1f2e, 00000000:01:00.0, NVIDIA GeForce RTX 4060, [N/A], [N/A]\n'],
    ['more free than there is', 'GPU-1f2e, 00000000:01:00.0, NVIDIA GeForce RTX 4060, 8188, 99999999\n'],
    ['negative', 'GPU-1f2e, 00000000:01:00.0, NVIDIA GeForce RTX 4060, -1, -1\n'],
    ['bytes of a program', `\u007fELF\u0000\u0001${'\u0000'.repeat(100)}`],
    ['empty cells', ',,,,\n,\n'],
  ])('%s: the next one is asked', async (_, text) => {
    expect(await find('NVIDIA GeForce RTX 4060', { tools: { 'nvidia-smi': text } })).toMatchObject({ guess: true });
  });
});

describe('the amdgpu driver', () => {
  const files: Record<string, string> = {
    '/sys/class/drm/card1/device/mem_info_vram_total': '8573157376\n',
    '/sys/class/drm/card1/device/mem_info_vram_used': '573157376\n',
    '/sys/class/drm/card2/device/mem_info_vram_total': 'garbage\n',
  };
  const known = {
    list: async () => ['card0', 'card1', 'card1-DP-1', 'card2', 'renderD128', 'version'],
    readText: async (path: string) => files[path] ?? null,
  };

  test('total less used, for an adapter of AMD', async () => {
    expect(await find('AMD Radeon RX 6600 (RADV NAVI23)', known)).toEqual({
      bytes: 8e9 * 0.95,
      source: '95 % of what the amdgpu driver says is free',
    });
  });

  test('says nothing about others', async () => {
    expect(await find('NVIDIA GeForce RTX 4060', known)).toMatchObject({ guess: true });
  });
});

describe('systeminformation', () => {
  const controllers = [
    { vendor: 'Intel', model: 'UHD Graphics 770', vram: 128, vramDynamic: true },
    { vendor: 'NVIDIA', model: 'NVIDIA GeForce GTX 1660', vram: 6144, vramDynamic: false, memoryFree: 5800 },
    { vendor: 'AMD', model: 'Radeon Pro 5500M', vram: 4096, vramDynamic: false },
    { model: null, vram: 'many' },
  ];
  const known = { graphics: async () => ({ controllers }), system: 'win32' };

  test('free memory where it is told, else all', async () => {
    expect((await find('NVIDIA GeForce GTX 1660', known)).bytes).toBe(mib(5800));
    expect((await find('AMD Radeon Pro 5500M', known)).bytes).toBe(mib(4096));
  });

  test('memory that is shared with the system is not that of the adapter', async () => {
    expect(await find('Intel(R) UHD Graphics 770', known)).toMatchObject({ guess: true });
  });

  test('fails: the next one is asked', async () => {
    const fails = {
      graphics: async () => {
        throw new Error('no such file');
      },
      tools: { vulkaninfo: VULKANINFO },
    };
    expect((await find('Intel(R) Arc(tm) A770 Graphics (DG2)', fails)).source).toMatch(/vulkaninfo/);
  });
});

test('vulkaninfo: the budget of the largest local heap, less what is used', async () => {
  const { bytes } = await find('Intel(R) Arc(tm) A770 Graphics (DG2)', { tools: { vulkaninfo: VULKANINFO } });
  expect(bytes).toBe(Math.floor((15371285299 - 1073741824) * 0.95));
});

describe('a guess', () => {
  test('is careful, and says what it is', async () => {
    expect(await find('Mystery GPU')).toEqual({
      bytes: 4 * GIB,
      source: 'a guess: no tool knows the memory of this adapter',
      guess: true,
    });
    expect((await find('Mystery GPU', { freeMemory: () => 2 * GIB })).bytes).toBe(GIB);
  });

  test('on a Mac is a share of the unified memory', async () => {
    expect(await find('Apple M2', { system: 'darwin' })).toEqual({
      bytes: Math.floor(16 * GIB * 0.6),
      source: '60 % of the unified memory',
    });
  });
});

describe('a software adapter', () => {
  const software = (known: Parameters<typeof machine>[0]) => {
    const { asked, surroundings } = machine(known);
    return { asked, found: findMemory({ name: 'llvmpipe', software: true }, surroundings) };
  };

  test('takes half of the free main memory, and asks no tool', async () => {
    const { asked, found } = software({ readText: async () => 'MemTotal: 9 kB\nMemAvailable:    8388608 kB\n' });
    expect((await found).bytes).toBe(4 * GIB);
    expect(asked).toEqual([]);
  });

  test('takes no more than its container has left', async () => {
    const files: Record<string, string> = {
      '/proc/meminfo': 'MemAvailable:    8388608 kB\n',
      '/sys/fs/cgroup/memory.max': `${3 * GIB}\n`,
      '/sys/fs/cgroup/memory.current': `${GIB}\n`,
    };
    expect((await software({ readText: async (path) => files[path] ?? null }).found).bytes).toBe(GIB);
    files['/sys/fs/cgroup/memory.max'] = 'max\n';
    expect((await software({ readText: async (path) => files[path] ?? null }).found).bytes).toBe(4 * GIB);
  });
});

describe('runTool', () => {
  test('gives what a program prints', async () => {
    expect(await runTool(process.execPath, ['-e', 'console.log(7)'])).toBe('7\n');
  });

  test('gives null for one that is missing, fails or hangs', async () => {
    expect(await runTool('no-such-program-anywhere', [])).toBeNull();
    expect(await runTool(process.execPath, ['-e', 'console.log(7); process.exit(3)'])).toBeNull();
    const started = performance.now();
    expect(await runTool(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], 500)).toBeNull();
    expect(performance.now() - started).toBeLessThan(5000);
  });
});
