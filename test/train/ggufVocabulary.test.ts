/** Tokenizers of several families as llama.cpp wants them. Set-up fetches them (`scripts/tokenizers.mjs`). */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { tokenizersFolder } from '../../scripts/tokenizers.mjs';
import { openFolder } from '../../src/platform/nodeFiles.ts';
import { bytesFolder, readText } from '../../src/platform/sources.ts';
import { readGgufVocabulary } from '../../src/train/ggufVocabulary.ts';

it.each([
  ['gpt2', 50257, 'gpt2', 'gpt-2'],
  ['llama3_2', 128256, 'gpt2', 'llama-bpe'],
  ['qwen2_5', 151936, 'gpt2', 'qwen2'],
  ['qwen3', 151936, 'gpt2', 'qwen2'],
  ['mistral_nemo', 131072, 'gpt2', 'tekken'],
  ['mistral_7b', 32000, 'llama', 'default'],
])('%s', async (name, vocabSize, model, pre) => {
  const folder = await openFolder(join(tokenizersFolder, name));
  const { metadata, warnings } = await readGgufVocabulary(folder, { vocabSize, config: {} });
  expect(metadata.get('tokenizer.ggml.model')).toEqual({ text: model });
  expect(metadata.get('tokenizer.ggml.pre')).toEqual({ text: pre });
  expect(warnings).toEqual([]);
  const { texts } = metadata.get('tokenizer.ggml.tokens') as { texts: readonly string[] };
  const { i32s: kinds } = metadata.get('tokenizer.ggml.token_type') as { i32s: readonly number[] };
  expect([texts.length, kinds.length]).toEqual([vocabSize, vocabSize]);
  expect(metadata.has(model === 'gpt2' ? 'tokenizer.ggml.merges' : 'tokenizer.ggml.scores')).toBe(true);
  // Bytes that stand for themselves.
  expect(kinds.filter((kind) => kind === 6).length).toBe(model === 'gpt2' ? 0 : 256);
  if (name === 'mistral_7b') expect(metadata.get('tokenizer.ggml.add_space_prefix')).toEqual({ bool: true });
});

it('SmolLM cuts numbers into digits, and what llama.cpp has no name for is said', async () => {
  const files = await openFolder(join(tokenizersFolder, 'gpt2'));
  const json = JSON.parse(await readText(files, 'tokenizer.json')) as object;
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const preOf = async (first: object) => {
    const changed = { ...json, pre_tokenizer: { type: 'Sequence', pretokenizers: [first, bytes] } };
    const text = new TextEncoder().encode(JSON.stringify(changed));
    const folder = bytesFolder('changed', new Map([['tokenizer.json', text]]));
    const { metadata, warnings } = await readGgufVocabulary(folder, {
      vocabSize: 50257,
      config: { eos_token_id: [7] },
    });
    expect(metadata.get('tokenizer.ggml.eos_token_id')).toEqual({ u32: 7 });
    return [metadata.get('tokenizer.ggml.pre'), warnings.length];
  };
  expect(await preOf({ type: 'Digits', individual_digits: true })).toEqual([{ text: 'smollm' }, 0]);
  const own = { type: 'Split', pattern: { Regex: 'a|b' }, behavior: 'Isolated', invert: false };
  expect(await preOf(own)).toEqual([{ text: 'gpt-2' }, 1]);
});

it('more tokens than the model has rows for are refused', async () => {
  const folder = await openFolder(join(tokenizersFolder, 'gpt2'));
  await expect(readGgufVocabulary(folder, { vocabSize: 50256, config: {} })).rejects.toThrow(
    /expected token ids below the model's vocab_size 50256, got 50256/,
  );
});
