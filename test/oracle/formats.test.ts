/** Our files against safetensors, transformers and PEFT. Needs WEBGPU_SFT_ORACLE_PYTHON. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adapterConfigJson, readAdapterConfig } from '../../src/model/adapterConfig.ts';
import { openCheckpoint, writeCheckpoint } from '../../src/model/checkpoint.ts';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../../src/model/dtype.ts';
import { defaultTargetModules, selectTargets, type TargetModules } from '../../src/model/loraTargets.ts';
import { type LinearShapes, readAdapter, writeAdapter } from '../../src/model/peft.ts';
import {
  readSafetensors,
  readTensor,
  type TensorInfo,
  type TensorToWrite,
  writeSafetensors,
} from '../../src/model/safetensors.ts';
import { openFile, openFolder, openStore } from '../../src/platform/nodeFiles.ts';
import { bytesSource } from '../../src/platform/sources.ts';
import { concatBytes, saveFolder } from '../../src/platform/stores.ts';
import type { ReadableSource } from '../../src/platform/types.ts';

const python = process.env.WEBGPU_SFT_ORACLE_PYTHON;

/** Headers, and how many bytes of data follow them. Names twice are left out: we refuse them, the library does not. */
const HEADERS = [
  ...['[0,4]', '[4,0]', '[4,8]', '[0,4,8]', '[0]', '[0,4.0]', '[0,null]', '["0","4"]', '0'].flatMap((range) =>
    [
      '[1]',
      '[1.0]',
      '[-1]',
      '[]',
      '[2,2]',
      '[0]',
      '[18446744073709551616]',
      '[2,18446744073709551614]',
      'null',
    ].flatMap((shape) =>
      ['F32', 'F16', 'F4', 'f32', 'I128'].map(
        (dtype) => `{"a":{"dtype":"${dtype}","shape":${shape},"data_offsets":${range}}}`,
      ),
    ),
  ),
  ...['', '{', '{}', '[]', 'null', '{}x', ' {} ', '\n{}', '\ufeff{}', '{"__metadata__":{}}', '{"__metadata__":null}'],
  ...['{"__metadata__":{"a":1}}', '{"__metadata__":[]}', '{"__metadata__":"x"}', '{"a":null}', '{"a":{}}', '{"a":[]}'],
  '{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}}',
  '{"b":{"dtype":"F16","shape":[1],"data_offsets":[2,4]},"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}',
  '{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"F16","shape":[1],"data_offsets":[1,3]}}',
  '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
  '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}',
  '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[0],"data_offsets":[2,2]}}',
  '{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}',
  '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"extra":1}}',
  '{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
  '{"\\u0000":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
  '{"a\n":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
  '{"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
].flatMap((header) => [0, 4, 5].map((bytes) => ({ header, bytes })));

const copyOf = (tensor: TensorInfo): TensorToWrite => ({
  name: tensor.name,
  dtype: tensor.dtype,
  shape: tensor.shape,
  bytes: () => readTensor(tensor),
});

interface Answer {
  defaults: Record<string, TargetModules>;
  adapters: Record<string, TargetModules | null>;
  accepted: boolean[];
}

