/** The engine in a worker: what a page does with it. */
import { unzipSync } from 'fflate';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openFolder } from '../../src/platform/browserFiles.ts';
import { parseConfig } from '../../src/train/configCheck.ts';
import { train } from '../../src/train/library.ts';
import type { StoredModel, WorkerTrainer } from '../../src/worker/api.ts';
import { createWorkerTrainer } from '../../src/worker/client.ts';
import { collect, finalModel, lossesOf, MODEL_URL, prepare, rowsFile, runConfig } from './workerRun.ts';

const QUESTION = [{ role: 'user', content: 'Wake me at seven.' }] as const;

describe('a page and its engine', () => {
  let engine: WorkerTrainer;
  let ready: { model: StoredModel; train_path: string };
  let trained: ReturnType<typeof runConfig>;
  let losses: number[];

  beforeAll(async () => {
    engine = createWorkerTrainer();
    ready = await prepare(engine);
    trained = runConfig(ready);
    losses = lossesOf(await collect(engine.train(trained)));
  });
  afterAll(() => engine.close());

  test('knows its device', async () => {
    expect(await engine.device()).toMatchObject({ software: true, budget: { guess: true } });
  });

  test('keeps a model: once, all of it, and what there is to know of it', async () => {
    expect(ready.model).toMatchObject({ title: MODEL_URL, type: 'llama', hasTemplate: true });
    expect(ready.model.parameters).toBeGreaterThan(10_000);
    const seen: string[] = [];
    const again = await engine.fetchModel(
      { kind: 'url', url: MODEL_URL },
      { onProgress: ({ what }) => void seen.push(what) },
    );
    expect(again).toEqual(ready.model);
    expect(seen).toEqual([]);
    expect(await engine.models()).toContainEqual(ready.model);
    const folder = await openFolder(ready.model.path);
    expect(await folder.list()).toContain('model.safetensors');
  });

  test('takes a folder that the person chose', async () => {
    const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json', 'README.md'];
    const files = await Promise.all(
      names.map(async (name) => new File([await (await fetch(MODEL_URL + name)).blob()], name)),
    );
    const model = await engine.fetchModel({ kind: 'files', name: 'mine', files });
    expect(model).toMatchObject({ title: 'mine', parameters: ready.model.parameters });
    expect(await (await openFolder(model.path)).list()).not.toContain('README.md');
    await engine.removeModel(model.path);
    expect(await engine.models()).not.toContainEqual(model);
    await expect(openFolder(model.path)).rejects.toMatchObject({ code: 'IO' });

    const without = engine.fetchModel({ kind: 'files', name: 'mine', files: files.slice(1) });
    await expect(without).rejects.toMatchObject({
      code: 'MODEL',
      message: expect.stringContaining('config.json') as string,
    });
    const other = [new File(['{"model_type": "mamba"}'], 'config.json'), ...files.slice(1)];
    const unknown = engine.fetchModel({ kind: 'files', name: 'mine', files: other });
    await expect(unknown).rejects.toMatchObject({ code: 'MODEL', message: expect.stringContaining('mamba') as string });
    expect(await engine.models()).toEqual([ready.model]);
  });

  test('keeps rows, split, or nothing', async () => {
    const { report, paths } = await engine.addData([await rowsFile(20)], { split: [0.8, 0.2, 0] });
    expect(report.splits.map(({ rows }) => rows)).toEqual([16, 4, 0]);
    expect(paths.test_path).toBeNull();
    const bad = [await rowsFile(2), new File(['{"question": "a", "answer": "b"}\n{"question": 1\n'], 'bad.jsonl')];
    const before = (await openFolder('data')).list();
    await expect(engine.addData(bad)).rejects.toMatchObject({
      code: 'DATA',
      message: expect.stringMatching(/^bad\.jsonl:2: /) as string,
    });
    expect(await (await openFolder('data')).list()).toEqual(await before);
    await expect(engine.addData([])).rejects.toMatchObject({ code: 'DATA' });
  });

  test('checks a run, and shows its rows token by token', async () => {
    const check = await engine.check(trained);
    expect(check.problems).toEqual([]);
    expect(check.plan!.peak_bytes).toBeGreaterThan(0);
    const wrong = await engine.check({ ...trained, tuning: { mode: 'lora', lora: { r: 0 } } });
    expect(wrong.problems.map(({ where }) => where)).toContain('tuning.lora.r');
    const { rows, report } = await engine.inspect(trained, 2, 3);
    expect(rows.map(({ row }) => row)).toEqual([2, 3, 4]);
    expect(report.kept).toBe(12);
  });

  test('trains as the library does: the same losses and bytes', async () => {
    const config = parseConfig(runConfig(ready));
    expect(lossesOf(await collect(train(config)))).toEqual(losses);
    expect(losses).toHaveLength(6);
    expect(await finalModel(config)).toEqual(await finalModel(trained));
  });

  test('is talked to between the steps of a run, which stays the same', async () => {
    const config = runConfig(ready);
    const where = { model: ready.model.path, outputDir: config.output_dir };
    const { rows } = await engine.inspect(config, 0, 1);
    const answers: string[] = [];
    const seen: number[] = [];
    const events = [];
    for await (const event of engine.train(config)) {
      events.push(event);
      if (event.type !== 'step') continue;
      const base = collect(engine.answer(where, QUESTION, { maxNewTokens: 4, useAdapter: false }));
      const adapted = collect(engine.answer(where, QUESTION, { maxNewTokens: 4 }));
      const row = await engine.tokenLosses(config, 0);
      expect(row.map((loss) => loss === null)).toEqual(rows[0]!.labels.map((label, t) => label < 0 || t === 0));
      seen.push(row.reduce<number>((sum, loss) => sum + (loss ?? 0), 0));
      answers.push((await base).join(''));
      expect((await adapted).join('')).not.toBe('');
    }
    // The base does not learn, the adapter does.
    expect(new Set(answers).size).toBe(1);
    expect(new Set(seen).size).toBeGreaterThan(1);
    expect(lossesOf(events)).toEqual(losses);
    expect(await finalModel(config)).toEqual(await finalModel(trained));
  });

  test('an answer that does not fit beside a run is refused, and the run goes on', async () => {
    const { plan } = await engine.check(trained);
    const config = { ...runConfig(ready, { max_steps: 2 }), memory: { budget_gib: (plan!.peak_bytes + 64) / 2 ** 30 } };
    const where = { model: ready.model.path, outputDir: config.output_dir };
    const types: string[] = [];
    for await (const event of engine.train(config)) {
      types.push(event.type);
      if (event.type !== 'start') continue;
      await expect(engine.answer(where, QUESTION).next()).rejects.toMatchObject({
        code: 'OUT_OF_MEMORY',
        hint: expect.stringContaining('memory.budget_gib') as string,
      });
    }
    expect(types.at(-1)).toBe('done');
  });

  test('answers and tells losses after a run, with the adapter and without', async () => {
    const where = { model: ready.model.path, outputDir: trained.output_dir };
    const options = { maxNewTokens: 6 };
    const adapted = (await collect(engine.answer(where, QUESTION, options))).join('');
    const base = (await collect(engine.answer({ model: where.model }, QUESTION, options))).join('');
    expect((await collect(engine.answer(where, QUESTION, { ...options, useAdapter: false }))).join('')).toBe(base);
    expect(adapted).not.toBe('');
    const { rows } = await engine.inspect(trained, 1, 1);
    const row = await engine.tokenLosses(trained, 1);
    expect(row.map((loss) => loss !== null)).toEqual(rows[0]!.labels.map((label, t) => label >= 0 && t > 0));
    await expect(engine.tokenLosses(trained, 99)).rejects.toMatchObject({ code: 'ARGUMENT' });
  });

  test('an answer that is stopped ends', async () => {
    const where = { model: ready.model.path };
    const controller = new AbortController();
    let pieces = 0;
    for await (const _ of engine.answer(where, QUESTION, { maxNewTokens: 60, signal: controller.signal })) {
      pieces += 1;
      controller.abort();
    }
    expect(pieces).toBeLessThan(20);
    const none = await collect(engine.answer(where, QUESTION, { signal: AbortSignal.abort() }));
    expect(none.length).toBeLessThan(2);
  });

  test('pauses and goes on', async () => {
    const config = runConfig(ready);
    const events = [];
    const run = engine.train(config);
    for (let step = 0; step < 2; ) {
      const { value } = await run.next();
      events.push(value!);
      if (value!.type === 'step') step += 1;
    }
    await engine.pause();
    // What was under way comes; then nothing more.
    let waiting = run.next();
    for (;;) {
      const next = await Promise.race([waiting, new Promise((resolve) => setTimeout(resolve, 300, null))]);
      if (next === null) break;
      events.push((next as IteratorYieldResult<(typeof events)[number]>).value);
      waiting = run.next();
    }
    expect(events.at(-1)!.type).not.toBe('done');
    await engine.resume();
    for (let next = await waiting; !next.done; next = await run.next()) events.push(next.value);
    expect(lossesOf(events)).toEqual(losses);
    expect(await finalModel(config)).toEqual(await finalModel(trained));
  });

  test('that is stopped saves, and goes on to the same bytes', async () => {
    const config = runConfig(ready, { save_strategy: 'epoch' });
    const controller = new AbortController();
    const run = async () => {
      for await (const event of engine.train(config, { signal: controller.signal })) {
        if (event.type === 'step' && event.step === 2) controller.abort();
      }
    };
    await expect(run()).rejects.toMatchObject({
      code: 'INTERRUPTED',
      message: expect.stringContaining('checkpoint-') as string,
    });
    const [unfinished] = await engine.unfinishedRuns();
    expect(unfinished).toMatchObject({ totalSteps: 6, config: { output_dir: config.output_dir } });
    await collect(engine.train(unfinished!.config, { resumeFrom: 'last' }));
    expect(await engine.unfinishedRuns()).toEqual([]);
    const [resumed, whole] = [await finalModel(config), await finalModel(trained)];
    expect(resumed.get('adapter_model.safetensors')).toEqual(whole.get('adapter_model.safetensors'));
  });

  test('refuses a second run here, and in another tab in the same folder', async () => {
    const config = runConfig(ready, { max_steps: 3 });
    const other = createWorkerTrainer();
    try {
      for await (const { type } of engine.train(config)) {
        if (type !== 'start') continue;
        await expect(engine.train(runConfig(ready)).next()).rejects.toMatchObject({ code: 'BUSY' });
        await expect(other.train(config).next()).rejects.toMatchObject({ code: 'BUSY' });
        await expect(other.clear()).rejects.toMatchObject({ code: 'BUSY' });
        const where = { model: 'models/other', outputDir: config.output_dir };
        await expect(engine.answer(where, QUESTION).next()).rejects.toMatchObject({ code: 'BUSY' });
      }
    } finally {
      other.close();
    }
    await expect(other.models()).rejects.toMatchObject({ code: 'WORKER_LOST' });
  });

  test('hands out the adapter as a zip', async () => {
    const zip = await engine.download(trained.output_dir);
    const files = unzipSync(new Uint8Array(await zip.arrayBuffer()));
    const name = trained.output_dir.split('/').at(-1);
    const wanted = await finalModel(trained);
    expect(Object.keys(files).sort()).toEqual([...wanted.keys()].map((path) => `${name}/${path}`).sort());
    expect(files[`${name}/adapter_model.safetensors`]).toEqual(wanted.get('adapter_model.safetensors'));
    await expect(engine.download('runs/none')).rejects.toMatchObject({ code: 'ARGUMENT' });
  });

  test('errors of a run cross with code and hint', async () => {
    const config = runConfig({ ...ready, train_path: 'data/none.jsonl' });
    await expect(engine.train(config).next()).rejects.toMatchObject({
      code: 'DATA',
      message: expect.stringContaining('data/none.jsonl') as string,
      hint: expect.stringContaining('name a file') as string,
    });
    await expect(engine.train({ model: { name: '' } }).next()).rejects.toMatchObject({ code: 'CONFIG' });
  });

  test('whoever asks when a run ends is answered', async () => {
    const config = runConfig(ready, { max_steps: 1 });
    let isOver = false;
    const ask = async () => {
      while (!isOver) expect((await engine.tokenLosses(config, 0)).some((loss) => loss !== null)).toBe(true);
    };
    // So many that some wait at the very end.
    const asking = Promise.all([ask(), ask(), ask()]);
    await collect(engine.train(config));
    isOver = true;
    await asking;
  });

  test('shows rows of a split, and goes on with raw text', async () => {
    const [row, ...more] = await engine.rows(ready.train_path, 3, 1);
    expect(more).toEqual([]);
    expect(row).toMatchObject({ kind: 'chat', line: 4 });
    const going = engine.answer({ model: ready.model.path }, 'Once upon a time', { maxNewTokens: 4 });
    let text = '';
    for await (const piece of going) text += piece;
    expect(text).not.toBe('');
  });

  test('tells how full the storage is, and clears it', async () => {
    const { usage, quota } = await engine.storage();
    expect(usage).toBeGreaterThan(ready.model.bytes);
    expect(quota).toBeGreaterThan(usage);
    await engine.clear();
    expect(await engine.models()).toEqual([]);
    await expect(openFolder(trained.output_dir)).rejects.toMatchObject({ code: 'IO' });
  });
});
