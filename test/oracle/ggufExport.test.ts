/** GGUF files against llama.cpp's Python reader and transformers. Needs WEBGPU_SFT_ORACLE_PYTHON. */
import { cpSync, existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { root } from '../../scripts/common.mjs';
import { tokenizersFolder } from '../../scripts/tokenizers.mjs';
import type { GgufType } from '../../src/model/gguf/format.ts';
import { openFolder, openStore } from '../../src/platform/nodeFiles.ts';
import { exportAdapterToGguf, exportModelToGguf } from '../../src/train/exportGguf.ts';
import { writeRandomAdapter } from '../model/adapters.ts';
import { TINY_LLAMA, TINY_QWEN2, writeRandomModel } from '../train/gpu/fixtures.ts';
import { python, runPython } from './python.ts';

const TINY = join(root, 'assets/tiny-llama');
const TYPES: readonly GgufType[] = ['f32', 'f16', 'bf16', 'q8_0'];

/** A tokenizer of bytes and one of SentencePiece; `test/train/ggufVocabulary.test.ts` has more of them. */
const TOKENIZERS = [
  { name: 'gpt2', vocabulary: 50257, kind: 'gpt2', pre: 'gpt-2' },
  { name: 'mistral_7b', vocabulary: 32000, kind: 'llama', pre: 'default' },
];

describe.skipIf(!python)('export --to gguf', () => {
  let folder: string;
  const cases: object[] = [];

  /** Writes a model file and gives its path. */
  async function write(model: string, name: string, type: GgufType, adapter?: string): Promise<string> {
    const store = await openStore(folder);
    const applied = adapter === undefined ? undefined : await openFolder(adapter);
    await exportModelToGguf(await openFolder(model), store, name, { type, adapter: applied });
    return join(folder, name, 'model.gguf');
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sft-gguf-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('models of every kind and type, with the same logits in transformers', async () => {
    const withTokens = async (name: string, config: typeof TINY_LLAMA) => {
      const sizes = { ...config, vocab_size: 1024, intermediate_size: 96, hidden_size: 48 };
      const model = await writeRandomModel(join(folder, name), sizes);
      for (const file of ['tokenizer.json', 'tokenizer_config.json']) cpSync(join(TINY, file), join(model, file));
      return model;
    };
    const models = {
      tiny: TINY,
      biased: await withTokens('biased-model', { ...TINY_LLAMA, ...{ attention_bias: true } }),
      qwen2: await withTokens('qwen2-model', TINY_QWEN2),
      wide: await withTokens('wide-model', { ...TINY_LLAMA, ...{ head_dim: 16 } }),
    };
    for (const [name, model] of Object.entries(models)) {
      for (const type of TYPES) {
        cases.push({ check: 'model', model, type, gguf: await write(model, `${name}-${type}`, type) });
      }
    }
    const scaling = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
    const scaled = { ...TINY_LLAMA, rope_scaling: { ...scaling, original_max_position_embeddings: 32 } };
    const model = await withTokens('scaled-model', scaled);
    cases.push({ check: 'model', model, type: 'f32', gguf: await write(model, 'scaled', 'f32') });
  });

  it('adapters, alone and folded in', async () => {
    for (const [name, options] of Object.entries({
      plain: { r: 4, lora_alpha: 12, target_modules: ['q_proj', 'k_proj', 'down_proj'], use_rslora: false },
      stable: { r: 8, lora_alpha: 4, target_modules: 'all-linear', use_rslora: true },
    })) {
      const adapter = await writeRandomAdapter(join(folder, `${name}-adapter`), TINY, options);
      const base = await write(TINY, `${name}-base`, 'f32');
      const merged = await write(TINY, `${name}-merged`, 'f32', adapter);
      await exportAdapterToGguf(await openFolder(TINY), await openFolder(adapter), await openStore(folder), name, {
        type: 'f32',
      });
      const layers = 5 * (name === 'plain' ? 3 : 7);
      const gguf = join(folder, name, 'adapter.gguf');
      cases.push({ check: 'adapter', gguf, base, merged, layers });
      cases.push({ check: 'model', model: TINY, adapter, type: 'f32', gguf: merged });
    }
  });

  it('tokenizers', async () => {
    cases.push({
      check: 'tokenizer',
      model: TINY,
      gguf: join(folder, 'tiny-f32/model.gguf'),
      kind: 'gpt2',
      pre: 'gpt-2',
      same: false,
    });
    for (const { name, vocabulary, kind, pre } of TOKENIZERS) {
      const from = join(tokenizersFolder, name);
      expect(existsSync(from), `${from}: set-up brings it`).toBe(true);
      const small = { hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2 };
      const sizes = { ...TINY_LLAMA, ...small, vocab_size: vocabulary, tie_word_embeddings: true };
      const model = await writeRandomModel(join(folder, `${name}-model`), sizes);
      for (const file of ['tokenizer.json', 'tokenizer_config.json']) cpSync(join(from, file), join(model, file));
      const gguf = await write(model, name, 'f16');
      cases.push({ check: 'tokenizer', model, gguf, kind, pre, same: true });
    }
  });

  it('llama.cpp and transformers read all of them as they were meant', async () => {
    await writeFile(join(folder, 'cases.json'), JSON.stringify(cases));
    const largest = runPython<Record<string, number>>('gguf_export.py', [folder]);
    console.log('GGUF, largest relative differences:', JSON.stringify(largest));
    expect(largest['logits, f32']).toBeLessThan(1e-5);
    expect(largest['logits, f16']).toBeLessThan(1e-2);
    expect(largest['logits, bf16']).toBeLessThan(5e-2);
    expect(largest['logits, q8_0']).toBeLessThan(5e-2);
    expect(largest.adapter).toBeLessThan(1e-6);
    expect(largest['rope factors']).toBeLessThan(1e-6);
  });

  it('what llama.cpp would compute otherwise is refused, and nothing is left', async () => {
    const windows = { use_sliding_window: true, sliding_window: 4, max_window_layers: 0, vocab_size: 1024 };
    const model = await writeRandomModel(join(folder, 'windows'), { ...TINY_QWEN2, ...windows });
    for (const file of ['tokenizer.json', 'tokenizer_config.json']) cpSync(join(TINY, file), join(model, file));
    await expect(write(model, 'refused', 'f32')).rejects.toThrow(/llama.cpp has no sliding windows for qwen2/);
    const small = await writeRandomModel(join(folder, 'small'), TINY_LLAMA);
    for (const file of ['tokenizer.json', 'tokenizer_config.json']) cpSync(join(TINY, file), join(small, file));
    await expect(write(small, 'refused', 'f32')).rejects.toThrow(/token ids below the model's vocab_size 101/);
    expect(existsSync(join(folder, 'refused'))).toBe(false);
  });
});
