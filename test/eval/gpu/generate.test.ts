/** Answers that are made side by side are those that are made one at a time. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Message } from '../../../src/data/rows.ts';
import { generate } from '../../../src/eval/generate.ts';
import { Generator } from '../../../src/eval/generator.ts';
import { type AnswerOptions, LanguageModel } from '../../../src/eval/languageModel.ts';
import { GREEDY } from '../../../src/eval/sampling.ts';
import { Gpu } from '../../../src/gpu/device.ts';
import { SftError } from '../../../src/platform/errors.ts';
import { openFolder } from '../../../src/platform/nodeFolder.ts';

const asset = (path: string) => fileURLToPath(new URL(`../../../assets/${path}`, import.meta.url));

/** Requests of very different lengths: every third one is asked as part of a conversation. */
const requests = readFileSync(asset('json-requests/test.jsonl'), 'utf8')
  .trimEnd()
  .split('\n')
  .slice(0, 9)
  .map((line, index): Message[] => {
    const [request, answer] = (JSON.parse(line) as { messages: Message[] }).messages as [Message, Message];
    return index % 3 === 0 ? [request, answer, request] : [request];
  });

let gpu: Gpu;
let model: LanguageModel;
/** Bytes of the largest buffer that there is. */
let largest = Number.POSITIVE_INFINITY;
beforeAll(async () => {
  gpu = await Gpu.open({
    beforeAllocation(bytes) {
      if (bytes > largest) throw new SftError('OUT_OF_MEMORY', 'too large');
    },
  });
  model = await LanguageModel.load(await openFolder(asset('tiny-llama')), gpu);
});
afterAll(async () => {
  await model.close();
  await gpu.close();
  expect(gpu.ledger.count).toBe(0);
});

async function together(prompts: readonly Message[][], options: AnswerOptions): Promise<string[]> {
  const answers: string[] = [];
  for await (const { index, text } of model.completions(prompts, options)) {
    expect(answers[index]).toBeUndefined();
    answers[index] = text;
  }
  return answers;
}

async function oneAtATime(prompts: readonly Message[][], options: AnswerOptions & { seed: number }): Promise<string[]> {
  const answers: string[] = [];
  for (const [index, prompt] of prompts.entries()) {
    answers.push(await model.complete(prompt, { ...options, seed: options.seed + index }));
  }
  return answers;
}

describe('answers side by side', () => {
  it.each([
    ['greedy', { maxNewTokens: 24, seed: 0 }],
    ['sampled', { maxNewTokens: 12, seed: 5, temperature: 0.9, topK: 20, topP: 0.95, repetitionPenalty: 1.2 }],
    ['stopped', { maxNewTokens: 24, seed: 0, stop: ['e ', '.'] }],
  ])('%s, are those of one at a time', async (_, options) => {
    const expected = await oneAtATime(requests, options);
    expect(new Set(expected).size).toBeGreaterThan(5);
    expect(new Set(expected.map(({ length }) => length)).size).toBeGreaterThan(5);
    expect(await together(requests, options)).toEqual(expected);
  });

  it('end when they are told to, and only whole ones are given', async () => {
    const stop = new AbortController();
    const whole = await oneAtATime(requests, { maxNewTokens: 24, seed: 0 });
    const got: string[] = [];
    for await (const { index, text } of model.completions(requests, { maxNewTokens: 24, signal: stop.signal })) {
      got.push(text);
      expect(text).toBe(whole[index]);
      if (got.length === 3) stop.abort();
    }
    expect(got).toHaveLength(3);
  });

  it('refuse a prompt that is too long before the first one is answered', async () => {
    const long = 'word '.repeat(model.model.maxLength);
    const answers = model.completions([requests[0]!, [{ role: 'user', content: long }]]);
    await expect(answers.next()).rejects.toThrow(/^prompt 2: expected 1 to \d+ tokens, got \d+$/);
  });

  it('ask for nothing', async () => {
    expect(await together([], {})).toEqual([]);
    expect(await together(requests, { maxNewTokens: 0 })).toEqual([]);
  });
});

describe('where memory runs out', () => {
  const cacheRow = 2 * 32 * 4;
  const create = (lanes: number) => Generator.create(gpu, model.model, { capacity: 32, lanes, adapters: false });
  afterEach(() => {
    largest = Number.POSITIVE_INFINITY;
  });

  it('a generator has fewer lanes, and one at least', async () => {
    largest = 3 * 32 * cacheRow;
    const generator = await create(8);
    expect(generator.lanes).toBe(2);
    generator.close();
    largest = 31 * cacheRow;
    await expect(create(8)).rejects.toThrow('too large');
  });

  it('answers take the lanes that others leave', async () => {
    const generator = await create(3);
    const ids = requests.flatMap((messages) => (messages.length === 1 ? [model.promptIds(messages)] : []));
    const options = { ...GREEDY, maxNewTokens: 12, endTokens: model.endTokens, stop: [' '] };
    const together: string[] = ids.map(() => '');
    const order: number[] = [];
    for await (const { index, text, done } of generate(generator, model.tokenizer, ids, options)) {
      together[index] += text;
      if (done) order.push(index);
    }
    generator.close();
    const expected: string[] = [];
    for (const prompt of ids) expected.push(await model.complete(prompt, { maxNewTokens: 12, stop: [' '] }));
    expect(together).toEqual(expected);
    expect(order.toSorted()).toEqual(ids.map((_, index) => index));
  });
});
