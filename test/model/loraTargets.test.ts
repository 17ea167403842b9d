import { describe, expect, it } from 'vitest';
import { defaultTargetModules, selectTargets } from '../../src/model/loraTargets.ts';

const LAYER = [
  'self_attn.q_proj',
  'self_attn.k_proj',
  'self_attn.v_proj',
  'self_attn.o_proj',
  'mlp.up_proj',
  'mlp.down_proj',
];
const llama = {
  linears: [...[0, 1].flatMap((n) => LAYER.map((name) => `model.layers.${n}.${name}`)), 'lm_head'],
  outputLayer: 'lm_head',
  others: ['model.embed_tokens', 'model.norm', 'model.layers.0.input_layernorm'],
};

describe('selectTargets', () => {
  it('matches names at the end of a path, behind a dot', () => {
    const modules = { linears: ['a.q_proj', 'a.my_q_proj', 'q_proj', 'q_proj.inner'], outputLayer: 'lm_head' };
    expect(selectTargets(['q_proj'], modules).paths).toEqual(['a.q_proj', 'q_proj']);
    expect(selectTargets(['a.q_proj'], modules).paths).toEqual(['a.q_proj']);
  });

  it('keeps a list as it is, sorted', () => {
    expect(selectTargets(['v_proj', 'q_proj', 'not_in_this_model'], llama)).toEqual({
      paths: [0, 1].flatMap((n) => [`model.layers.${n}.self_attn.q_proj`, `model.layers.${n}.self_attn.v_proj`]),
      targetModules: ['not_in_this_model', 'q_proj', 'v_proj'],
    });
  });

  it('matches a regular expression with the whole path', () => {
    const pattern = String.raw`model\.layers\.(?P<n>\d+)\.self_attn\.[qk]_proj|lm_head`;
    expect(selectTargets(pattern, llama).paths).toHaveLength(5);
    expect(selectTargets(pattern, llama).targetModules).toBe(pattern);
    expect(() => selectTargets('q_proj', llama)).toThrow('names no layer of this model');
  });

  it('takes all linear layers but the output layer, and names them shortly', () => {
    const { paths, targetModules } = selectTargets('All-Linear', llama);
    expect(paths).toEqual(llama.linears.slice(0, -1));
    expect(targetModules).toEqual(['down_proj', 'k_proj', 'o_proj', 'q_proj', 'up_proj', 'v_proj']);
    const clash = { linears: ['block.head', 'block.fc', 'head'], outputLayer: 'head' };
    expect(selectTargets('all-linear', clash).targetModules).toEqual(['block.head', 'fc']);
  });

  it.each([
    [['embed_tokens'], 'CONFIG', 'target_modules: "model.embed_tokens" is no linear layer'],
    [['q', 'v'], 'ADAPTER', 'target_modules: ["q","v"] names no layer of this model'],
    ['(', 'CONFIG', 'target_modules: "(": expected a regular expression'],
    [String.raw`.*q_proj\Z`, 'CONFIG', String.raw`"\Z" has another meaning outside of Python`],
    ['(?i).*Q_PROJ', 'CONFIG', '"(?i" has another meaning'],
    ['.*{,3}q_proj', 'CONFIG', '"{," has another meaning'],
  ] as const)('refuses %j', (targets, code, message) => {
    expect(() => selectTargets(targets, llama, code)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    );
  });
});

describe('defaultTargetModules', () => {
  it("is PEFT's for the model type", () => {
    for (const type of ['llama', 'qwen2', 'mistral', 'qwen3', 'gemma']) {
      expect(defaultTargetModules(type, [])).toEqual(['q_proj', 'v_proj']);
    }
    expect(defaultTargetModules('t5', [])).toEqual(['q', 'v']);
  });

  it('is q and v, or the fused projection, where PEFT has none', () => {
    expect(defaultTargetModules('smollm3', llama.linears)).toEqual(['q_proj', 'v_proj']);
    expect(defaultTargetModules('phi3', ['layers.0.qkv_proj', 'layers.0.o_proj'])).toEqual(['qkv_proj']);
    expect(() => defaultTargetModules('mamba', ['layers.0.in_proj', 'layers.1.in_proj'])).toThrow(
      expect.objectContaining({ code: 'CONFIG', hint: 'name the layers, such as in_proj, or use all-linear' }),
    );
    expect(() => defaultTargetModules('constructor', [])).toThrow('no default');
  });
});
