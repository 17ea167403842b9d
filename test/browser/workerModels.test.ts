/** Models on their way into the storage of the browser. */
import { unzipSync } from 'fflate';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openFolder } from '../../src/platform/browserFiles.ts';
import type { ModelSource, Transfer, WorkerTrainer } from '../../src/worker/api.ts';
import { createWorkerTrainer } from '../../src/worker/client.ts';
import { collect, prepare, runConfig } from './workerRun.ts';

const HUB: ModelSource = { kind: 'hub', id: 'some/model', hubUrl: 'https://hub.test' };
const FOLDER: ModelSource = { kind: 'url', url: 'https://folder.test/model' };
const PART = 30_000;

describe('a model on its way', () => {
  let engine: WorkerTrainer;
  const web = new BroadcastChannel('web');
  const start = () => {
    const worker = new Worker(new URL('./webWorker.ts', import.meta.url), { type: 'module' });
    return createWorkerTrainer({ worker });
  };
  const asked = () =>
    new Promise<string[]>((resolve) => {
      web.onmessage = ({ data }: MessageEvent<{ asked: string[] }>) => resolve(data.asked);
      web.postMessage({ ask: true });
    });

  beforeAll(async () => {
    engine = start();
    // What was posted to the channel before its script has run would be lost.
    await engine.clear();
  });
  afterEach(async () => {
    web.postMessage({ breakAfter: null, damaged: false });
    await engine.clear();
    await asked();
  });
  afterAll(() => {
    web.close();
    engine.close();
  });

  for (const [where, source] of [
    ['a hub', HUB],
    ['a folder on a web server', FOLDER],
  ] as const) {
    test(`that breaks off goes on where it stopped: ${where}`, async () => {
      web.postMessage({ breakAfter: PART });
      await expect(engine.fetchModel(source)).rejects.toMatchObject({
        code: 'IO',
        message: expect.stringContaining(`model.safetensors: could not be read further than ${PART} bytes`) as string,
      });
      expect(await engine.models()).toEqual([]);
      await asked();
      // In another tab, too.
      engine.close();
      engine = start();
      await engine.models();
      web.postMessage({ breakAfter: null });
      const progress: Transfer[] = [];
      const model = await engine.fetchModel(source, { onProgress: (one) => void progress.push(one) });
      expect(progress[0]).toMatchObject({ what: 'model.safetensors', done: PART });
      expect(progress.at(-1)!.done).toBe(progress.at(-1)!.total);
      const files = (await asked()).filter((path) => path.includes('safetensors'));
      expect(files).toEqual([expect.stringMatching(/model\.safetensors bytes=30000-$/)]);
      expect(await engine.models()).toEqual([model]);
      expect(await (await openFolder(model.path)).list()).not.toContain('README.md');
    });
  }

  test('with bytes that are not those of the hub is refused, and comes whole the next time', async () => {
    web.postMessage({ damaged: true });
    await expect(engine.fetchModel(HUB)).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('checksum') as string,
    });
    web.postMessage({ damaged: false });
    expect(await engine.fetchModel(HUB)).toMatchObject({ title: 'some/model', type: 'llama' });
  });

  test('that is stopped says so', async () => {
    const controller = new AbortController();
    const stopped = engine.fetchModel(FOLDER, { signal: controller.signal, onProgress: () => controller.abort() });
    await expect(stopped).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(await engine.models()).toEqual([]);
  });

  test('that is not there says what to do', async () => {
    const none = [
      [{ kind: 'hub', id: 'some/other', hubUrl: 'https://hub.test' }, 'MODEL'],
      [{ kind: 'hub', id: 'not an id' }, 'CONFIG'],
      [{ kind: 'url', url: 'https://folder.test/other/' }, 'MODEL'],
      [{ kind: 'url', url: 'https://none.test/' }, 'IO'],
    ] as const;
    for (const [source, code] of none) {
      await expect(engine.fetchModel(source), JSON.stringify(source)).rejects.toMatchObject({
        code,
        hint: expect.stringMatching(/\w/) as string,
      });
    }
    expect(await engine.models()).toEqual([]);
  });

  test('two tabs bring it once', async () => {
    const other = start();
    const [first, second] = await Promise.all([engine.fetchModel(FOLDER), other.fetchModel(FOLDER)]);
    expect(second).toEqual(first);
    other.close();
  });

  test('an adapter names its base by the id of the hub', async () => {
    const model = await engine.fetchModel(HUB);
    const { train_path } = await prepare(engine);
    const config = runConfig({ model, train_path }, { max_steps: 1 });
    await collect(engine.train(config));
    const files = unzipSync(new Uint8Array(await (await engine.download(config.output_dir)).arrayBuffer()));
    const text = (name: string) =>
      new TextDecoder().decode(Object.entries(files).find(([path]) => path.endsWith(name))![1]);
    expect(JSON.parse(text('adapter_config.json'))).toMatchObject({ base_model_name_or_path: 'some/model' });
    expect(text('README.md')).toContain('base_model: "some/model"');
    expect(text('README.md')).not.toContain(model.path);
  });
});
