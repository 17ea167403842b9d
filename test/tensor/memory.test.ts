import { describe, expect, test } from 'vitest';
import { sumBytes } from '../../src/gpu/ledger.ts';
import { shardsOf, type Tensor } from '../../src/kernels/define.ts';
import { download, Memory, upload } from '../../src/tensor/memory.ts';
import { randomArray, useGpu } from '../kernels/harness.ts';
import { limits as large } from '../kernels/traits.ts';

const gpu = useGpu();

const small = { ...large, bindingBytes: 1024, bufferBytes: 8192 };
const labels = (tensors: readonly Tensor[]) => tensors.map(({ label, shape }) => `${label} [${shape}]`);

describe('declared tensors', () => {
  test('bytes are known before there is a device, and are those that the ledger then counts', async () => {
    const memory = new Memory(gpu().limits);
    memory.declare('w', [33, 7], { dtype: 'bf16', category: 'weights' });
    memory.declare('odd', [3], { category: 'optimizer' });
    memory.declare('one', [1], { dtype: 'u32', category: 'staging' });
    memory.declare('none', [0], { category: 'logits' });
    const arena = memory.arena('adapters', 'adapters');
    for (const size of [1, 64, 65, 200]) arena.declare(`a${size}`, [size]);
    const planned = memory.bytes();
    expect(planned).toMatchObject({
      weights: 464,
      optimizer: 16,
      staging: 16,
      logits: 16,
      adapters: 256 + 256 + 512 + 1024,
    });
    const before = { ...gpu().ledger.live };
    await memory.allocate(gpu());
    const added = Object.fromEntries(
      Object.entries(gpu().ledger.live).map(([name, bytes]) => [name, bytes - before[name as 'weights']]),
    );
    expect(added).toEqual(planned);
    // What was declared since is all that a second call makes.
    memory.declare('late', [4]);
    await memory.allocate(gpu());
    expect(sumBytes(gpu().ledger.live)).toBe(sumBytes(memory.bytes()));
    memory.close(gpu());
    await gpu().collect();
    expect(sumBytes(gpu().ledger.live)).toBe(0);
  });

  test('a matrix larger than one binding is split by rows', () => {
    const memory = new Memory(small);
    const whole = memory.declare('whole', [16, 16]);
    expect(whole.shards).toBeUndefined();
    const split = memory.declare('split', [40, 16], { category: 'weights', requiresGrad: true });
    expect(labels(split.shards ?? [])).toEqual(['split.0 [16,16]', 'split.1 [16,16]', 'split.2 [8,16]']);
    expect(shardsOf(split).map(({ start, rows }) => [start, rows])).toEqual([
      [0, 16],
      [16, 16],
      [32, 8],
    ]);
    expect(split.shards?.every(({ requiresGrad, category }) => requiresGrad && category === 'weights')).toBe(true);
    // Many small rows are split at a multiple of 64, so that products of the parts keep whole tiles.
    expect(labels(memory.declare('tall', [300, 2], { dtype: 'f32' }).shards ?? [])).toEqual([
      'tall.0 [128,2]',
      'tall.1 [128,2]',
      'tall.2 [44,2]',
    ]);
    // Packed rows of an odd length begin in the middle of a word, so a part begins at an even row.
    expect(labels(memory.declare('odd', [9, 101], { dtype: 'bf16' }).shards ?? [])).toEqual([
      'odd.0 [4,101]',
      'odd.1 [4,101]',
      'odd.2 [1,101]',
    ]);
    expect(memory.bytes().weights).toBe(40 * 16 * 4);
  });

  test('what cannot be split is refused by name', () => {
    expect(() => new Memory(small).declare('long', [1025])).toThrow('long [1025] is larger than one binding');
    expect(() => new Memory(small).declare('wide', [2, 1000])).toThrow('wide [2, 1000]');
  });

  test('values go to the parts and come back whole', async () => {
    const memory = new Memory({ ...gpu().limits, bindingBytes: 1024 });
    const values = randomArray(40 * 16, 1);
    const split = memory.declare('split', [40, 16]);
    const halves = memory.declare('halves', [9, 101], { dtype: 'f16' });
    const words = Uint32Array.from({ length: Math.ceil((9 * 101) / 2) }, (_, i) => i * 65537);
    await memory.allocate(gpu());
    upload(gpu(), memory, split, values);
    upload(gpu(), memory, halves, words);
    expect(new Float32Array(await download(gpu(), memory, split))).toEqual(values);
    expect(new Uint32Array(await download(gpu(), memory, halves))).toEqual(words);
    memory.close(gpu());
    await gpu().collect();
  });

  test('freeing one tensor gives back its buffers alone', async () => {
    const memory = new Memory({ ...gpu().limits, bindingBytes: 1024 });
    const [split, other] = [memory.declare('split', [40, 16]), memory.declare('other', [4])];
    await memory.allocate(gpu());
    memory.free(gpu(), [split]);
    memory.free(gpu(), [split]);
    await gpu().collect();
    expect([gpu().ledger.count, sumBytes(gpu().ledger.live), sumBytes(memory.bytes())]).toEqual([1, 16, 16]);
    expect([memory.has(split.shards![0]!), memory.has(other)]).toEqual([false, true]);
    memory.close(gpu());
    await gpu().collect();
  });

  test('a memory finds what its parent holds, and frees only its own', async () => {
    const parent = new Memory(gpu().limits);
    const child = new Memory(gpu().limits, parent);
    const [above, own] = [parent.declare('above', [4]), child.declare('own', [4])];
    await parent.allocate(gpu());
    await child.allocate(gpu());
    expect([child.has(above), child.has(own), parent.has(own)]).toEqual([true, true, false]);
    expect(child.locate(above)).toEqual(parent.locate(above));
    child.close(gpu());
    await gpu().collect();
    expect(gpu().ledger.count).toBe(1);
    parent.close(gpu());
    await gpu().collect();
  });
});

