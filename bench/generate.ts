/** Answers that are made side by side against the same answers one at a time. */
import { generate } from '../src/eval/generate.ts';
import { Generator } from '../src/eval/generator.ts';
import { LanguageModel } from '../src/eval/languageModel.ts';
import { GREEDY } from '../src/eval/sampling.ts';
import type { Gpu } from '../src/gpu/device.ts';
import { openFolder } from '../src/platform/nodeFolder.ts';
import { median, type Result, speed } from './measure.ts';

const ANSWERS = 16;
const TOKENS = 48;
const ROUNDS = 3;

export async function* benchGenerate(gpu: Gpu): AsyncGenerator<Result> {
  const folder = await openFolder('assets/tiny-llama');
  const loaded = await LanguageModel.load(folder, gpu);
  const { model, tokenizer } = loaded;
  // Nothing ends an answer before its length, so that both sides make as many tokens.
  const options = { ...GREEDY, maxNewTokens: TOKENS, endTokens: [], stop: [] };
  const prompts = Array.from({ length: ANSWERS }, (_, n) => Array.from({ length: 8 + n }, (_, t) => 50 + 7 * n + t));
  const make = async (lanes: number) => {
    const generator = await Generator.create(gpu, model, { capacity: 128, lanes, adapters: false });
    const run = async () => {
      for await (const _ of generate(generator, tokenizer, prompts, options));
    };
    await run();
    // `speed` counts 1e9 of something as one.
    return { run, flops: ANSWERS * TOKENS * 1e9, close: () => generator.close() };
  };
  const [together, apart] = [await make(ANSWERS), await make(1)];
  const pairs: [number, number][] = [];
  for (let round = 0; round < ROUNDS; round++) pairs.push([await speed(gpu, together), await speed(gpu, apart)]);
  for (const side of [together, apart]) side.close();
  await loaded.close();
  yield {
    name: `${ANSWERS} answers side by side ÷ one at a time`,
    ours: median(pairs.map(([a]) => a)),
    reference: median(pairs.map(([, b]) => b)),
    ratio: median(pairs.map(([a, b]) => a / b)),
    unit: gpu.software ? 'tokens per CPU second' : 'tokens per second',
    note: `tiny-llama, ${TOKENS} tokens each, greedy`,
  };
}
