/** A model folder that is complete and tiny: random weights, a real tokenizer, a chat template. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CHATML, tokenizerConfig, tokenizerJson } from './data/fixtures.ts';
import { TINY_LLAMA, TINY_QWEN2, writeRandomModel } from './train/gpu/fixtures.ts';

/** Writes the folder; its path. The same every time. */
export async function makeTinyModel(path: string, kind: 'llama' | 'qwen2' = 'llama', seed = 1): Promise<string> {
  const tokenizer = tokenizerJson() as { model: { vocab: Record<string, number> } };
  const base = kind === 'llama' ? TINY_LLAMA : TINY_QWEN2;
  await writeRandomModel(path, { ...base, vocab_size: Object.keys(tokenizer.model.vocab).length }, seed);
  writeFileSync(join(path, 'tokenizer.json'), JSON.stringify(tokenizer));
  writeFileSync(join(path, 'tokenizer_config.json'), JSON.stringify(tokenizerConfig));
  writeFileSync(join(path, 'chat_template.jinja'), CHATML);
  return path;
}

/** Rows of a question and its answer, as lines of a `.jsonl` file. */
export function sums(count: number): string {
  return Array.from({ length: count }, (_, i) => {
    return `${JSON.stringify({ question: `What is ${i} + ${i % 3}?`, answer: `It is ${i + (i % 3)}.` })}\n`;
  }).join('');
}