describe.skipIf(!python)('formats', () => {
  let folder: string;
  let answer: Answer;
  let base: LinearShapes;

  function run(command: 'make' | 'check', input = ''): string {
    const script = fileURLToPath(new URL('formats.py', import.meta.url));
    const { stdout, stderr, status } = spawnSync(python!, [script, command, folder], { input, encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    return stdout;
  }

  const sources: ReadableSource[] = [];
  async function open(name: string): Promise<ReadonlyMap<string, TensorInfo>> {
    const source = await openFile(join(folder, name));
    sources.push(source);
    return (await readSafetensors(source)).tensors;
  }
  const bytesOf = (tensor: TensorInfo) => tensor.source.read(tensor.offset, tensor.length);
  const sameBytes = (a: ArrayBufferView, b: Uint8Array) =>
    Buffer.compare(Buffer.from(a.buffer, a.byteOffset, a.byteLength), b) === 0;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sft-formats-'));
    answer = JSON.parse(run('make', JSON.stringify(HEADERS))) as Answer;
    const linears = new Map<string, { inFeatures: number; outFeatures: number }>();
    const { tensors, close } = await openCheckpoint(await openFolder(join(folder, 'base')));
    for (const { name, shape } of tensors.values()) {
      if (/(proj|lm_head)\.weight$/.test(name)) {
        linears.set(name.replace(/\.weight$/, ''), { outFeatures: shape[0]!, inFeatures: shape[1]! });
      }
    }
    await close();
    base = { linears, outputLayer: 'lm_head', others: ['model.embed_tokens', 'model.norm'] };
  });
  afterAll(async () => {
    for (const source of sources) await source.close();
    await rm(folder, { recursive: true });
  });

  it('headers are accepted and refused as by safetensors', async () => {
    expect(answer.accepted.filter(Boolean).length).toBeGreaterThan(5);
    for (const [index, { header, bytes }] of HEADERS.entries()) {
      const text = new TextEncoder().encode(header);
      const size = new Uint8Array(new BigUint64Array([BigInt(text.length)]).buffer);
      const source = bytesSource('x', concatBytes([size, text, new Uint8Array(bytes)]));
      const ours = await readSafetensors(source).then(
        () => true,
        () => false,
      );
      expect(ours, `${header} and ${bytes} bytes`).toBe(answer.accepted[index]);
    }
  });

  it('a file of every dtype is written again byte for byte', async () => {
    const tensors = await open('dtypes.safetensors');
    expect(tensors.size).toBe(27);
    const parts: Uint8Array[] = [];
    const file = { write: async (bytes: Uint8Array) => void parts.push(bytes), close: async () => {} };
    await writeSafetensors(file, [...tensors.values()].reverse().map(copyOf));
    const theirs = await readFile(join(folder, 'dtypes.safetensors'));
    expect(sameBytes(concatBytes(parts), theirs)).toBe(true);
  });

  it('16-bit floats are those of torch', async () => {
    const tensors = await open('floats.safetensors');
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const widened = new Float32Array((await bytesOf(tensors.get('widened.F16')!)).buffer);
    // The CPU makes signalling NaN quiet here; all else has one bit pattern for each value.
    expect(f16ToF32(all).findIndex((value, bits) => !Object.is(value, widened[bits]))).toBe(-1);
    expect(sameBytes(bf16ToF32(all), await bytesOf(tensors.get('widened.BF16')!))).toBe(true);
    const values = new Float32Array((await bytesOf(tensors.get('floats')!)).buffer);
    expect(values.length).toBeGreaterThan(300_000);
    expect(sameBytes(f32ToF16(values), await bytesOf(tensors.get('narrowed.F16')!))).toBe(true);
    expect(sameBytes(f32ToBf16(values), await bytesOf(tensors.get('narrowed.BF16')!))).toBe(true);
  });

  it('default targets are those of PEFT', () => {
    for (const [type, targets] of Object.entries(answer.defaults)) {
      // Types without a row of their own fall back on the layers of the model, and this one has q_proj and v_proj.
      const ours = defaultTargetModules(type, base.linears.keys());
      if (JSON.stringify(ours) !== '["q_proj","v_proj"]') expect(ours, type).toEqual(targets);
    }
    for (const type of ['llama', 'qwen2', 'mistral', 'qwen3', 'gemma', 'gemma2', 'gemma3_text']) {
      expect(defaultTargetModules(type, [])).toEqual(answer.defaults[type]);
    }
  });

  it('adapters are written as PEFT writes them, and PEFT loads ours', async () => {
    const store = await openStore(folder);
    for (const [name, targets] of Object.entries(answer.adapters)) {
      const theirs = store.folder(`peft-${name}`);
      const adapter = await readAdapter(theirs, base);
      const given = targets ?? defaultTargetModules('llama', base.linears.keys());
      const selected = selectTargets(given, { ...base, linears: base.linears.keys() });
      expect([...adapter.weights.keys()].sort()).toEqual([...selected.paths].sort());
      const config = { ...(await readAdapterConfig(theirs)), target_modules: selected.targetModules };
      await saveFolder(store, `ours-${name}`, (staged) => writeAdapter(staged, config, adapter.weights));

      const read = (who: string, file: string) => readFile(join(folder, `${who}-${name}`, file));
      const weightsFile = 'adapter_model.safetensors';
      expect(sameBytes(await read('ours', weightsFile), await read('peft', weightsFile)), name).toBe(true);
      // PEFT keeps targets as a set, in no order.
      const fields = (text: string) => {
        const parsed = JSON.parse(text) as { target_modules: TargetModules; peft_version: string };
        const { target_modules, peft_version } = parsed;
        expect(peft_version).toMatch(/^\d/);
        return {
          ...parsed,
          peft_version: '',
          target_modules: typeof target_modules === 'string' ? target_modules : [...target_modules].sort(),
        };
      };
      const text = String(await read('ours', 'adapter_config.json'));
      expect(text).toBe(adapterConfigJson(config));
      expect(fields(text)).toEqual(fields(String(await read('peft', 'adapter_config.json'))));
      expect(Object.keys(fields(text))).toEqual(Object.keys(fields(String(await read('peft', 'adapter_config.json')))));
    }

    const { tensors, totalBytes, close } = await openCheckpoint(await openFolder(join(folder, 'base')));
    await saveFolder(store, 'ours-base', (staged) =>
      writeCheckpoint(staged, [...tensors.values()].map(copyOf), totalBytes / 3),
    );
    await close();
    expect((await store.folder('ours-base').list()).length).toBeGreaterThan(3);
    run('check');
  });
});
