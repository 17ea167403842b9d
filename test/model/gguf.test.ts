/** Bytes of GGUF files; `test/oracle/ggufExport.test.ts` reads whole ones with llama.cpp's reader. */
import { describe, expect, it } from 'vitest';
import { type GgufTensor, type GgufValue, writeGguf } from '../../src/model/gguf/format.ts';
import { ggufArchitecture, reorderRows, rowOrder } from '../../src/model/gguf/names.ts';
import { readSpec } from '../../src/model/modelFiles.ts';
import { bytesFolder } from '../../src/platform/sources.ts';
import { concatBytes } from '../../src/platform/stores.ts';
import { TINY_LLAMA } from '../train/gpu/fixtures.ts';

async function write(metadata: ReadonlyMap<string, GgufValue>, tensors: readonly GgufTensor[]): Promise<DataView> {
  const parts: Uint8Array[] = [];
  await writeGguf({ write: async (bytes) => void parts.push(bytes.slice()), close: async () => {} }, metadata, tensors);
  return new DataView(concatBytes(parts).buffer);
}

describe('GGUF', () => {
  it('8-bit blocks: a scale in 16 bits, and numbers rounded away from zero at halves', async () => {
    const values = Float32Array.from({ length: 64 }, (_, i) => (i < 32 ? i - 16.5 : 0));
    values[0] = -127;
    const file = await write(new Map(), [{ name: 'x', type: 'q8_0', shape: [2, 32], values: () => [values] }]);
    const data = file.byteLength - 96;
    expect(file.byteLength % 32).toBe(0);
    expect(file.getUint16(data, true)).toBe(0x3c00);
    expect([0, 1, 2, 16, 17, 31].map((i) => file.getInt8(data + 2 + i))).toEqual([-127, -16, -15, -1, 1, 15]);
    expect(Array.from({ length: 34 }, (_, i) => file.getUint8(data + 34 + i))).toEqual(Array(34).fill(0));
  });

  it('offsets of more than four gibibytes', async () => {
    const slice = new Float32Array(2 ** 22);
    const large = function* () {
      for (let i = 0; i < 260; i++) yield slice;
    };
    let size = 0;
    let head: Uint8Array | null = null;
    const tensors: GgufTensor[] = [
      { name: 'large', type: 'f32', shape: [260, 2 ** 22], values: large },
      { name: 'small', type: 'f32', shape: [3], values: () => [new Float32Array(3)] },
    ];
    const file = {
      write: async (bytes: Uint8Array) => {
        head ??= bytes;
        size += bytes.length;
      },
      close: async () => {},
    };
    await writeGguf(file, new Map(), tensors);
    const bytes = head as unknown as Uint8Array<ArrayBuffer>;
    const offset = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(bytes.length - 8, true);
    expect(offset).toBe(260n * 2n ** 24n);
    expect(size).toBe(Math.ceil(bytes.length / 32) * 32 + Number(offset) + 32);
  });

  it('what llama.cpp does not know or computes otherwise is refused', async () => {
    const specOf = async (fields: object) => {
      const json = new TextEncoder().encode(JSON.stringify({ ...TINY_LLAMA, ...fields }));
      return (await readSpec(bytesFolder('x', new Map([['config.json', json]])))).spec;
    };
    const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32 };
    for (const fields of [{}, { rope_scaling: yarn }, { rope_scaling: { ...yarn, beta_fast: 32, truncate: true } }]) {
      expect(ggufArchitecture(await specOf(fields), 'x').name).toBe('llama');
    }
    const refusal = async (fields: object) => {
      const spec = await specOf(fields);
      return () => ggufArchitecture(spec, 'x');
    };
    expect(await refusal({ rope_scaling: { ...yarn, beta_fast: 16 } })).toThrow(/parameters of YaRN/);
    expect(await refusal({ rope_scaling: { ...yarn, attention_factor: 1 } })).toThrow(/parameters of YaRN/);
    expect(await refusal({ rope_scaling: { rope_type: 'dynamic', factor: 2 } })).toThrow(/no dynamic rope scaling/);
    expect(await refusal({ hidden_act: 'gelu' })).toThrow(/llama.cpp has no activation gelu for llama/);
    const other = { ...(await specOf({})), modelType: 'bloom' };
    expect(() => ggufArchitecture(other, 'x')).toThrow(
      expect.objectContaining({
        message: 'x: model_type "bloom" cannot be written as GGUF',
        hint: 'these can: llama, qwen2',
      }) as Error,
    );
  });

  it('queries and keys of Llama in pairs of neighbours', async () => {
    const json = new TextEncoder().encode(JSON.stringify({ ...TINY_LLAMA, num_attention_heads: 2, head_dim: 8 }));
    const { spec } = await readSpec(bytesFolder('x', new Map([['config.json', json]])));
    const order = rowOrder('model.layers.0.self_attn.q_proj.weight', spec, { name: 'llama', interleaved: true })!;
    expect([...order]).toEqual([0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]);
    const rows = Float32Array.from({ length: 32 }, (_, i) => Math.floor(i / 2));
    expect([...reorderRows(rows, order)].filter((_, i) => i % 2 === 0)).toEqual([...order]);
    expect(rowOrder('model.layers.0.self_attn.v_proj.weight', spec, { name: 'llama', interleaved: true })).toBeNull();
  });
});
