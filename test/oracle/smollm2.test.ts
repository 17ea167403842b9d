/**
 * The real model, SmolLM2-135M-Instruct: LoRA and QLoRA on rows of GSM8K against a plain PEFT loop on the same ids, and greedy
 * answers with and without the adapter against transformers.
 *
 * Needs WEBGPU_SFT_ORACLE_PYTHON and `../shared` (data, and a tool that makes the model); WEBGPU_SFT_SMOLLM2=<folder> names
 * a model that was made before.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCursor } from '../../src/data/batches.ts';
import { loadDataset } from '../../src/data/dataset.ts';
import type { Message } from '../../src/data/rows.ts';
import { loadChatTemplate } from '../../src/data/template.ts';
import { loadTokenizer } from '../../src/data/tokenizer.ts';
import { LanguageModel } from '../../src/eval/languageModel.ts';
import { Gpu } from '../../src/gpu/device.ts';
import { openModel } from '../../src/model/modelFiles.ts';
import { writeAdapter } from '../../src/model/peft.ts';
import { openFile, openFolder, openStore } from '../../src/platform/nodeFiles.ts';
import { saveFolder } from '../../src/platform/stores.ts';
import { parseConfig } from '../../src/train/configCheck.ts';
import { Trainer } from '../../src/train/trainer.ts';
import { python, runPython, Worst } from './python.ts';
import { gsm8k, smollm2 } from './smollm2Folder.ts';

const STEPS = 3;
const NEW_TOKENS = 24;
const PROMPTS: readonly (readonly Message[])[] = [
  [{ role: 'user', content: 'What is the capital of France?' }],
  [{ role: 'user', content: 'A pen costs $3 and a book costs $4 more than a pen. How much do two books cost?' }],
  [
    { role: 'system', content: 'You answer in one short sentence.' },
    { role: 'user', content: 'Why is the sky blue?' },
  ],
];

interface Answer {
  readonly losses: number[];
  readonly norms: number[];
  readonly prompts: number[][];
  readonly before: string[];
  readonly after: string[];
}

const path = python ? smollm2() : null;

describe.skipIf(!path || !existsSync(gsm8k))('SmolLM2 on GSM8K', () => {
  let root: string;
  let gpu: Gpu;
  let want: Answer;
  let wantOver4Bits: Answer;
  const ours = {
    lora: { losses: [] as number[], norms: [] as number[] },
    qlora: { losses: [] as number[], norms: [] as number[] },
  };
  const answers = { ids: [] as number[][], before: [] as string[], after: [] as string[] };

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'sft-smollm2-'));
    gpu = await Gpu.open();
    const run = await trainLora(path!, 'lora');
    await answerAll(path!, run.final);
    want = runPython<Answer>('smollm2.py', [], run);
    wantOver4Bits = runPython<Answer>('smollm2.py', [], { ...(await trainLora(path!, 'qlora')), prompts: [] });
  });
  afterAll(async () => {
    await gpu?.close();
    await rm(root, { recursive: true });
  });

  /** The twelve shortest of the first rows, as the data layer makes them with the model's own template. */
  async function readRows(model: string) {
    const folder = await openFolder(model);
    const tokenizer = await loadTokenizer(folder);
    const template = await loadChatTemplate(folder, tokenizer.namedTokens);
    const source = await openFile(gsm8k);
    const { rows } = await loadDataset([source], {
      tokenizer,
      template,
      maxSeqLen: 144,
      truncation: 'drop',
      trainOn: 'assistant',
      style: 'You are good at math.',
      limit: 400,
    }).finally(() => source.close());
    return rows.toSorted((a, b) => a.inputIds.length - b.inputIds.length).slice(0, 4 * STEPS);
  }

  async function trainLora(model: string, mode: 'lora' | 'qlora') {
    const rows = await readRows(model);
    expect(rows.length).toBe(4 * STEPS);
    const store = await openStore(join(root, mode));
    const config = parseConfig({
      output_dir: store.name,
      model: { name: model, max_seq_len: 144, dtype: 'float32' },
      tuning: { mode, lora: { r: 8, alpha: 16, dropout: 0, target_modules: 'all-linear' } },
      train: {
        max_steps: STEPS,
        batch_size: 2,
        gradient_accumulation_steps: 2,
        learning_rate: 1e-3,
        lr_scheduler: 'constant',
        precision: 'float32',
        eval_strategy: 'no',
        save_strategy: 'no',
      },
    });
    const files = await openModel(await openFolder(model));
    const trainer = await Trainer.create({ config, gpu, files, rows, store });
    for await (const event of trainer.train()) {
      const adapter = trainer.model.lora!;
      if (event.type === 'start') {
        const weights = await adapter.weights(gpu, trainer.model.memory);
        await saveFolder(store, 'initial', (staged) => writeAdapter(staged, adapter.config, weights));
      } else if (event.type === 'step') {
        ours[mode].losses.push(event.loss);
        ours[mode].norms.push(event.grad_norm);
      }
    }
    await gpu.collect();
    const cursor = createCursor({
      rows: rows.length,
      batchSize: 2,
      gradientAccumulationSteps: 2,
      shuffle: true,
      seed: config.train.seed,
    });
    return {
      model,
      mode,
      initial: join(store.name, 'initial'),
      final: join(store.name, 'final_model'),
      rows: rows.map(({ inputIds, labels }) => ({ input_ids: [...inputIds], labels: [...labels] })),
      steps: Array.from({ length: STEPS }, () => cursor.next().microBatches),
      learning_rate: 1e-3,
      weight_decay: 0,
      scheduler: 'constant',
      warmup_steps: 0,
      max_grad_norm: 1,
      prompts: PROMPTS,
      new_tokens: NEW_TOKENS,
    };
  }

  async function answerAll(model: string, adapter: string) {
    const options = { adapter: await openFolder(adapter), maxLength: 128 };
    const loaded = await LanguageModel.load(await openFolder(model), gpu, options);
    for (const prompt of PROMPTS) {
      answers.ids.push(loaded.promptIds(prompt));
      answers.before.push(await loaded.complete(prompt, { maxNewTokens: NEW_TOKENS, useAdapter: false }));
      answers.after.push(await loaded.complete(prompt, { maxNewTokens: NEW_TOKENS }));
    }
    await loaded.close();
  }

  for (const mode of ['lora', 'qlora'] as const) {
    it(`${mode}: the losses are those of PEFT`, () => {
      const { losses, norms } = ours[mode];
      const expected = mode === 'lora' ? want : wantOver4Bits;
      expect(losses.length).toBe(STEPS);
      const worst = new Worst();
      for (let step = 0; step < STEPS; step++) {
        expect(worst.note('losses', Math.abs(losses[step]! / expected.losses[step]! - 1))).toBeLessThan(1e-3);
        // Gradients pass through every scale that bitsandbytes' CPU code rounds to another code.
        const bound = mode === 'lora' ? 1e-3 : 1e-2;
        expect(worst.note('norms', Math.abs(norms[step]! / expected.norms[step]! - 1))).toBeLessThan(bound);
      }
      worst.print(`SmolLM2 ${mode}`);
      expect(losses.at(-1)!).toBeLessThan(losses[0]!);
    });
  }

  it('the greedy answers are those of transformers, with and without the adapter', () => {
    expect(answers.ids).toEqual(want.prompts);
    expect(answers.before).toEqual(want.before);
    expect(answers.after).toEqual(want.after);
    expect(answers.after).not.toEqual(answers.before);
  });
});