describe('arenas', () => {
  test('tensors lie side by side at multiples of 256 bytes, in buffers of at most one binding', async () => {
    const memory = new Memory({ ...gpu().limits, bindingBytes: 1024 });
    const arena = memory.arena('adapters', 'adapters');
    const tensors = [60, 64, 65, 1, 256, 3].map((size) => arena.declare(`t${size}`, [size]));
    expect(arena.chunks.map(({ shape }) => shape[0])).toEqual([256, 64, 256, 64]);
    expect(arena.chunks).toEqual(arena.chunks);
    await memory.allocate(gpu());
    const places = tensors.map((tensor) => memory.locate(tensor));
    expect(places.map(({ offset, size }) => [offset, size])).toEqual([
      [0, 240],
      [256, 256],
      [512, 260],
      [0, 4],
      [0, 1024],
      [0, 12],
    ]);
    expect(
      places.map(({ buffer }) => arena.chunks.findIndex((chunk) => memory.locate(chunk).buffer === buffer)),
    ).toEqual([0, 0, 0, 1, 2, 3]);
    expect(gpu().ledger.count).toBe(4);
    // A chunk is a view of all that lies in it.
    upload(gpu(), memory, tensors[1]!, new Float32Array(64).fill(3));
    const chunk = new Float32Array(await download(gpu(), memory, arena.chunks[0]!));
    expect([chunk[63], chunk[64], chunk[127], chunk[128]]).toEqual([0, 3, 3, 0]);
    memory.close(gpu());
    await gpu().collect();
  });

  test('arenas declared in the same order have the same layout', () => {
    const memory = new Memory(small);
    const shapes = [[3, 5], [40, 16], [7], [200], [64, 2]];
    const arenas = ['p', 'm', 'v'].map((label) => {
      const arena = memory.arena(label, 'optimizer');
      const tensors = shapes.map((shape) => arena.declare(label, shape));
      return {
        chunks: arena.chunks.map(({ shape }) => shape[0]),
        parts: tensors.map(({ shards }) => shards?.length ?? 1),
      };
    });
    expect(arenas[1]).toEqual(arenas[0]);
    expect(arenas[2]).toEqual(arenas[0]);
    expect(arenas[0]?.parts).toEqual([1, 3, 1, 1, 1]);
  });

  test('stay within a buffer that is smaller than a binding, and no multiple of 256', () => {
    const memory = new Memory({ ...small, bindingBytes: 4096, bufferBytes: 1000 });
    const arena = memory.arena('p', 'adapters');
    for (let i = 0; i < 3; i++) arena.declare(`t${i}`, [100]);
    arena.declare('split', [300, 1]);
    for (const { shape } of arena.chunks) expect((shape[0] ?? 0) * 4).toBeLessThanOrEqual(1000);
    expect(memory.bytes().adapters % 256).toBe(0);
  });

  test('an arena of nothing has no chunks', () => {
    expect(new Memory(small).arena('empty', 'adapters').chunks).toEqual([]);
  });
});
