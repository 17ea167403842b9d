import { describe, expect, it } from 'vitest';
import {
  type AdapterConfig,
  adapterConfigJson,
  loraScaling,
  parseAdapterConfig,
} from '../../src/model/adapterConfig.ts';
import { type LinearShapes, type LoraWeights, readAdapter, writeAdapter } from '../../src/model/peft.ts';
import { readSafetensors, type TensorToWrite, writeSafetensors } from '../../src/model/safetensors.ts';
import { memoryStore, saveFolder } from '../../src/platform/stores.ts';

const config: AdapterConfig = {
  base_model_name_or_path: 'org/base',
  revision: null,
  task_type: 'CAUSAL_LM',
  r: 2,
  lora_alpha: 8,
  lora_dropout: 0.05,
  use_rslora: false,
  target_modules: ['v_proj', 'q_proj'],
};

const base: LinearShapes = {
  linears: new Map([
    ['model.layers.0.self_attn.q_proj', { inFeatures: 3, outFeatures: 4 }],
    ['model.layers.0.self_attn.v_proj', { inFeatures: 3, outFeatures: 1 }],
    ['model.layers.0.mlp.up_proj', { inFeatures: 3, outFeatures: 5 }],
    ['lm_head', { inFeatures: 3, outFeatures: 9 }],
  ]),
  outputLayer: 'lm_head',
};

const numbers = (length: number, start: number) => Float32Array.from({ length }, (_, i) => start + i / 7);

const weights = new Map<string, LoraWeights>([
  ['model.layers.0.self_attn.q_proj', { A: numbers(6, 0), B: numbers(8, 10) }],
  ['model.layers.0.self_attn.v_proj', { A: numbers(6, 20), B: numbers(2, 30) }],
]);

const KEY = 'base_model.model.model.layers.0.self_attn';

/** A folder with an adapter of which some tensors are replaced, removed (undefined) or added, some fields changed. */
async function adapterFolder(tensors: Record<string, Partial<TensorToWrite> | undefined> = {}, fields: object = {}) {
  const store = memoryStore('store');
  await saveFolder(store, 'adapter', (staged) => writeAdapter(staged, config, weights));
  const whole = await readSafetensors(await store.folder('adapter').open('adapter_model.safetensors'));
  const kept = new Map<string, TensorToWrite>();
  for (const [name, { dtype, shape, source, offset, length }] of whole.tensors) {
    const bytes = await source.read(offset, length);
    kept.set(name, { name, dtype, shape, bytes: () => [bytes] });
  }
  for (const [name, change] of Object.entries(tensors)) {
    if (change) kept.set(name, { name, dtype: 'F32', shape: [1], bytes: () => [new Uint8Array(4)], ...change });
    else kept.delete(name);
  }
  await saveFolder(store, 'adapter', async (staged) => {
    const file = await staged.create('adapter_model.safetensors');
    await writeSafetensors(file, [...kept.values()]);
    await file.close();
    await staged.write('adapter_config.json', JSON.stringify({ ...JSON.parse(adapterConfigJson(config)), ...fields }));
  });
  return store.folder('adapter');
}

