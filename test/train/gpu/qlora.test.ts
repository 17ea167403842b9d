/** Training over a quantised base: the same as over the numbers that quantisation left of it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Gpu } from '../../../src/gpu/device.ts';
import { writeCheckpoint } from '../../../src/model/checkpoint.ts';
import { bytesToF32, f32ToBytes } from '../../../src/model/dtype.ts';
import { exportBnb } from '../../../src/model/exportBnb.ts';
import { openModel } from '../../../src/model/modelFiles.ts';
import { type QuantizationOptions, quantizedValues } from '../../../src/model/quantization.ts';
import { openFolder, openStore } from '../../../src/platform/nodeFiles.ts';
import { readBytes } from '../../../src/platform/sources.ts';
import { memoryStore, saveFolder } from '../../../src/platform/stores.ts';
import { makeRows, readJson, TINY_LLAMA, TINY_QWEN2, type TinyRun, train, writeRandomModel } from './fixtures.ts';

const NF4 = { type: 'nf4', blockSize: 64, doubleQuant: true } as const;
const INT8 = { type: 'int8', blockSize: 64, doubleQuant: false } as const;

/** The folder with the weights of its linear layers as they are after quantisation, in float32. */
async function dequantized(path: string, to: string, options: QuantizationOptions): Promise<string> {
  const files = await openModel(await openFolder(path));
  const tensors = [...files.checkpoint.tensors.values()].map(({ name, shape, source, offset, length }) => ({
    name,
    dtype: 'F32' as const,
    shape,
    async *bytes() {
      const values = bytesToF32(await source.read(offset, length), 'F32');
      const linear = name.endsWith('_proj.weight');
      yield f32ToBytes(linear ? quantizedValues(values, shape[1]!, options) : values, 'F32');
    },
  }));
  await saveFolder(await openStore(dirname(to)), basename(to), async (staged) => {
    await staged.write('config.json', await readBytes(files.folder, 'config.json'));
    await writeCheckpoint(staged, tensors);
  });
  await files.checkpoint.close();
  return to;
}

describe('training over a quantised base', () => {
  let root: string;
  let gpu: Gpu;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'sft-qlora-'));
    gpu = await Gpu.open();
  });
  afterAll(async () => {
    await gpu.close();
    await rm(root, { recursive: true });
  });

  const losses = async (run: Pick<TinyRun, 'model' | 'mode' | 'quantization'>) => {
    const store = memoryStore();
    const events = await train({ gpu, store, rows: makeRows(16), train: { max_steps: 8 }, ...run });
    const steps = events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));
    const backend = await readJson<{ quantization: string | null }>(store, 'backend.json');
    expect(steps.length).toBe(8);
    return { steps, quantization: backend.quantization };
  };

  const expectSame = (got: readonly number[], wanted: readonly number[]) => {
    expect(new Set(wanted).size).toBe(8);
    for (const [step, loss] of got.entries())
      expect(Math.abs(loss / wanted[step]! - 1), `step ${step}`).toBeLessThan(1e-4);
  };

  for (const [kind, config] of [
    ['llama', TINY_LLAMA],
    ['qwen2', TINY_QWEN2],
  ] as const) {
    it(`${kind}: losses of qlora, of a base that is in 4 bits already, and of int8`, async () => {
      const model = await writeRandomModel(join(root, kind), config);
      const wanted = await losses({ model: await dequantized(model, join(root, `${kind}-nf4`), NF4) });
      expect(wanted.quantization).toBeNull();
      const qlora = await losses({ model, mode: 'qlora' });
      expect(qlora.quantization).toBe('nf4');
      expectSame(qlora.steps, wanted.steps);

      const files = await openModel(await openFolder(model));
      const store = await openStore(root);
      await saveFolder(store, `${kind}-bnb`, (staged) => exportBnb(files, staged, NF4));
      await files.checkpoint.close();
      const stored = await losses({ model: join(root, `${kind}-bnb`), mode: 'lora' });
      expect(stored.quantization).toBe('nf4');
      expect(stored.steps).toEqual(qlora.steps);

      const int8 = await losses({ model, mode: 'lora', quantization: { type: 'int8' } });
      expect(int8.quantization).toBe('int8');
      expectSame(int8.steps, (await losses({ model: await dequantized(model, join(root, `${kind}-8`), INT8) })).steps);
    });
  }
});
