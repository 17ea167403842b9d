/**
 * Random small Llama and Qwen2 models of transformers: logits with and without a key-value cache, the loss of each token,
 * and every gradient. Needs WEBGPU_SFT_ORACLE_PYTHON.
 */
import { mkdtempSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countTrained, type LabelledTokens } from '../../src/data/labels.ts';
import { Generator } from '../../src/eval/generator.ts';
import { Gpu } from '../../src/gpu/device.ts';
import { readAdapterConfig } from '../../src/model/adapterConfig.ts';
import { openAdapterFolder, optionsOf } from '../../src/model/lora.ts';
import { Model, type ModelOptions } from '../../src/model/model.ts';
import { openModel } from '../../src/model/modelFiles.ts';
import { openFolder } from '../../src/platform/nodeFolder.ts';
import { download } from '../../src/tensor/memory.ts';
import { Engine, shapeOf } from '../../src/train/engine.ts';
import { type Floats, python, readFloats, relativeNorm, relativeToLargest, runPython, Worst } from './python.ts';

interface Made {
  readonly name: string;
  /** Whose gradients are expected. */
  readonly mode: 'none' | 'full' | 'lora';
  /** Of the stored weights. */
  readonly dtype: string;
}

describe.skipIf(!python)('models against transformers', () => {
  const root = mkdtempSync(join(tmpdir(), 'sft-models-'));
  // Tests are declared before hooks run, and there is one test for each model.
  const made = python ? runPython<Made[]>('models.py', [root]) : [];
  const worst = new Worst();
  let rows: LabelledTokens[];
  let gpu: Gpu;
  beforeAll(async () => {
    const given = JSON.parse(readFileSync(join(root, 'rows.json'), 'utf8')) as {
      input_ids: number[];
      labels: number[];
    }[];
    rows = given.map(({ input_ids, labels }) => ({
      inputIds: Int32Array.from(input_ids),
      labels: Int32Array.from(labels),
    }));
    gpu = await Gpu.open();
  });
  afterAll(async () => {
    await gpu?.close();
    expect(gpu?.ledger.count).toBe(0);
    await rm(root, { recursive: true });
    worst.print('models');
  });

  /** A model as a run would have it, ready to compute. */
  async function load({ name, mode }: Made): Promise<Model> {
    const files = await openModel(await openFolder(join(root, name)));
    const maxLength = Math.max(...rows.map(({ inputIds }) => inputIds.length));
    const folder = mode === 'lora' ? await openFolder(join(root, name, 'adapter')) : null;
    const tuning: ModelOptions['tuning'] = folder
      ? { mode: 'lora', lora: optionsOf(await readAdapterConfig(folder)), trained: true }
      : { mode: mode === 'full' ? 'full' : 'none' };
    const model = new Model(files, gpu.limits, { maxLength, tuning });
    await model.load(gpu);
    await files.checkpoint.close();
    if (folder) model.lora?.load(gpu, model.memory, await openAdapterFolder(folder, model.decoder));
    return model;
  }

  it('the models differ in what they are made for', () => {
    expect(made.filter(({ mode }) => mode === 'full').length).toBeGreaterThanOrEqual(3);
    expect(made.filter(({ mode }) => mode === 'lora').length).toBeGreaterThanOrEqual(3);
    expect(new Set(made.map(({ dtype }) => dtype)).size).toBe(3);
  });

  for (const one of made) {
    it(one.name, async () => {
      const expected = await readFloats(join(root, one.name, 'expected.safetensors'));
      const model = await load(one);
      try {
        expect(worst.note('logits', await logitsError(model, expected.get('logits')!))).toBeLessThan(1e-5);
        const gradients = await checkLossesAndGradients(model, expected);
        expect(gradients).toBe([...expected.keys()].filter((name) => name.startsWith('gradient.')).length);
        expect(gradients > 0).toBe(one.mode !== 'none');
      } finally {
        model.close(gpu);
        await gpu.collect();
      }
    });
  }

  /** The largest relative difference of logits: after the first half of each row, each later token, and the whole row. */
  async function logitsError(model: Model, { shape, values }: Floats): Promise<number> {
    const [, longest = 0, vocabulary = 0] = shape;
    const lanes = rows.map(({ inputIds }, lane) => ({
      lane,
      ids: [...inputIds],
      half: Math.ceil(inputIds.length / 2),
    }));
    const generator = await Generator.create(gpu, model, {
      capacity: model.maxLength,
      lanes: rows.length,
      adapters: model.lora !== null,
    });
    let largest = 0;
    const check = (got: Float32Array, lane: number, position: number) => {
      const start = (lane * longest + position) * vocabulary;
      largest = Math.max(largest, relativeToLargest(got, values.subarray(start, start + vocabulary)));
    };
    // The first half of each row as prompts side by side, then token by token, the shorter ones leaving first; then whole.
    const prompts = lanes.map(({ lane, ids, half }) => ({ lane, ids: ids.slice(0, half) }));
    for (const [lane, got] of (await generator.prompt(prompts)).entries()) check(got, lane, lanes[lane]!.half - 1);
    for (let step = 0; ; step++) {
      const going = lanes.filter(({ ids, half }) => half + step < ids.length);
      if (going.length === 0) break;
      const logits = await generator.step(going.map(({ lane, ids, half }) => ({ lane, id: ids[half + step]! })));
      for (const [row, { lane, half }] of going.entries()) check(logits[row]!, lane, half + step);
    }
    for (const [lane, got] of (await generator.prompt(lanes)).entries()) check(got, lane, lanes[lane]!.ids.length - 1);
    generator.close();
    return largest;
  }

  /** All rows in one micro-batch: the loss of each token, and each gradient. How many gradients there were. */
  async function checkLossesAndGradients(model: Model, expected: ReadonlyMap<string, Floats>): Promise<number> {
    const shape = shapeOf(rows);
    const { trained } = model;
    const engine = new Engine(model, gpu, {
      maxGradNorm: 0,
      checkpointing: false,
      trainShape: trained ? shape : null,
      evalShape: shape,
    });
    await engine.prepare(gpu);
    const losses = await engine.tokenLosses(gpu, rows);
    expect(worst.note('losses', relativeToLargest(losses, expected.get('losses')!.values))).toBeLessThan(1e-5);
    if (trained) {
      const tokens = rows.reduce((sum, row) => sum + countTrained(row), 0);
      await engine.microStep(gpu, rows, 1 / tokens, 0);
      for (const { name, g } of trained.entries) {
        const want = expected.get(`gradient.${name}`);
        expect(want?.shape, name).toEqual(g.shape);
        const got = new Float32Array(await download(gpu, model.memory, g));
        expect(worst.note('gradients', relativeNorm(got, want!.values)), name).toBeLessThan(1e-4);
      }
    }
    engine.close(gpu);
    return trained?.entries.length ?? 0;
  }
});