describe('an adapter folder', () => {
  it('is written with the keys, shapes and files of PEFT', async () => {
    const folder = await adapterFolder();
    expect(await folder.list()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
    const { tensors, metadata } = await readSafetensors(await folder.open('adapter_model.safetensors'));
    expect([...tensors.values()].map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual([
      [`${KEY}.q_proj.lora_A.weight`, 'F32', [2, 3]],
      [`${KEY}.q_proj.lora_B.weight`, 'F32', [4, 2]],
      [`${KEY}.v_proj.lora_A.weight`, 'F32', [2, 3]],
      [`${KEY}.v_proj.lora_B.weight`, 'F32', [1, 2]],
    ]);
    expect([...metadata]).toEqual([['format', 'pt']]);
  });

  it('is read as it was written', async () => {
    const adapter = await readAdapter(await adapterFolder(), base);
    expect(adapter.weights).toEqual(weights);
    expect(adapter.config).toEqual({ ...config, target_modules: ['q_proj', 'v_proj'] });
  });

  it('may hold 16-bit floats', async () => {
    const bytes = () => [new Uint8Array([0x80, 0x3f, 0x00, 0xc0])];
    const folder = await adapterFolder({ [`${KEY}.v_proj.lora_B.weight`]: { dtype: 'BF16', shape: [1, 2], bytes } });
    const { weights: read } = await readAdapter(folder, base);
    expect(read.get('model.layers.0.self_attn.v_proj')!.B).toEqual(new Float32Array([1, -2]));
  });

  it('with wrong tensors is refused with all their names', async () => {
    const folder = await adapterFolder({
      [`${KEY}.q_proj.lora_A.weight`]: undefined,
      [`${KEY}.v_proj.lora_B.weight`]: { shape: [2, 1], bytes: () => [new Uint8Array(8)] },
      [`${KEY}.v_proj.lora_A.weight`]: { dtype: 'I8', shape: [2, 3], bytes: () => [new Uint8Array(6)] },
      'base_model.model.lm_head.weight': {},
    });
    await expect(readAdapter(folder, base)).rejects.toMatchObject({
      code: 'ADAPTER',
      message:
        `store/adapter/adapter_model.safetensors: missing: ${KEY}.q_proj.lora_A.weight; ` +
        'unexpected: base_model.model.lm_head.weight; ' +
        `does not fit the base: ${KEY}.v_proj.lora_A.weight: expected F32, F16 or BF16, got I8, ` +
        `${KEY}.v_proj.lora_B.weight: expected [1, 2], got [2, 1]`,
      hint: 'the adapter was made for org/base; use it with that model',
    });
  });

  it('for another base is refused', async () => {
    const other: LinearShapes = {
      linears: new Map([['h.0.c_attn', { inFeatures: 3, outFeatures: 4 }]]),
      outputLayer: 'lm_head',
    };
    await expect(readAdapter(await adapterFolder(), other)).rejects.toMatchObject({
      code: 'ADAPTER',
      message: expect.stringContaining('names no layer of this model'),
    });
  });

  it('with NaN is refused by name', async () => {
    const bytes = () => [new Uint8Array(new Float32Array([0, Number.NaN]).buffer)];
    const folder = await adapterFolder({ [`${KEY}.v_proj.lora_B.weight`]: { shape: [1, 2], bytes } });
    await expect(readAdapter(folder, base)).rejects.toMatchObject({
      code: 'ADAPTER',
      message: `store/adapter/adapter_model.safetensors: ${KEY}.v_proj.lora_B.weight: expected finite numbers, got NaN at element 1`,
    });
  });

  it('that lacks a file is refused', async () => {
    const store = memoryStore('store');
    await expect(readAdapter(store.folder('empty'), base)).rejects.toMatchObject({
      code: 'ADAPTER',
      message: 'store/empty: expected a PEFT adapter, found no adapter_config.json',
    });
    await saveFolder(store, 'pickled', async (staged) => {
      await staged.write('adapter_config.json', adapterConfigJson(config));
      await staged.write('adapter_model.bin', '');
    });
    await expect(readAdapter(store.folder('pickled'), base)).rejects.toMatchObject({
      message:
        'store/pickled: there is no adapter_model.safetensors, only adapter_model.bin, a pickle file, which is never read',
    });
  });
});

describe('adapter_config.json', () => {
  const parse = (fields: object) => parseAdapterConfig(JSON.stringify(fields), 'a/adapter_config.json');

  it('is written sorted and with two spaces', () => {
    const text = adapterConfigJson(config);
    const keys = Object.keys(JSON.parse(text) as object);
    expect(keys).toEqual([...keys].sort());
    expect(text.startsWith('{\n  "alora_invocation_tokens": null,\n')).toBe(true);
    expect(parseAdapterConfig(text, 'x')).toEqual({ ...config, target_modules: ['q_proj', 'v_proj'] });
  });

  it('needs no more than peft_type and target_modules', () => {
    expect(parse({ peft_type: 'LORA', target_modules: '.*q_proj' })).toEqual({
      base_model_name_or_path: null,
      revision: null,
      task_type: null,
      r: 8,
      lora_alpha: 8,
      lora_dropout: 0,
      use_rslora: false,
      target_modules: '.*q_proj',
    });
  });

  it('may have fields of other versions as long as they are off', () => {
    const off = {
      use_new_thing: false,
      new_config: null,
      new_list: [],
      init_lora_weights: 'gaussian',
      peft_version: '9.9',
    };
    expect(parse({ peft_type: 'LORA', target_modules: ['q'], ...off }).target_modules).toEqual(['q']);
  });

  it.each([
    [{ peft_type: 'IA3' }, 'peft_type: expected "LORA", got "IA3"'],
    [{ r: 0 }, 'r: expected an integer of at least 1, got 0'],
    [{ r: 1.5 }, 'r: expected an integer'],
    [{ lora_alpha: '16' }, 'lora_alpha: expected a number, got "16"'],
    [{ target_modules: null }, 'target_modules: expected a list of names or a regular expression, got null'],
    [{ target_modules: [] }, 'target_modules: expected a list'],
    [{ task_type: 'SEQ_CLS' }, 'task_type: expected "CAUSAL_LM" or "SEQ_2_SEQ_LM", got "SEQ_CLS"'],
    [{ use_rslora: 1 }, 'use_rslora: expected true or false, got 1'],
    [{ use_dora: true }, 'use_dora: true is not supported'],
    [{ bias: 'all' }, 'bias: "all" is not supported'],
    [{ fan_in_fan_out: true }, 'fan_in_fan_out: true is not supported'],
    [{ rank_pattern: { q_proj: 4 } }, 'rank_pattern: {"q_proj":4} is not supported'],
    [{ alpha_pattern: { q_proj: 4 } }, 'alpha_pattern: {"q_proj":4} is not supported'],
    [{ modules_to_save: ['lm_head'] }, 'modules_to_save: ["lm_head"] is not supported'],
    [{ layers_to_transform: [0] }, 'layers_to_transform: [0] is not supported'],
    [{ layers_to_transform: 0 }, 'layers_to_transform: 0 is not supported'],
    [{ init_lora_weights: 'pissa_niter_4' }, 'init_lora_weights: "pissa_niter_4" is not supported'],
    [{ use_thing_of_the_future: true }, 'use_thing_of_the_future: true is not supported'],
  ])('refuses %j', (fields, message) => {
    expect(() => parse({ peft_type: 'LORA', target_modules: ['q'], ...fields })).toThrow(
      expect.objectContaining({
        code: 'ADAPTER',
        message: expect.stringContaining(`a/adapter_config.json: ${message}`),
      }),
    );
  });

  it('tells all problems at once', () => {
    expect(() => parse({ r: -1, use_dora: true })).toThrow(
      'a/adapter_config.json: peft_type: expected "LORA", got nothing; r: expected an integer of at least 1, got -1; ' +
        'target_modules: expected a list of names or a regular expression, got nothing; use_dora: true is not supported',
    );
    expect(() => parseAdapterConfig('{', 'x')).toThrow('x: expected JSON');
    expect(() => parseAdapterConfig('[]', 'x')).toThrow('x: expected a JSON object');
  });

  it('gives the scaling', () => {
    expect(loraScaling({ r: 16, lora_alpha: 32, use_rslora: false })).toBe(2);
    expect(loraScaling({ r: 16, lora_alpha: 32, use_rslora: true })).toBe(8);
  });
});
