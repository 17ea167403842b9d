/**
 * Checkpoints of real shapes as sparse files: headers that are written and bytes that are not. Opening and planning them
 * takes neither time nor memory, and the reader reaches every offset.
 */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sumBytes } from '../../src/gpu/ledger.ts';
import { Model } from '../../src/model/model.ts';
import { openModel } from '../../src/model/modelFiles.ts';
import { readWeights } from '../../src/model/safetensors.ts';
import { openFolder } from '../../src/platform/nodeFolder.ts';
import { parseConfig } from '../../src/train/configCheck.ts';
import { IMAGINED_GPU, planMemory } from '../../src/train/planMemory.ts';
import { LLAMA_8B, writeSparse } from './sparse.ts';

const LLAMA = { model_type: 'llama', rms_norm_eps: 1e-5, max_position_embeddings: 8192, tie_word_embeddings: false };
const SHAPES = {
  'Llama-3.1-8B': LLAMA_8B,
  'Qwen2.5-14B': {
    ...LLAMA,
    model_type: 'qwen2',
    vocab_size: 152064,
    hidden_size: 5120,
    intermediate_size: 13824,
    num_hidden_layers: 48,
    num_attention_heads: 40,
    num_key_value_heads: 8,
  },
  'Llama-3-70B': {
    ...LLAMA,
    vocab_size: 128256,
    hidden_size: 8192,
    intermediate_size: 28672,
    num_hidden_layers: 80,
    num_attention_heads: 64,
    num_key_value_heads: 8,
  },
  'deepseek-math-7b': {
    ...LLAMA,
    vocab_size: 102400,
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 30,
    num_attention_heads: 32,
    num_key_value_heads: 32,
  },
};

describe('models of real sizes', () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'sft-sparse-'));
  });
  afterAll(() => rm(root, { recursive: true }));

  it.each(Object.entries(SHAPES))('%s is opened and planned in little memory', async (name, config) => {
    const path = await mkdtemp(join(root, 'model-'));
    await writeSparse(path, config);
    const heap = process.memoryUsage();
    const files = await openModel(await openFolder(path));
    const options = { maxLength: 2048, tuning: { mode: 'none' } } as const;
    const plain = sumBytes(new Model(files, IMAGINED_GPU.limits, options).memory.bytes());
    const quantization = { type: 'nf4', blockSize: 64, doubleQuant: true } as const;
    const model = new Model(files, IMAGINED_GPU.limits, { ...options, quantization });
    const bytes = sumBytes(model.memory.bytes());

    const linear = model.decoder.linears.reduce(
      (sum, { inFeatures, outFeatures }) => sum + inFeatures * outFeatures,
      0,
    );
    // 4 bits, 8 for each block of 64, and 32 for 256 of those.
    const perWeight = 4 / 8 + 1 / 64 + 4 / 64 / 256;
    const saved = linear * (2 - perWeight);
    const maps = model.decoder.linears.length * 257 * 4;
    expect(Math.abs(plain - saved + maps - bytes)).toBeLessThan(model.decoder.linears.length * 64);
    expect(perWeight).toBeLessThan(0.53);
    expect(model.stagingBytes()).toBeLessThan(32 * 2 ** 20);
    const wanted = parseConfig({
      model: { name: path, max_seq_len: 2048 },
      tuning: { mode: 'qlora', lora: { target_modules: 'all-linear' } },
      train: { batch_size: 2, gradient_checkpointing: true, precision: 'float16' },
    });
    const plan = planMemory(files, wanted);
    expect(plan.categories.weights).toBe(bytes);
    expect(plan.peak_bytes).toBeGreaterThan(bytes);
    const used = process.memoryUsage();
    expect(used.heapUsed + used.arrayBuffers - heap.heapUsed - heap.arrayBuffers).toBeLessThan(256 * 2 ** 20);
    if (name === 'Llama-3.1-8B') {
      expect(bytes / 2 ** 30).toBeCloseTo(5.31, 1);
      expect(plan.peak_bytes / 2 ** 30).toBeLessThanOrEqual(7.4);
    }
    await files.checkpoint.close();
  });

  it('tensors beyond 4 GiB of a file are read where they lie', async () => {
    const path = await mkdtemp(join(root, 'far-'));
    const config = { ...SHAPES['Llama-3.1-8B'], num_hidden_layers: 20 };
    await writeSparse(path, config);
    const files = await openModel(await openFolder(path));
    const far = [...files.checkpoint.tensors.values()].filter(({ offset }) => offset > 2 ** 32);
    expect(far.length).toBeGreaterThan(3);
    const chosen = far.find(({ shape }) => shape.length === 2)!;
    // A number at each end and in the middle: what is not written is zero.
    const places = [0, chosen.length / 2, chosen.length - 2];
    const handle = await open(join(path, chosen.source.name.split('/').at(-1)!), 'r+');
    for (const [index, place] of places.entries())
      await handle.write(Buffer.of(0x80, 0x3f + index), 0, 2, chosen.offset + place);
    await handle.close();
    const found: [number, number][] = [];
    let at = 0;
    for await (const slice of readWeights(chosen)) {
      const halves = new Uint16Array(slice.buffer, slice.byteOffset, slice.length / 2);
      halves.forEach((half, i) => {
        if (half !== 0) found.push([at + 2 * i, half]);
      });
      at += slice.length;
    }
    expect(found).toEqual(places.map((place, index) => [place, 0x3f80 + 256 * index]));
    await files.checkpoint.close();
  });
});
