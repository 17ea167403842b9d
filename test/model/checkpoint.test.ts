import { describe, expect, it } from 'vitest';
import { openCheckpoint, writeCheckpoint } from '../../src/model/checkpoint.ts';
import { f32ToBytes } from '../../src/model/dtype.ts';
import { readWeights, type TensorToWrite } from '../../src/model/safetensors.ts';
import { bytesFolder } from '../../src/platform/sources.ts';
import { memoryStore, saveFolder } from '../../src/platform/stores.ts';
import { collect } from './collect.ts';

const tensor = (name: string, ...values: number[]): TensorToWrite => ({
  name,
  dtype: 'F32',
  shape: [values.length],
  bytes: () => [f32ToBytes(new Float32Array(values), 'F32')],
});

/** The files of a model folder: `a` and `b` in one file each unless `maxFileBytes` is large. */
async function modelFiles(maxFileBytes: number): Promise<Map<string, Uint8Array>> {
  const store = memoryStore();
  await saveFolder(store, 'model', (staged) =>
    writeCheckpoint(staged, [tensor('b', 1, 2), tensor('a', 3)], maxFileBytes),
  );
  const files = new Map<string, Uint8Array>();
  for (const path of await store.folder('model').list()) files.set(path, (await store.read(`model/${path}`))!);
  return files;
}

const SHARD_1 = 'model-00001-of-00002.safetensors';
const SHARD_2 = 'model-00002-of-00002.safetensors';
const INDEX = 'model.safetensors.index.json';
const text = (value: unknown) => new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
const openFiles = (files: Map<string, Uint8Array>) => openCheckpoint(bytesFolder('m', files));

describe('a checkpoint', () => {
  it('is one file when it is small', async () => {
    const files = await modelFiles(12);
    expect([...files.keys()]).toEqual(['model.safetensors']);
    const { tensors, totalBytes } = await openFiles(files);
    expect([...tensors.keys()]).toEqual(['a', 'b']);
    expect(totalBytes).toBe(12);
  });

  it('is several files and an index when it is large', async () => {
    const files = await modelFiles(11);
    expect([...files.keys()]).toEqual([SHARD_1, SHARD_2, INDEX]);
    expect(new TextDecoder().decode(files.get(INDEX))).toBe(`{
  "metadata": {
    "total_size": 12
  },
  "weight_map": {
    "a": "${SHARD_2}",
    "b": "${SHARD_1}"
  }
}
`);
    const { tensors, totalBytes } = await openFiles(files);
    expect(totalBytes).toBe(12);
    const [bytes] = await collect(readWeights(tensors.get('a')!));
    expect(new Float32Array(bytes!.buffer)).toEqual(new Float32Array([3]));
  });

  it('gives a tensor that is larger than the limit a file for itself', async () => {
    expect([...(await modelFiles(1)).keys()]).toEqual([SHARD_1, SHARD_2, INDEX]);
  });

  it('is closed when a file of it is bad', async () => {
    const files = await modelFiles(11);
    const folder = bytesFolder('m', files.set(SHARD_2, text('junk')));
    let open = 0;
    const counted = {
      ...folder,
      async open(path: string) {
        const source = await folder.open(path);
        open += 1;
        const close = async () => {
          open -= 1;
        };
        return { ...source, close };
      },
    };
    await expect(openCheckpoint(counted)).rejects.toMatchObject({ code: 'MODEL' });
    expect(open).toBe(0);
  });
});

describe('openCheckpoint refuses', () => {
  const failing = async (change: (files: Map<string, Uint8Array>) => void, message: string | RegExp) => {
    const files = await modelFiles(11);
    change(files);
    await expect(openFiles(files)).rejects.toMatchObject({ code: 'MODEL', message: expect.stringMatching(message) });
  };
  const index = (weight_map: unknown) => (files: Map<string, Uint8Array>) => files.set(INDEX, text({ weight_map }));

  it('a folder without weights', () =>
    failing((files) => files.clear(), 'm: expected model.safetensors or model.safetensors.index.json, found neither'));

  it('pickle files', () =>
    failing((files) => {
      files.clear();
      files.set('pytorch_model.bin', new Uint8Array(0));
    }, 'found pytorch_model.bin, a pickle file, which is never read'));

  it('a missing file, by name', () =>
    failing((files) => files.delete(SHARD_2), `${INDEX} names files that are missing: ${SHARD_2}`));

  it('missing tensors, by name', () =>
    failing(index({ a: SHARD_2, b: SHARD_1, c: SHARD_1 }), `names tensors that are missing: c \\(${SHARD_1}\\)`));

  it('a tensor in another file than the index says', () =>
    failing((files) => {
      index({ a: SHARD_2, b: SHARD_1 })(files);
      files.set(SHARD_2, files.get(SHARD_1)!);
    }, `${SHARD_2}: holds "b", which ${INDEX} places in ${SHARD_1}`));

  it.each([
    '../secret.safetensors',
    '/etc/x.safetensors',
    'a/b.safetensors',
    'a\\b.safetensors',
    'pytorch_model-00001.bin',
    7,
  ])('the file name %s', (file) => failing(index({ a: file }), 'expected the name of a safetensors file, got'));

  it('a tensor twice in the index', () =>
    failing(
      (files) => files.set(INDEX, text(`{"weight_map":{"a":"${SHARD_1}","a":"${SHARD_2}"}}`)),
      'the key "a" occurs twice',
    ));

  it('an index that is no index', async () => {
    await failing((files) => files.set(INDEX, text('{')), 'expected JSON');
    await failing((files) => files.set(INDEX, text('null')), 'expected a "weight_map"');
  });
});

it('tensors that the index does not name are left out', async () => {
  const files = await modelFiles(11);
  files.set(INDEX, text({ weight_map: { b: SHARD_1 } }));
  expect([...(await openFiles(files)).tensors.keys()]).toEqual(['b']);
});
