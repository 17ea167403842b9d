/** Folding an adapter into a base that was quantised while it was trained. */
import { describe, expect, it } from 'vitest';
import { readDequantized } from '../../src/model/bnb.ts';
import { Decoder } from '../../src/model/decoder.ts';
import { bytesToF32, type FloatDtype } from '../../src/model/dtype.ts';
import { exportBnb } from '../../src/model/exportBnb.ts';
import { type MergeOptions, mergeAdapter } from '../../src/model/merge.ts';
import { type ModelFiles, openModel } from '../../src/model/modelFiles.ts';
import { Parameters } from '../../src/model/parameters.ts';
import { writeAdapter } from '../../src/model/peft.ts';
import { type QuantizationOptions, quantizedValues } from '../../src/model/quantization.ts';
import { MERGE_FILE } from '../../src/model/recordFiles.ts';
import { randomStream } from '../../src/platform/random.ts';
import { readText } from '../../src/platform/sources.ts';
import { memoryStore, saveFolder } from '../../src/platform/stores.ts';
import type { ReadableFolder } from '../../src/platform/types.ts';
import { Memory } from '../../src/tensor/memory.ts';
import { limits } from '../kernels/traits.ts';
import { TINY_LLAMA } from '../train/gpu/fixtures.ts';
import { randomFolder } from './checkpoints.ts';

const NF4 = { type: 'nf4', blockSize: 64, doubleQuant: true } as const;
const UP = 'model.layers.1.mlp.up_proj';

/** An adapter of rank 2 on the up projections. */
async function adapterFolder(): Promise<ReadableFolder> {
  const next = randomStream(3, 0);
  const random = (count: number) => Float32Array.from({ length: count }, () => (next() / 2 ** 31 - 1) * 0.1);
  const weights = new Map(
    [0, 1].map((layer) => [`model.layers.${layer}.mlp.up_proj`, { A: random(2 * 48), B: random(72 * 2) }]),
  );
  const config = {
    base_model_name_or_path: 'base',
    revision: null,
    r: 2,
    lora_alpha: 4,
    lora_dropout: 0,
    target_modules: ['up_proj'],
    use_rslora: false,
    task_type: 'CAUSAL_LM',
  } as const;
  const store = memoryStore();
  await saveFolder(store, 'adapter', (staged) => writeAdapter(staged, config, weights));
  return store.folder('adapter');
}

async function merge(files: ModelFiles, options: MergeOptions) {
  const store = memoryStore();
  let report: Awaited<ReturnType<typeof mergeAdapter>> | null = null;
  await saveFolder(store, 'merged', async (staged) => {
    report = await mergeAdapter(files, await adapterFolder(), staged, options);
  });
  const folder = store.folder('merged');
  expect(JSON.parse(await readText(folder, MERGE_FILE))).toEqual(report);
  return { merged: await openModel(folder), report: report! as Awaited<ReturnType<typeof mergeAdapter>> };
}

async function valuesOf({ checkpoint }: ModelFiles, name: string): Promise<Float32Array> {
  const { source, offset, length, dtype } = checkpoint.tensors.get(name)!;
  return bytesToF32(await source.read(offset, length), dtype as FloatDtype);
}

const distance = (a: Float32Array, b: Float32Array) => Math.hypot(...a.map((value, i) => value - b[i]!));

describe('merging into a quantised base', () => {
  it.each([
    ['nf4', NF4],
    ['int8', { type: 'int8', blockSize: 64, doubleQuant: false }],
  ] as const)('%s: into the original weights or the dequantised ones', async (_, quantization: QuantizationOptions) => {
    const base = await openModel(await randomFolder(TINY_LLAMA, 'BF16'));
    const original = await merge(base, { dtype: 'float32', base: 'original', quantization });
    const dequantized = await merge(base, { dtype: 'float32', base: 'dequantized', quantization });
    const plain = await merge(base, { dtype: 'float32' });
    expect(plain.report).toMatchObject({ base_weights: 'original', quantization: null, weight_error: null });
    expect(original.report).toMatchObject({ base_weights: 'original', quantization: quantization.type });
    expect(dequantized.report.weight_error).toEqual(original.report.weight_error);
    const { weight_error } = dequantized.report;
    expect(weight_error!.dequantized).toBe(0);
    expect(weight_error!.original).toBeGreaterThan(quantization.type === 'nf4' ? 0.05 : 0.002);
    expect(weight_error!.original).toBeLessThan(quantization.type === 'nf4' ? 0.15 : 0.01);

    const parameters = new Parameters(new Memory(limits), { trained: null, storage: () => 'f32' });
    const linears = new Set(new Decoder(parameters, base.spec).linears.map(({ path }) => `${path}.weight`));
    let [difference, norm] = [0, 0];
    for (const [name, { shape }] of base.checkpoint.tensors) {
      const before = await valuesOf(base, name);
      const [into, from] = [await valuesOf(original.merged, name), await valuesOf(dequantized.merged, name)];
      expect(into).toEqual(await valuesOf(plain.merged, name));
      if (!linears.has(name)) {
        expect([into, from]).toEqual([before, before]);
        continue;
      }
      const quantized = quantizedValues(before, shape[1]!, quantization);
      // Both have the same added to them.
      const expected = from.map((value, i) => value + (before[i]! - quantized[i]!));
      expect(distance(into, expected)).toBeLessThan(1e-5);
      expect(distance(from, quantized) > 0.1).toBe(name.includes('up_proj'));
      difference += distance(into, from) ** 2;
      norm += distance(from, new Float32Array(from.length)) ** 2;
    }
    expect(weight_error!.original).toBeCloseTo(Math.sqrt(difference / norm), 6);
  });

  it('a base in 4 bits has dequantised weights only', async () => {
    const files = await openModel(await randomFolder(TINY_LLAMA, 'F16'));
    const store = memoryStore();
    await saveFolder(store, 'bnb', (staged) => exportBnb(files, staged, NF4));
    const bnb = await openModel(store.folder('bnb'));
    await expect(merge(bnb, { dtype: 'float16', base: 'original' })).rejects.toThrow(
      'expected original weights to merge into, got weights in 4 bits',
    );
    const { merged, report } = await merge(bnb, { dtype: 'float32' });
    const same = await merge(files, { dtype: 'float32', base: 'dequantized', quantization: NF4 });
    expect(report).toMatchObject({ base_weights: 'dequantized', quantization: 'nf4' });
    expect(report.weight_error).toEqual({ original: null, dequantized: 0 });
    expect(merged.config.quantization_config).toBeUndefined();
    expect(await valuesOf(merged, `${UP}.weight`)).toEqual(await valuesOf(same.merged, `${UP}.weight`));
    const q = 'model.layers.0.self_attn.q_proj.weight';
    expect(await valuesOf(merged, q)).toEqual(await readDequantized(bnb.quantized.get(q)!));
    const rounded = await merge(bnb, { dtype: 'bfloat16' });
    expect(rounded.report.weight_error!.dequantized).toBeGreaterThan(1e-4);
    expect(rounded.report.weight_error!.dequantized).toBeLessThan(4e-3);
  });

  it('dequantised weights need a base that was quantised', async () => {
    const files = await openModel(await randomFolder());
    await expect(merge(files, { dtype: 'float16', base: 'dequantized' })).rejects.toThrow(
      'expected a quantised base for --base dequantized, got none',
    );
  });
});
