/** The engine in a worker: what a page does with it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { StoredModel, WorkerTrainer } from '../../src/worker/api.ts';
import { adapterOf, collect, lossesOf, rowsFile, runConfig, startEngine, storeModel } from './workerRun.ts';

describe('a page and its engine', () => {
  let engine: WorkerTrainer;
  let model: StoredModel;
  let path = '';

  beforeAll(async () => {
    engine = startEngine();
    model = await storeModel(engine);
    const data = await engine.addData([await rowsFile(16)], { split: [1, 0, 0] });
    path = data.paths.train_path;
  });
  afterAll(() => engine.close());

  test('knows its device', async () => {
    expect(await engine.device()).toMatchObject({ software: true, budget: { guess: true } });
  });

  test('trains and answers', async () => {
    const config = runConfig(model, path);
    expect((await engine.check(config)).problems).toEqual([]);
    const events = await collect(engine.train(config));
    expect(lossesOf(events)).toHaveLength(6);
    expect((await adapterOf(config)).length).toBeGreaterThan(100);
    let text = '';
    const where = { model: model.path, outputDir: config.output_dir! };
    for await (const piece of engine.answer(where, [{ role: 'user', content: 'Wake me at seven.' }], {
      maxNewTokens: 8,
    }))
      text += piece;
    expect(text).not.toBe('');
  });

  test('whoever asks when a run ends is answered', async () => {
    const config = runConfig(model, path, { max_steps: 1 });
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
    const [row, ...more] = await engine.rows(path, 3, 1);
    expect(more).toEqual([]);
    expect(row).toMatchObject({ kind: 'chat', line: 4 });
    const going = engine.answer({ model: model.path }, 'Once upon a time', { maxNewTokens: 4 });
    let text = '';
    for await (const piece of going) text += piece;
    expect(text).not.toBe('');
  });
});
